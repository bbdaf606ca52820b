"""A corpus of the tiny bundle: noise by two speakers in several emotions."""

import pathlib

import numpy as np

from data_pipelines import clips, corpus_writer, text_model
from s02jax.core.files import write_json
from s02jax.data.features import FeatureWriter, card_path
from s02jax.data.records import SPLITS, Corpus
from tests import tiny

EMOTIONS = ("neutral", "sad", "happy")
TEXTS = ("Good morning", "How are you", "The lazy dog", "El perro")
COUNTS = {"train": 2, "seen": 1, "unseen": 1}  # speakers of each split


def write(folder: pathlib.Path, emotions=EMOTIONS) -> pathlib.Path:
  """Writes the corpus with the tiny bundle's text model and random features.

  Every speaker says all texts in all emotions, each of its own length.
  """
  examples = {
    split: [
      _example(split, who, text, emotion)
      for who in range(count)
      for text in TEXTS
      for emotion in emotions
    ]
    for split, count in COUNTS.items()
  }
  with corpus_writer.CorpusWriter(
    folder, rate=tiny.RATE, builder="noise", arguments={}, tell=lambda _: None
  ) as writer:
    total = sum(map(len, examples.values()))
    writer.write({s: iter(e) for s, e in examples.items()}, total)
  text_model.adopt(folder, tiny.text_model())
  write_features(folder)
  return folder


def _example(split: str, who: int, text: str, emotion: str) -> clips.Example:
  random = np.random.default_rng([len(split), who, len(text), len(emotion)])
  tokens = int(random.integers(14, 22))
  noise = 0.1 * random.normal(size=tokens * tiny.SAMPLES)
  audio, num_samples = clips.encode(noise.astype(np.float32), tiny.RATE)
  return clips.Example(
    id=f"{split}-{who}-{text}-{emotion}",
    audio=audio,
    num_samples=num_samples,
    text=text,
    language="es" if text.startswith("El") else "en",
    speaker=f"{split}-{who}",
    source="noise",
    emotion=emotion,
  )


def write_features(folder: pathlib.Path) -> None:
  """Writes random tokens and latents of the tiny bundle's sizes."""
  bundle, random = tiny.bundle(), np.random.default_rng(1)
  config = bundle.configs["flow_matching"]
  codes, channels = config["model"]["num_codes"], config["model"]["channels"]
  for split in SPLITS:
    corpus = Corpus.open(folder, split)
    with FeatureWriter(folder, split) as writer:
      for samples in corpus.num_samples:
        tokens = int(samples) // tiny.SAMPLES
        writer.write(
          random.integers(0, codes, tokens),
          random.normal(size=(2 * tokens, channels)),
        )
  card = {"num_codes": codes, "channels": channels, "latents_per_token": 2}
  write_json(
    card_path(folder),
    card | {"latent_rate": 50, "sources": {}} | config["latents"],
  )
