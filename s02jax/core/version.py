"""Version of s02jax, which every room may name."""

VERSION = "0.1.0"
