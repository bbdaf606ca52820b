"""Training rows, one file per kind: pure functions of (seed, index)."""
