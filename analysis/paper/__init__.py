"""What the paper found, and what studies say about it."""
