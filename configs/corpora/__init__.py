"""Configs of `s02 corpus build`: steps, recognisers and limits of a corpus."""
