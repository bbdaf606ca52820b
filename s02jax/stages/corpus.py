"""What a stage asks of its corpus before anything is built."""

from s02jax.core.errors import UserError
from s02jax.data.records import Corpus


def corpus_rate(config) -> int:
  """Sample rate of config.corpus in Hz."""
  return Corpus.open(config.corpus, "train").rate


def origins(card, *models: str) -> dict[str, str]:
  """Which checkpoints of `models` wrote the features, by their digests.

  A run keeps them in its config: features of another checkpoint are other
  numbers for the same names.
  """
  return {
    name: card["sources"].get(name, {}).get("fingerprint", "unknown")
    for name in models
  }


def check_rate(config, rate: int) -> None:
  """Raises UserError unless the corpus has this sample rate in Hz."""
  found = corpus_rate(config)
  if found != rate:
    raise UserError(
      f"{config.corpus} is sampled at {found} Hz but mel.rate is {rate}; build"
      f" the corpus with --rate {rate}, or choose another size."
    )
