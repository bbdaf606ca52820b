"""Sweeps and ablations, and their tables."""
