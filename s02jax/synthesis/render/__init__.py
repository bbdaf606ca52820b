"""Audio tokens to sound, chunk by chunk."""
