"""The training loop, its compiled step, its checkpoints and its device."""
