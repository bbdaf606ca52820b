"""All parameters of a bundle's model, trained on from where they are.

  s02 train --config configs/adapters/full.py:ar --config.bundle DIR \
    --config.corpus DIR --config.adapter.rehearsal DIR --workdir DIR

For a voice with much data, or a new language; rates are a tenth of those that
the base began with, and half of the batches rehearse the base's corpus where
one is given. `s02 adapt voice` and `s02 adapt language` run it for both models.
"""

from configs.adapters import common


def get_config(model: str = "ar"):
  """Config of one model."""
  config = common.base("full", model)
  config.steps = 400
  config.batch_size = 4 if model == "ar" else 16
  config.optimizer.update(
    dict(learning_rate=2e-4, warmup=20, b2=0.98, ema=0.98)
  )
  return config
