"""Random changes of training pairs."""
