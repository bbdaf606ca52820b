"""s02jax: training MiniMax-Speech (Speech-02) on JAX."""

__version__ = "0.1.0"
