"""Adapters: what is trained on a bundle's frozen models, one file a kind."""
