"""Who starts workers: this machine, Ray or Slurm."""
