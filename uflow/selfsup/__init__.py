"""The self-supervision axis: what does the network learn from its own flow? One component a module."""
