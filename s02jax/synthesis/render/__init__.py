"""Audio tokens to sound, chunk by chunk: flow matching and vocoder."""
