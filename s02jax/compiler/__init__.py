"""The TPU compiler's word on a train step, without a TPU."""
