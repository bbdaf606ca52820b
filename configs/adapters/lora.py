"""Low-rank changes of a bundle's model, one an emotion.

  s02 train --config configs/adapters/lora.py:ar --config.bundle DIR \
    --config.corpus DIR --config.adapter.names="('sad','happy')" --workdir DIR

The corpus needs the text model, tokens and latents of the bundle; `s02 adapt
emotion` makes all of it. Of either model (`ar`, `flow_matching`) only A and B
of rank 8 train, beside frozen weights. All emotions train in one run, side by
side; a batch has two rows of each.
"""

from configs.adapters import common


def get_config(model: str = "ar"):
  """Config of the changes of one model."""
  config = common.base("lora", model)
  config.steps = 300
  config.batch_size = 7 if model == "ar" else 28
  config.optimizer.update(
    dict(learning_rate=2e-3, warmup=20, b2=0.98, weight_decay=0.0, ema=0.98)
  )
  if model == "ar":
    config.loss = dict(noise=0.05)
  else:
    # What a prosody is shows in the condition and the modulation too.
    config.adapter.targets = (
      r"attention/(q|k|v|o)$|modulation$|upsample$|gaussian$"
    )
  return config
