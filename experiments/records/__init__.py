"""The files of runs and studies: one reader and one writer for each, below all their users."""
