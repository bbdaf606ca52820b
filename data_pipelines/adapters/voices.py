"""Tables of voices: vectors and measured attributes of a corpus's speakers.

The attributes come from the sound alone: median pitch (and from it the gender,
where it is beyond doubt), pace and loudness, each speaker's relative to their
language's or the corpus's others; the language is that of the records.
"""

import pathlib
import sys

import numpy as np
import tqdm

from s02jax.audio import prosody
from s02jax.bundle import Bundle
from s02jax.core import files, languages
from s02jax.data import descriptions
from s02jax.data.records import Corpus
from s02jax.data.voices import VoiceSpace, VoiceTable
from s02jax.synthesis.synthesizer import Synthesizer

SPLITS = ("train", "unseen")
MOST_CLIPS = 6  # of a speaker, that are measured
# Hz of the median pitch, below which a voice is taken for male, above for
# female; between them the gender stays unknown.
MALE, FEMALE = 145.0, 180.0


def build(corpus: pathlib.Path, bundle: Bundle, out: pathlib.Path) -> None:
  """Writes the tables of voices, their space and the text model into `out`.

  Args:
    corpus: folder of `s02 corpus`, at the bundle's rate.
    bundle: whose encoders make the vectors.
    out: folder to fill; what is there already stays.

  Raises:
    UserError: no such corpus, or too few speakers.
  """
  out.mkdir(parents=True, exist_ok=True)
  files.write_bytes(out / "text.model", bundle.text_model)
  edges: dict[str, np.ndarray] = {}
  for split in SPLITS:
    if (out / f"voices-{split}.npz").is_file() and (
      out / "space.npz"
    ).is_file():
      continue
    table = measure(Corpus.open(corpus, split), Synthesizer(bundle), edges)
    if split == "train":
      VoiceSpace.fit(table).save(out)
    table.save(out, split)


def measure(
  corpus: Corpus, synthesizer: Synthesizer, edges: dict[str, np.ndarray]
) -> VoiceTable:
  """Table of the speakers of a split.

  Args:
    corpus: the split.
    synthesizer: of the bundle.
    edges: between slow, medium and fast, and soft, medium and loud; filled
      where it is empty.
  """
  ar, flow, figures, codes = [], [], [], []
  by_speaker = {int(s): np.flatnonzero(corpus.speaker == s)
                for s in np.unique(corpus.speaker)}  # fmt: skip
  for clips in tqdm.tqdm(
    by_speaker.values(),
    desc=corpus.split,
    unit="speaker",
    disable=not sys.stderr.isatty(),
  ):
    records = [corpus.record(int(i)) for i in clips[:MOST_CLIPS]]
    found = [prosody.measure(r.wave, r.rate, r.text) for r in records]
    known = [f.figures() for f in found if f is not None]
    if not known:
      continue
    voices = synthesizer.voices(
      [r.wave for r in records], [None] * len(records)
    )
    ar.append(_mean([voice.ar_vector for voice in voices]))
    flow.append(_mean([voice.flow_vector for voice in voices]))
    figures.append(np.median(known, axis=0))
    codes.append(records[0].language)
  if not edges and figures:
    edges |= _edges(np.array(figures), codes)
  tags = [_tags(f, c, edges) for f, c in zip(figures, codes, strict=True)]
  empty = np.zeros((0, 1), np.float32)
  return VoiceTable(
    ar=np.array(ar, np.float32) if ar else empty,
    flow=np.array(flow, np.float32) if flow else empty,
    tags=np.array(tags, np.int32).reshape(-1, len(descriptions.VALUES)),
  )


def _mean(vectors: list[np.ndarray]) -> np.ndarray:
  """Mean vector of a speaker's clips, at the power of one."""
  mean = np.mean(vectors, axis=0)
  return mean / np.sqrt(np.mean(mean**2) + 1e-6)


def _edges(figures: np.ndarray, codes: list[str]) -> dict[str, np.ndarray]:
  """Thirds of the pace of every language, and of the loudness of all."""
  pace, loudness = (
    figures[:, prosody.FIGURES.index(name)] for name in ("pace", "loudness")
  )
  own = np.array(codes)
  edges = {
    f"pace {code}": np.percentile(pace[own == code], [33, 67])
    for code in set(codes)
  }
  return edges | {"loudness": np.percentile(loudness, [33, 67])}


def _tags(
  figures: np.ndarray, code: str, edges: dict[str, np.ndarray]
) -> list[int]:
  """Attributes of one speaker, in the order of `descriptions.VALUES`."""
  pitch, _, pace, loudness = figures
  hertz = 55.0 * 2 ** (pitch / 12)
  gender = 2 if hertz < MALE else 1 if hertz > FEMALE else 0
  between = edges.get(f"pace {code}")
  return [
    gender,
    descriptions.pitch_bin(hertz),
    0 if between is None else 1 + int(np.searchsorted(between, pace)),
    1 + int(np.searchsorted(edges["loudness"], loudness)),
    1 + list(languages.BY_CODE).index(code),
  ]
