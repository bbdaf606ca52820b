"""Voice fitted to a speaker's recordings: one vector, nothing else.

  s02 train --config configs/adapters/speaker.py:ar --config.bundle DIR \
    --config.corpus DIR --workdir DIR

Professional voice cloning (report, 4.3). It starts from the encoder's mean
over the recordings and stays on the encoder's sphere: no weight decay, no
noise in the input, short averages. `s02 adapt speaker` fits the vectors of both
models (`ar`, `flow_matching`) and keeps them as a voice of the bundle.
"""

from configs.adapters import common


def get_config(model: str = "ar"):
  """Config of the vector of one model."""
  config = common.base("speaker", model)
  config.steps = 100
  config.batch_size = 2 if model == "ar" else 8
  config.optimizer.update(
    dict(learning_rate=2e-2, warmup=5, b2=0.95, weight_decay=0.0, ema=0.9)
  )
  if model == "ar":
    config.loss = dict(noise=0.0)
  return config
