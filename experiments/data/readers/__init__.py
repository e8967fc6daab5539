"""Data sets as they are released, one module each."""
