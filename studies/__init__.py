"""Questions: sets of runs that answer them, and the command that does the work."""
