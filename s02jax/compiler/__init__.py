"""TPU compiler without a TPU: whether a train step fits, and its least time."""
