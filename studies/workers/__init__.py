"""Workers, and the processes in which runs are trained."""
