"""Measurements on the machine at hand, each with what it computed."""
