"""Corpus in memory, and a synthesizer that repeats its recordings."""

import dataclasses
import functools

import numpy as np

from s02jax.evaluation import media
from s02jax.evaluation.report import measures, write
from s02jax.evaluation.report.measure import Stopwatch, measure
from s02jax.evaluation.report.panel import choose_panel
from s02jax.pretrained import dnsmos, signal
from s02jax.synthesis.request import Settings, Utterance
from tests.spoken import SENTENCES, VOICES, spoken

# Measures of a report on this machine.
MEASURED = {m.name for m in measures.MEASURES}
if not signal.has_pesq():
  MEASURED.remove("pesq")
if not dnsmos.installed():
  MEASURED.remove("dnsmos")


@dataclasses.dataclass
class Clips:
  """Split of a corpus in memory."""

  split: str
  texts: list[str]
  who: list[str]
  rate: int = 16000
  languages: tuple[str, ...] = ("en",)

  def __post_init__(self):
    self.speakers = tuple(sorted(VOICES))
    self.speaker = np.array([self.speakers.index(w) for w in self.who])
    self.language = np.zeros(len(self.texts), np.int32)
    self.num_samples = np.array(
      [len(self.wave(i)) for i in range(len(self.texts))]
    )

  def __len__(self):
    return len(self.texts)

  def id(self, index):
    return f"{self.split}-{index}"

  def text(self, index):
    return self.texts[index]

  def wave(self, index):
    return spoken(self.texts[index], VOICES[self.who[index]])


@functools.cache
def splits():
  """Splits by name."""
  train = Clips("train", list(SENTENCES[6:8]), ["ann", "ben"])
  seen = Clips("seen", list(SENTENCES[8:10]), ["ann", "ben"])
  unseen = Clips("unseen", list(SENTENCES[:6]), ["cid"] * 3 + ["dot"] * 3)
  return {"train": train, "seen": seen, "unseen": unseen}


def panel(split, count=9):
  """Panel of a split."""
  others = [s for name, s in splits().items() if name != split]
  return choose_panel(splits()[split], others, count=count, rate=16000, seed=0)


class Parrot:
  """Synthesizer that answers every request with the recording."""

  rate = 16000

  def __init__(self, corpus):
    self.corpus = corpus
    self.of = {
      text: split.wave(i)
      for split in corpus.values()
      for i, text in enumerate(split.texts)
    }

  def synthesize(self, requests, **settings):
    assert set(settings) == {x.name for x in dataclasses.fields(Settings)}
    return [
      Utterance(wave=self.of[r.text], tokens=np.zeros(1, np.int32), ended=True)
      for r in requests
    ]

  def from_tokens(self, tokens, references, *, seed, steps, guidance):
    return tokens

  def tokenize(self, waves):
    return waves

  def resynthesize(self, waves):
    return waves

  def tokenizer_reconstruction(self, waves, references):
    assert len(references) == len(waves)
    return waves

  def ctc_transcribe(self, waves):
    known = {wave.tobytes(): text for text, wave in self.of.items()}
    return [known[wave.tobytes()] for wave in waves]

  def codes_in_use(self, codes):
    return 0.75

  def ar_cost(self, items):
    """Costs a nat for a wrong text, half a nat for a wrong voice."""
    of = {w.tobytes(): t for t, w in self.of.items()}
    speaker = {
      text: who
      for split in self.corpus.values()
      for text, who in zip(split.texts, split.who, strict=True)
    }
    costs = [
      2.0
      + (of[target.tobytes()] != text)
      + 0.5
      * (speaker[of[reference.tobytes()]] != speaker[of[target.tobytes()]])
      for text, _, reference, target in items
    ]
    return float(np.mean(costs))


def measured(corpus=None, **counts):
  """Results of the parrot, by cases of each split of `corpus`."""
  corpus = corpus or splits()
  return measure(Parrot(corpus), corpus, counts, Settings(), 1, Stopwatch())


def write_report(out, results, size="demo"):
  """Writes page and metrics.json into a new folder."""
  curve = media.Curve("training", [1, 2, 3], [3.0, 2.0, 1.5])
  sources = write.Sources(
    bundle_card={"commit": "abc"},
    corpus_card={
      "notes": "The vocabulary is closed <here>.",
      "languages": ["en"],
      "speakers": ["ann"],
      "splits": {"train": {"seconds": 7200.0, "speakers": 2}},
    },
    command="s02 report --bundle b",
    phases={"corpus": 20.0, "ar": 100.0},
    runs={"ar": [curve]},
    size=size,
  )
  write.write(out, results, sources, Settings(), 16000, Stopwatch())
