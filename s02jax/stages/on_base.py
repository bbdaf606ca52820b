"""Configs of stages that train on a model of a bundle."""

from ml_collections import ConfigDict

from s02jax import stages
from s02jax.bundle import Bundle
from s02jax.core.config import plain
from s02jax.core.errors import UserError


def inner_config(config: ConfigDict, model: str) -> ConfigDict:
  """Config of the model's own stage, by that of a stage that trains on it.

  Args:
    config: with the model's own `model`, `data`, `loss`, `mel`, `optimizer`.
    model: name of the model's stage.
  """
  names = ("model", "data", "loss", "mel", "optimizer")
  fields = {name: config[name] for name in names}
  return ConfigDict(
    fields
    | {
      "stage": model,
      "corpus": config.corpus,
      "seed": config.seed,
      "steps": config.steps,
      "batch_size": config.batch_size,
      "accumulate": config.accumulate,
    }
  )


def fill(config: ConfigDict, model: str) -> Bundle:
  """Fills model, mel, data and loss from config.bundle; keeps what is given.

  Args:
    config: unlocked.
    model: name of the model that is trained on.

  Returns:
    The bundle.

  Raises:
    UserError: there is no bundle, one of another sample rate than the corpus,
      or one whose flow matching is a student.
  """
  if not config.bundle:
    raise UserError(
      "config.bundle has no value; give --config.bundle=DIR, the folder that"
      " `s02 bundle` wrote."
    )
  bundle = Bundle.load(config.bundle)
  base = bundle.configs[model]
  if base["stage"] == "distillation":
    raise UserError(
      f"config.bundle is {config.bundle}, whose flow matching is distilled"
      " already; give the bundle that it was distilled from."
    )
  rate = stages.corpus_rate(config)
  if rate != bundle.rate:
    raise UserError(
      f"{config.corpus} is sampled at {rate} Hz and the bundle {config.bundle}"
      f" at {bundle.rate} Hz; build the corpus with --rate {bundle.rate}."
    )
  config.model, config.mel = dict(base["model"]), dict(base["mel"])
  for part in ("data", "loss"):
    given = {k: v for k, v in plain(config)[part].items() if v is not None}
    config[part] = dict(base[part]) | given
  return bundle
