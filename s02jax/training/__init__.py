"""Training: the loop, its feed, log, checkpoints and processes."""
