"""Data sets as MindRecord files: written, planned, read."""
