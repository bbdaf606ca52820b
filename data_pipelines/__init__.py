"""Recordings to corpora, and corpora to tokens and latents."""
