"""Speech from text with a bundle: requests, voices, engine, long texts."""
