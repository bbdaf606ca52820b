"""Verbs of what is built on a bundle: train it, and look after it."""
