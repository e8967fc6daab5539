"""The smoothness axis: what does the loss ask of the flow field itself? One component a module."""
