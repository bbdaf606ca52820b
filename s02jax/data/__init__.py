"""Corpora on disk, and the batches of rows that training reads from them."""
