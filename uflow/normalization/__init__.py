"""The normalization axis: what is done to features before the cost volume? One component a module."""
