"""Flow as pictures and video."""
