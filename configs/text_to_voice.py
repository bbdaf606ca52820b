"""Voice prior: descriptions to voices, on the speakers of a corpus.

  s02 voice prior --bundle DIR --corpus DIR

makes the table of voices and trains this; minutes on one core. The sizes are
those of the bundles: few speakers need a small prior.
"""

from configs import common


def get_config(size: str = "demo"):
  """Config of one size."""
  size, _ = common.parse(size)
  large = common.large(size)
  width = 32 if size == "test" else 512 if large else 128
  config = common.base("text_to_voice", size)
  config.batch_size = 8 if size == "test" else 1024 if large else 64
  config.steps = 20 if size == "test" else 20_000 if large else 1500
  config.model = dict(
    coordinates=common.integer(),  # of the space of the corpus's voices
    text_size=common.integer(),  # from the text model
    tags=(),  # sizes of the attributes
    transformer=dict(
      width=width,
      layers=4 if large else 2,
      heads=width // 64 or 1,
      kv_heads=width // 64 or 1,
      hidden=2 * width,
    ),
    width=width,
    layers=8 if large else 3,
  )
  config.data = dict(longest=64, mentioned=0.7, tagged=0.5)
  config.loss = dict(drop=0.15, jitter=0.3)
  config.optimizer.update(dict(learning_rate=1e-3, ema=0.99))
  return config
