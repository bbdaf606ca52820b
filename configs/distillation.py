"""Distillation: flow matching in one to four steps, taught by a bundle's own.

  s02 extract --corpus DIR --audio_tokenizer BUNDLE --flow_vae BUNDLE
  s02 distill --config configs/distillation.py:demo --config.corpus DIR \
    --config.bundle BUNDLE
  s02 train --config configs/distillation.py:demo --config.corpus DIR \
    --config.bundle BUNDLE --workdir runs/distillation
  s02 bundle --corpus DIR --audio_tokenizer BUNDLE --flow_vae BUNDLE \
    --ar BUNDLE --flow_matching runs/distillation --out fast

The sizes are those of flow matching, for the number of steps and of rows: model
and data are the bundle's. `s02 distill` solves the rows of the velocity `line`;
`--config.model.velocity=mean` needs none.
"""

from ml_collections import ConfigDict, config_dict

from configs import flow_matching

# Batches that the teacher solves: as much work as ten steps each.
_BATCHES = {"test": 4, "demo": 150, "mini": 300, "voice": 2000}


def get_config(size: str = "demo"):
  """Config of one size."""
  config = flow_matching.get_config(size)
  config.stage = "distillation"
  # Folder of `s02 bundle`, whose flow matching teaches.
  config.bundle = config_dict.placeholder(str)
  # What the student learns: line (Reflow) or mean (mean velocities).
  config.model.velocity = "line"
  config.distillation = ConfigDict(
    dict(
      # Steps and guidance of the teacher.
      steps=16,
      guidance=1.5,
      # Batches that the teacher solves, for `line`; then they repeat.
      batches=_BATCHES.get(size.partition("-")[0], 20_000),
      # Share of rows that learn the velocity of a time, for `mean`.
      instant=0.25,
      teacher="",  # from the bundle
    )
  )
  # Steps that synthesis takes unless a request says otherwise.
  config.solver = ConfigDict({"steps": 2})
  config.steps = max(config.steps // 2, 10)
  config.loss.drop = 0.0
  rate = config.optimizer.learning_rate
  config.optimizer.update(dict(learning_rate=rate / 5, warmup=20))
  return config
