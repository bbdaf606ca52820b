"""Text to audio tokens by the AR model, many requests at once."""
