"""The smoothness axis: how far is the flow from a smooth one? One component a module."""
