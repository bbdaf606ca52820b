"""What a verb that works with models does before it begins."""

import logging

from s02jax.train import use_compilation_cache


def set_up() -> None:
  """Plain log lines on stderr; compiled programs are kept for the next run."""
  use_compilation_cache()
  logging.basicConfig(level=logging.INFO, format="%(message)s", force=True)
  for noisy in ("absl", "jax", "orbax"):
    logging.getLogger(noisy).setLevel(logging.WARNING)
