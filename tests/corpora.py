"""Corpora of a few clips, built for tests."""

import pathlib

import numpy as np

from data_pipelines import clips, corpus_writer, words
from s02jax.cli.corpora import corpus as corpus_cli
from s02jax.data import records

ESPEAK = (
  "--languages en,ja --speakers 4 --clips_per_speaker 3 --seen_speakers 2"
  " --seen_clips 1 --unseen_speakers 2 --unseen_clips 2 --words 12"
  " --processes 1"
)
RATE = 16_000


def build_espeak(out: pathlib.Path, flags: str = ESPEAK) -> None:
  """Builds a synthetic corpus by the command line."""
  corpus_cli.main(["espeak", "--out", str(out), *flags.split()])


def write_noise(out: pathlib.Path) -> None:
  """Writes a corpus of noise, 18 clips with texts in English and Japanese."""
  random = np.random.default_rng(0)

  def example(split: str, number: int) -> clips.Example:
    language = ("en", "ja")[number % 2]
    picked = random.choice(words.WORDS[language][:12], 4, replace=False)
    wave = 0.1 * random.normal(size=random.integers(RATE // 2, 2 * RATE))
    audio, num_samples = clips.encode(wave.astype(np.float32), RATE)
    return clips.Example(
      id=f"{split}-{number}",
      audio=audio,
      num_samples=num_samples,
      text=(" " if language == "en" else "").join(picked),
      language=language,
      speaker=f"{split}-{number // 3}",
      source="noise",
    )

  with corpus_writer.CorpusWriter(
    out, rate=RATE, builder="noise", arguments={}, tell=lambda line: None
  ) as writer:
    counts = {"train": 12, "seen": 2, "unseen": 4}
    writer.write(
      {s: (example(s, i) for i in range(n)) for s, n in counts.items()}, 18
    )


def every_split(folder: pathlib.Path) -> dict[str, records.Corpus]:
  """Opens all splits of a corpus."""
  return {s: records.Corpus.open(folder, s) for s in records.SPLITS}


def every_record(folder: pathlib.Path) -> list[tuple[str, records.Record]]:
  """Reads all records of a corpus, each with its split."""
  return [
    (split, corpus.record(index))
    for split, corpus in every_split(folder).items()
    for index in range(len(corpus))
  ]
