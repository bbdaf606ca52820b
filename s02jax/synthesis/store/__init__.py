"""Voices and adapters that a bundle keeps, and voices by description."""
