"""Corpora that adapt a bundle, and tables of the voices in a corpus."""
