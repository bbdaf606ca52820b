"""Measurements on the machine at hand; each says what it computed."""
