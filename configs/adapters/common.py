"""Config fields that every adapter has."""

from ml_collections import ConfigDict, config_dict

from configs import common
from s02jax.core.errors import UserError

MODELS = ("ar", "flow_matching")


def base(kind: str, model: str) -> ConfigDict:
  """Config of an adapter; sizes, data and loss come from the bundle."""
  if model not in MODELS:
    raise UserError(
      f"there is no adapter of {model!r}; the models are {', '.join(MODELS)}."
    )
  config = common.base("adapter", "demo")
  # Folder of `s02 bundle`, whose models stay as they are.
  config.bundle = config_dict.placeholder(str)
  config.adapter = ConfigDict(
    dict(
      kind=kind,
      model=model,
      # Emotions of the corpus, each with a change of its own; none: all clips.
      names=(),
      # Clip of the speaker before a target: neutral, random or same.
      reference="neutral",
      rank=8,
      alpha=16.0,
      # Regular expression of the kernels that change, for `lora`.
      targets=r"stack/blocks/attention/(q|k|v|o)$",
      # Corpus of the base, for `full`; and the share of batches from it.
      rehearsal="",
      rehearsal_share=0.5,
    )
  )
  config.mel = ConfigDict()
  config.eval_every = 100
  config.checkpoint_every = 100
  # Balance of the languages as it is; the corpus is small.
  config.data = ConfigDict({"alpha": 1.0})
  return config
