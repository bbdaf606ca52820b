"""Verbs that make a corpus and what training reads beside it."""
