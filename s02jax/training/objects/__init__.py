"""Working directories in object stores: checkpoints, logs, one writer."""
