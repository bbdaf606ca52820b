"""Extraction of features: tokens, latents and speaker vectors of a corpus.

`<corpus>/features/card.json` is written after tokens and latents: without it
nothing was extracted. It names the checkpoints by digests of their parameters,
so that the same command again does nothing, and another checkpoint extracts
anew. A split is extracted in pieces of PIECE records, each with a note of what
it was made by: a command that was cut short goes on, and hosts that share a
corpus extract every n-th piece each, to the same bytes. Fixed speaker vectors
depend on the records alone, and are written once.

Shape letters: n samples, s tokens, l latents, c latent channels, o features of
a speaker vector.
"""

import concurrent.futures
import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
import sys
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tqdm

from s02jax.bundle import CODECS, Bundle
from s02jax.core import files, places
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, whole_tokens
from s02jax.core.shard import WHOLE, Shard
from s02jax.data.features import (
  FeatureWriter,
  card_path,
  has_speaker_vectors,
  join_pieces,
  write_speaker_vectors,
)
from s02jax.data.records import SPLITS, Corpus
from s02jax.pretrained import ge2e
from s02jax.synthesis.batching import Batch, counts, pad, round_up
from s02jax.synthesis.render.codecs import TokenizerCodec, VaeCodec
from s02jax.training.trained import Trained

PIECE = 2**15  # records of a piece, whose features are a few files
CHUNK = 1024  # records whose waves are decoded at a time
BATCH_TOKENS = 2048  # tokens of a padded batch
VECTOR_CHUNK = 128  # records whose speaker vectors are computed at once


@dataclasses.dataclass(kw_only=True)
class Moments:
  """Running moments of latents z ~ N(mean, sigma²), float64 [c]."""

  frames: int = 0  # number of latents summed
  total: np.ndarray = dataclasses.field(  # Σ mean
    default_factory=lambda: np.zeros(())
  )
  squares: np.ndarray = dataclasses.field(  # Σ mean² + sigma²
    default_factory=lambda: np.zeros(())
  )

  def add(self, mean: np.ndarray, sigma: np.ndarray) -> None:
    """Adds the posteriors of a record, each [l, c]."""
    mean, sigma = mean.astype(np.float64), sigma.astype(np.float64)
    self.frames += len(mean)
    self.total = self.total + mean.sum(0)
    self.squares = self.squares + (mean**2 + sigma**2).sum(0)

  def merge(self, other: "Moments") -> None:
    """Adds the moments of other latents."""
    self.frames += other.frames
    self.total = self.total + other.total
    self.squares = self.squares + other.squares

  @property
  def mean(self) -> np.ndarray:
    """Mean of z per channel."""
    return self.total / self.frames

  @property
  def std(self) -> np.ndarray:
    """Deviation of sampled z per channel: between and within posteriors."""
    variance = self.squares / self.frames - self.mean**2
    return np.sqrt(np.maximum(variance, 1e-8))


def batches(waves: list[np.ndarray], samples_per_token: int) -> Iterator[Batch]:
  """Sorts waves by length into batches of equal area, one shape per length.

  Args:
    waves: float32 [n], each a whole number of tokens.
    samples_per_token: rate // 25.
  """
  unit = 2 * TOKENS_PER_SECOND * samples_per_token
  padded = np.array([round_up(len(wave), unit) for wave in waves])
  for length in np.unique(padded):
    rows = max(1, BATCH_TOKENS * samples_per_token // int(length))
    group = np.flatnonzero(padded == length)
    for start in range(0, len(group), rows):
      indices = group[start : start + rows]
      chosen = [waves[i] for i in indices]
      yield Batch(
        indices=indices,
        values=pad(chosen, rows, int(length)),
        lengths=counts(chosen, rows),
      )


def features(
  waves: list[np.ndarray], tokenizer: TokenizerCodec, vae: VaeCodec
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
  """Extracts tokens int32 [s], mean and sigma float32 [l, c] of each wave."""
  samples = tokenizer.rate // TOKENS_PER_SECOND
  waves = [whole_tokens(wave, tokenizer.rate) for wave in waves]
  results: list[Any] = [None] * len(waves)
  for batch in batches(waves, samples):
    tokens = tokenizer.encode_batch(batch)
    posterior = vae.posterior_batch(batch)
    for i, row, (mean, sigma) in zip(
      batch.indices, tokens, posterior, strict=False
    ):
      results[i] = (row, mean, sigma)
  return results


def extract(
  corpus: str,
  audio_tokenizer: str,
  flow_vae: str,
  shard: Shard = WHOLE,
) -> None:
  """Writes the features of all splits, unless these very ones are there.

  Args:
    corpus: folder of `s02 corpus`.
    audio_tokenizer: workdir of a trained audio tokenizer, or a bundle.
    flow_vae: workdir of a trained Flow-VAE, or a bundle.
    shard: whose pieces are extracted; WHOLE extracts all that are left, after
      which the features can be read.

  Raises:
    UserError: a stage of another sample rate, a run or corpus that is not
      there, a folder that cannot be written.
  """
  trained = {
    "audio_tokenizer": Trained.load(audio_tokenizer, "audio_tokenizer"),
    "flow_vae": Trained.load(flow_vae, "flow_vae"),
  }
  _extract(corpus, trained, None, shard)


def extract_by(corpus: str, bundle: Bundle, shard: Shard = WHOLE) -> None:
  """Writes the features of all splits by the models of a bundle.

  The latents' statistics are those that the bundle's flow matching knows, so
  that what is trained on these features fits it.

  Args:
    corpus: folder of `s02 corpus`, of the bundle's sample rate.
    bundle: whose tokens and latents they are.
    shard: as of `extract`.

  Raises:
    UserError: as `extract`.
  """
  trained = {name: Trained.of_bundle(bundle, name) for name in CODECS}
  statistics = bundle.configs["flow_matching"]["latents"]
  _extract(corpus, trained, statistics, shard)


def _extract(
  corpus: str,
  trained: Mapping[str, Trained],
  statistics: Mapping[str, Any] | None,
  shard: Shard = WHOLE,
) -> None:
  """Writes the features of all splits; without statistics, with their own."""
  splits = {name: Corpus.open(corpus, name) for name in SPLITS}
  sources = _sources(trained, splits)
  card = card_path(corpus)
  if _is_done(card, sources, statistics):
    logging.info(
      "%s already has the features of these checkpoints; nothing to do", corpus
    )
    return
  run = trained["audio_tokenizer"]
  tokenizer = TokenizerCodec(run.config, run.params)
  run = trained["flow_vae"]
  vae = VaeCodec(run.config, run.params)
  _check_rates(splits, tokenizer, vae)
  with files.explain_errors(card.parent, "the features"):
    card.unlink(missing_ok=True)
    pieces = _pieces(card, splits)
    notes = {}
    for piece in shard.of(pieces):
      note = piece.read(sources)
      if note is None:
        records = splits[piece.split]
        note = _extract_piece(corpus, piece, records, tokenizer, vae)
        piece.write(sources, note)
      notes[piece] = note
    if shard == WHOLE:
      moments = _join(corpus, notes)
      found = statistics or {
        "mean": [float(x) for x in moments.mean],
        "std": [float(x) for x in moments.std],
      }
      _write_card(card, tokenizer, vae, found, sources)
      places.remove_folder(card.parent / "pieces")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Extracted:
  """Features of a piece that are written."""

  moments: Moments  # of the latents
  lengths: dict[str, list[int]]  # records in each file, by kind


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Piece:
  """Part of a split, and the note that is written after its features."""

  split: str
  number: int  # within the split
  note: pathlib.Path
  records: range

  def read(self, sources: Mapping[str, Any]) -> _Extracted | None:
    """Reads what was extracted; None where it has to be done (anew)."""
    try:
      found = json.loads(self.note.read_text())
    except (OSError, ValueError):
      return None
    if found["sources"] != sources:
      return None
    moments = Moments(
      frames=found["frames"],
      total=np.array(found["total"]),
      squares=np.array(found["squares"]),
    )
    return _Extracted(moments=moments, lengths=found["lengths"])

  def write(self, sources: Mapping[str, Any], found: _Extracted) -> None:
    """Notes that the features of the piece are there."""
    files.write_json(
      self.note,
      {
        "sources": sources,
        "lengths": found.lengths,
        "frames": found.moments.frames,
        "total": found.moments.total.tolist(),
        "squares": found.moments.squares.tolist(),
      },
    )


def _pieces(card: pathlib.Path, splits: Mapping[str, Corpus]) -> list[_Piece]:
  """Pieces of all splits, in order; an empty split is one of no records."""
  return [
    _Piece(
      split=split,
      number=number,
      note=card.parent / "pieces" / f"{split}-{number:06d}.json",
      records=range(start, min(start + PIECE, len(records))),
    )
    for split, records in splits.items()
    for number, start in enumerate(range(0, max(len(records), 1), PIECE))
  ]


def _join(corpus: str, notes: Mapping[_Piece, _Extracted]) -> Moments:
  """Makes the features of all splits of their pieces; moments of train's."""
  moments = Moments()
  for split in SPLITS:
    mine = [note for piece, note in notes.items() if piece.split == split]
    if split == "train":
      for note in mine:
        moments.merge(note.moments)
    join_pieces(corpus, split, [note.lengths for note in mine])
  return moments


def extract_speaker_vectors(corpus: str) -> None:
  """Writes the fixed speaker vectors of all splits that lack them.

  Args:
    corpus: folder of `s02 corpus`.

  Raises:
    UserError: no such corpus, a folder that cannot be written, or the network
      (`pretrained/ge2e.py`) is not installed.
  """
  for split in SPLITS:
    if has_speaker_vectors(corpus, split):
      continue
    records = Corpus.open(corpus, split)
    logging.info("speaker vectors of %s: %d records", split, len(records))
    with (
      _progress(split, len(records)) as bar,
      files.explain_errors(corpus, "the speaker vectors"),
    ):
      shape = (len(records), ge2e.SIZE)
      write_speaker_vectors(
        corpus, split, shape, _speaker_vectors(records, bar)
      )


def _speaker_vectors(records: Corpus, bar: tqdm.tqdm) -> Iterator[np.ndarray]:
  """Fixed speaker vectors of a split, float32 [VECTOR_CHUNK, o] at a time."""
  for start in range(0, len(records), VECTOR_CHUNK):
    chosen = range(start, min(start + VECTOR_CHUNK, len(records)))
    waves = [records.wave(i) for i in chosen]
    yield np.stack(ge2e.speaker_vectors(waves, records.rate))
    bar.update(len(chosen))


def _progress(split: str, total: int) -> tqdm.tqdm:
  """Progress bar over the records of a split, where a terminal is there."""
  return tqdm.tqdm(
    total=total, desc=split, unit="record", disable=not sys.stderr.isatty()
  )


def _sources(
  trained: Mapping[str, Trained], splits: Mapping[str, Corpus]
) -> dict[str, Any]:
  """Origin of the features: checkpoints, and a digest of the records."""
  stages = {
    name: {"fingerprint": run.fingerprint, "step": run.step}
    for name, run in trained.items()
  }
  records = hashlib.sha256()
  for name, split in splits.items():
    records.update(name.encode())
    records.update(np.asarray(split.num_samples, np.int32).tobytes())
  return stages | {"records": records.hexdigest()[:16]}


def _is_done(
  card: pathlib.Path,
  sources: dict[str, Any],
  statistics: Mapping[str, Any] | None,
) -> bool:
  """Whether a card tells of these sources, and of given statistics."""
  try:
    found = json.loads(card.read_text())
    wanted = {"sources": sources} | {
      name: list((statistics or found)[name]) for name in ("mean", "std")
    }
    return all(found[name] == value for name, value in wanted.items())
  except (OSError, ValueError, KeyError):
    return False


def _check_rates(
  splits: dict[str, Corpus], tokenizer: TokenizerCodec, vae: VaeCodec
) -> None:
  rate = splits["train"].rate
  for name, codec in (("audio tokenizer", tokenizer), ("Flow-VAE", vae)):
    if codec.rate != rate:
      raise UserError(
        f"the {name} was trained at {codec.rate} Hz and the corpus has {rate}"
        " Hz; extract with stages trained on this corpus."
      )


def _extract_piece(
  corpus: str,
  piece: _Piece,
  records: Corpus,
  tokenizer: TokenizerCodec,
  vae: VaeCodec,
) -> _Extracted:
  """Writes tokens and latents of a piece."""
  mine, moments = piece.records, Moments()
  samples = records.num_samples[mine.start : mine.stop]
  hours = float(np.sum(samples, dtype=np.int64)) / (records.rate * 3600)
  name = f"{piece.split}, piece {piece.number + 1}"
  logging.info("extracting %s: %d records, %.2f h", name, len(mine), hours)
  with (
    _progress(name, len(mine)) as bar,
    FeatureWriter(corpus, piece.split, piece.number) as writer,
    concurrent.futures.ThreadPoolExecutor(1) as reader,
  ):
    chunks = [mine[i : i + CHUNK] for i in range(0, len(mine), CHUNK)]
    read = functools.partial(_waves, records)
    for chunk, waves in zip(chunks, _ahead(reader, read, chunks), strict=True):
      for tokens, mean, sigma in features(waves, tokenizer, vae):
        writer.write(tokens, mean)
        moments.add(mean, sigma)
      bar.update(len(chunk))
  return _Extracted(moments=moments, lengths=writer.lengths)


def _waves(records: Corpus, numbers: range) -> list[np.ndarray]:
  """Decoded waves of some records."""
  return [records.wave(i) for i in numbers]


def _ahead(
  reader: concurrent.futures.Executor,
  read: Callable[[range], list[np.ndarray]],
  chunks: list[range],
) -> Iterator[list[np.ndarray]]:
  """Yields the waves of each chunk; the next are decoded in the meantime."""
  if not chunks:
    return
  reading = reader.submit(read, chunks[0])
  for following in chunks[1:]:
    waves, reading = reading.result(), reader.submit(read, following)
    yield waves
  yield reading.result()


def _write_card(
  path: pathlib.Path,
  tokenizer: TokenizerCodec,
  vae: VaeCodec,
  statistics: Mapping[str, Any],
  sources: dict[str, Any],
) -> None:
  card = {
    "num_codes": tokenizer.num_codes,
    "channels": vae.config.channels,
    "latents_per_token": vae.latents_per_token,
    "latent_rate": TOKENS_PER_SECOND * vae.latents_per_token,
    "mean": list(statistics["mean"]),
    "std": list(statistics["std"]),
    "sources": sources,
  }
  files.write_json(path, card)
