"""Image pairs to train on and to evaluate on: procedural scenes and the readers of real data sets."""
