"""Rows of every stage: pure functions of (seed, index).

`rows[index]` computes which records it takes, which other clip of the speaker
is the reference, and which crop, from its index alone. The rows of one global
batch, those with equal `index // batch_size`, have one shape. Every row says
how many seconds of speech it trains on, "audio_seconds", and which share of
it is padding, "padding".

Shape letters: n samples, t tokens, r latents per token, c channels, s tokens
of a packed row, m segments of a packed row, l text tokens.
"""

import dataclasses
import threading
from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import numpy as np

from s02jax import layout
from s02jax.data.mixture import (
  EpochCache,
  Mixture,
  generator,
  largest_remainders,
)
from s02jax.data.packing import exactly, pack
from s02jax.data.records import Corpus, Features
from s02jax.errors import UserError
from s02jax.text import TextModel

Row = dict[str, np.ndarray]
Vectors = Callable[[Sequence[np.ndarray]], Sequence[np.ndarray]]  # of waves

TOKENS_PER_SECOND = 25
# Records that are packed together; an epoch is packed in such blocks.
BLOCK = 2**16
# Empty tokens between packed utterances: as far as a convolution of the audio
# tokenizer sees to one side.
GAP = 3
# Text id between packed utterances; that of what is unknown, which no text has,
# since the text model falls back to bytes.
SEPARATOR = 0
# Clips that fill a row of flow matching up, at most.
FILLERS = 32
# Rows whose voices are computed at once.
AHEAD = 32

# What a generator is for, so that no two uses draw the same numbers.
_MIX, _CROP, _BUCKETS, _REFERENCE, _PLAN, _SHUFFLE, _FILL = range(7)


def _row(audio_seconds: float, padding: float, **values) -> Row:
  return values | {
    "audio_seconds": np.float32(audio_seconds),
    "padding": np.float32(padding),
  }


def _pad(x: np.ndarray, length: int) -> np.ndarray:
  """Zeros after x [k, …] up to [length, …]."""
  out = np.zeros((length, *x.shape[1:]), x.dtype)
  out[: len(x)] = x
  return out


def samples(seconds: float, rate: int) -> int:
  """Seconds as samples at `rate` Hz, on the grid of tokens."""
  return tokens(seconds) * (rate // TOKENS_PER_SECOND)


def tokens(seconds: float) -> int:
  """Seconds as audio tokens, at least one."""
  return max(round(seconds * TOKENS_PER_SECOND), 1)


def _crop(
  wave: np.ndarray, samples: int, random: np.random.Generator
) -> np.ndarray:
  """At most `samples` samples from anywhere in `wave`."""
  spare = max(len(wave) - samples, 0)
  start = int(random.integers(spare + 1))
  return wave[start : start + samples]


# ------------------------------------------------------------------- crops


class AudioCrops:
  """Crops of one length: {"wave" f32[n]}.

  Records shorter than the crop are left out, unless all of them are; then
  every record is used, zeros after it.

  Attributes:
    excluded: records left out, by reason.
  """

  def __init__(
    self,
    corpus: Corpus,
    batch_size: int,
    seed: int,
    crop_samples: int,
    alpha: float = 1.0,
  ):
    _not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._seed = seed
    self._crop = crop_samples
    long_enough = np.flatnonzero(corpus.num_samples >= crop_samples)
    records = long_enough if len(long_enough) else np.arange(len(corpus))
    self.excluded = {"too short": len(corpus) - len(records)}
    self._mixture = _mixture(corpus, records, seed, alpha)

  def records(self, index: int) -> list[int]:
    """Records that a row takes."""
    return [int(self._mixture[index])]

  def __getitem__(self, index: int) -> Row:
    wave = self._corpus.wave(self._mixture[index])
    wave = _crop(wave, self._crop, generator(self._seed, _CROP, index))
    return _row(
      audio_seconds=len(wave) / self._corpus.rate,
      padding=1 - len(wave) / self._crop,
      wave=_pad(wave, self._crop),
    )


def _not_empty(corpus: Corpus) -> None:
  if not len(corpus):
    raise UserError(
      f"the split {corpus.split!r} of {corpus.folder} is empty; build the "
      "corpus with more records, or leave the split out of "
      "config.eval_splits."
    )


def _mixture(
  corpus: Corpus, records: np.ndarray, seed: int, alpha: float, *path: int
) -> Mixture:
  stream = int(generator(seed, _MIX, *path).integers(2**31))
  return Mixture(records, corpus.language, corpus.num_samples, stream, alpha)


# ----------------------------------------------------------------- buckets


class _Buckets:
  """Records by length, and which bucket each batch takes.

  In a cycle of batches every bucket has a number of batches proportional to
  its records, in an order shuffled per cycle.
  """

  def __init__(
    self,
    corpus: Corpus,
    usable: np.ndarray,
    batch_size: int,
    seed: int,
    seconds: Sequence[float],
    alpha: float,
  ):
    """`usable`: bool[len(corpus)]; `seconds`: ascending longest lengths."""
    self._batch_size = batch_size
    self._seed = seed
    if list(seconds) != sorted(set(seconds)) or not seconds:
      raise UserError(
        f"config.data.buckets is {tuple(seconds)}; it must be ascending "
        "numbers of seconds."
      )
    self.samples = np.array([samples(s, corpus.rate) for s in seconds])
    bucket = np.searchsorted(self.samples, corpus.num_samples)
    self.too_long = int(np.sum(usable & (bucket == len(seconds))))
    records = [
      np.flatnonzero(usable & (bucket == b)) for b in range(len(seconds))
    ]
    if not any(map(len, records)):
      raise UserError(
        f"the split {corpus.split!r} of {corpus.folder} has no usable record "
        f"of at most {seconds[-1]} s (config.data.buckets)."
      )
    self.records = records
    self._mixtures = [
      _mixture(corpus, r, seed, alpha, b) for b, r in enumerate(records)
    ]
    self._batches = self._batches_of_cycle(corpus, alpha)
    self._cycles = EpochCache(self._make_cycle)

  def _batches_of_cycle(self, corpus: Corpus, alpha: float) -> np.ndarray:
    """int[buckets], batches of each bucket in a cycle."""
    every = np.concatenate(self.records)
    language = corpus.language[every]
    hours = np.bincount(language, corpus.num_samples[every])
    weight = np.maximum(hours, 1.0) ** (alpha - 1.0)
    shares = np.array([weight[corpus.language[r]].sum() for r in self.records])
    total = max(len(every) // self._batch_size, 1)
    batches = largest_remainders(shares, total)
    return np.maximum(batches, [len(r) > 0 for r in self.records])

  def _make_cycle(self, number: int) -> tuple[np.ndarray, np.ndarray]:
    """The bucket of each batch of a cycle, and its number within both."""
    order = np.repeat(np.arange(len(self._batches)), self._batches)
    generator(self._seed, _BUCKETS, number).shuffle(order)
    rank = np.empty_like(order)
    for bucket in range(len(self._batches)):
      here = order == bucket
      rank[here] = np.arange(here.sum())
    return order, rank

  def locate(self, index: int) -> tuple[int, int]:
    """The bucket and the record of a row."""
    step, place = divmod(index, self._batch_size)
    number, position = divmod(step, int(self._batches.sum()))
    order, rank = self._cycles(number)
    bucket = int(order[position])
    batch = number * int(self._batches[bucket]) + int(rank[position])
    return bucket, self._mixtures[bucket][batch * self._batch_size + place]


def _pieces(
  corpus: Corpus, text: TextModel, record: int, words: str
) -> np.ndarray:
  """i32[l], the ids of a text, as many as the index says."""
  pieces = np.array(text.pieces(words), np.int32)
  if len(pieces) != corpus.text_tokens[record] - 1:
    raise UserError(
      f"the index of {corpus.folder} was made with another text model; run "
      f"`s02 text --corpus {corpus.folder}` again."
    )
  return pieces


# -------------------------------------------------------------- references


class _Speakers:
  """Clips by speaker."""

  def __init__(self, speaker: np.ndarray):
    self._order = np.argsort(speaker, kind="stable")
    _, first, inverse, counts = np.unique(
      speaker[self._order],
      return_index=True,
      return_inverse=True,
      return_counts=True,
    )
    n = len(speaker)
    # Of every record: clips of its speaker, where they begin, its own place.
    self.clips = np.empty(n, int)
    self._first = np.empty(n, int)
    self._place = np.empty(n, int)
    self.clips[self._order] = counts[inverse]
    self._first[self._order] = first[inverse]
    self._place[self._order] = np.arange(n) - first[inverse]

  def other(
    self, record: np.ndarray, besides: np.ndarray, draw: np.ndarray
  ) -> np.ndarray:
    """Another clip of each record's speaker.

    Args:
      record: int[k].
      besides: int[k], a second clip of the speaker not to take; -1 for none.
      draw: float[k] in [0, 1), which of the rest.

    Returns:
      int[k]; -1 where there is no other.
    """
    two = besides >= 0
    rest = self.clips[record] - 1 - two
    place = (draw * np.maximum(rest, 0)).astype(int)
    mine = self._place[record]
    theirs = np.where(two, self._place[besides], np.iinfo(int).max)
    place = place + (place >= np.minimum(mine, theirs))
    place = place + (two & (place >= np.maximum(mine, theirs)))
    found = self._order[
      np.minimum(self._first[record] + place, len(self._order) - 1)
    ]
    return np.where(rest > 0, found, -1)

  def others(
    self, record: int, random: np.random.Generator, most: int
  ) -> list[int]:
    """At most so many other clips of a record's speaker, in random order."""
    rest = int(self.clips[record]) - 1
    places = random.choice(rest, min(rest, most), replace=False)
    places += places >= self._place[record]
    return self._order[self._first[record] + places].tolist()


def _reference(
  corpus: Corpus, record: int, samples: int, random: np.random.Generator
) -> tuple[np.ndarray, int]:
  """A clip, or a part of a long one, padded to `samples`; and its length."""
  wave = _crop(corpus.wave(record), samples, random)
  return _pad(wave, samples), len(wave)


class _Voices:
  """Vectors of clips, each computed once, many at a time. Thread-safe."""

  def __init__(self, corpus: Corpus, compute: Vectors):
    self._corpus = corpus
    self._compute = compute
    self._known: dict[int, np.ndarray] = {}
    self._lock = threading.Lock()

  def __call__(
    self, records: Sequence[int], soon: Callable[[], Sequence[int]]
  ) -> np.ndarray:
    """f32[len(records), o]; `soon`: records that are asked for next."""
    with self._lock:
      if not self._known.keys() >= {*records}:
        missing = sorted({*records, *soon()} - self._known.keys())
        waves = [self._corpus.wave(record) for record in missing]
        found = self._compute(waves)
        self._known.update(zip(missing, found, strict=True))
      return np.stack([self._known[record] for record in records])


def _check_tokens(corpus: Corpus, found: int, record: int) -> None:
  expected = corpus.num_samples[record] // (corpus.rate // TOKENS_PER_SECOND)
  if found != expected:
    raise UserError(
      f"record {record} of {corpus.folder} has {found} tokens instead of "
      f"{expected}; run `s02 extract --corpus {corpus.folder}` again."
    )


class LatentUtterances:
  """Utterances of one speaker as tokens and latents, and a reference.

  {"tokens" i32[t], "latents" f32[t·r, c] (zero mean, unit deviation),
  "length" i32 (tokens), "reference" f32[n], "reference_samples" i32}.

  A whole utterance comes first, others of the speaker follow until the row is
  full, as they do after a prompt; the last one is cut off. The reference is
  none of them, where the speaker has enough clips.

  Attributes:
    excluded: records left out, by reason.
  """

  def __init__(
    self,
    corpus: Corpus,
    features: Features,
    batch_size: int,
    seed: int,
    buckets: Sequence[float],
    reference_seconds: float,
    alpha: float = 1.0,
  ):
    _not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._features = features
    self._seed = seed
    self._speakers = _Speakers(corpus.speaker)
    self._reference_samples = samples(reference_seconds, corpus.rate)
    usable = self._speakers.clips > 1
    self._buckets = _Buckets(corpus, usable, batch_size, seed, buckets, alpha)
    self.excluded = {
      "only clip of its speaker": int((~usable).sum()),
      "too long": self._buckets.too_long,
    }
    card = features.card
    self._per_token = int(card["latents_per_token"])
    self._mean = np.array(card["mean"], np.float32)
    self._std = np.array(card["std"], np.float32)

  def _members(self, index: int) -> tuple[int, list[int], int]:
    """Tokens of the row, records that it takes, and the reference."""
    corpus = self._corpus
    bucket, record = self._buckets.locate(index)
    hop = corpus.rate // TOKENS_PER_SECOND
    size = int(self._buckets.samples[bucket]) // hop
    random = generator(self._seed, _FILL, index)
    reference, *others = self._speakers.others(record, random, FILLERS)
    room = size - corpus.num_samples[record] // hop
    taken = [record]
    for other in others:
      if room <= 0:
        break
      taken.append(other)
      room -= corpus.num_samples[other] // hop
    return size, taken, reference

  def records(self, index: int) -> list[int]:
    """Records that a row takes, without its reference."""
    return self._members(index)[1]

  def __getitem__(self, index: int) -> Row:
    size, taken, reference = self._members(index)
    tokens = [self._features.tokens(record) for record in taken]
    for record, found in zip(taken, tokens, strict=True):
      _check_tokens(self._corpus, len(found), record)
    tokens = np.concatenate(tokens)[:size].astype(np.int32)
    latents = np.concatenate([self._features.latents(r) for r in taken])
    latents = (latents[: size * self._per_token] - self._mean) / self._std
    wave, samples = _reference(
      self._corpus,
      reference,
      self._reference_samples,
      generator(self._seed, _REFERENCE, index),
    )
    return _row(
      audio_seconds=len(tokens) / TOKENS_PER_SECOND,
      padding=1 - len(tokens) / size,
      tokens=_pad(tokens, size),
      latents=_pad(latents.astype(np.float32), size * self._per_token),
      length=np.int32(len(tokens)),
      reference=wave,
      reference_samples=np.int32(samples),
    )


# ----------------------------------------------------------------- packing


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Items:
  """What one block of an epoch is packed from."""

  target: np.ndarray  # int[k], records that are spoken
  lengths: np.ndarray  # int[k], room that each takes in a row


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Cloned(_Items):
  """Items of the AR model."""

  prompt: np.ndarray  # int[k], first part of a one-shot pair; -1 for none
  reference: np.ndarray  # int[k]


_Kind = TypeVar("_Kind", bound=_Items)


class _Packing(Generic[_Kind]):
  """An epoch's items in rows, packed block by block."""

  def __init__(
    self,
    mixture: Mixture,
    seed: int,
    room: int,
    most: int,
    items: Callable[[int, np.ndarray], _Kind],
  ):
    """Packs as `items(key, records)` says, `key` counting blocks for ever."""
    self._mixture = mixture
    self._seed = seed
    self._room = room
    self._most = most
    self._items = items
    self._blocks = -(-len(mixture) // BLOCK)
    self._plans = EpochCache(self._make_plan, size=4)
    # As many as the first block needs, less a fiftieth: later blocks leave
    # out their emptiest rows, and seldom have to split one.
    count = len(self._packed(self._draw(0)))
    self._rows = count - count // 50

  def _draw(self, key: int) -> _Kind:
    epoch, block = divmod(key, self._blocks)
    n = len(self._mixture)
    first, last = block * n // self._blocks, (block + 1) * n // self._blocks
    return self._items(key, self._mixture.epoch(epoch)[first:last])

  def _packed(self, items: _Kind) -> list[list[int]]:
    return pack(items.lengths, self._room, self._most)

  def _make_plan(self, key: int) -> tuple[_Kind, list[list[int]]]:
    items = self._draw(key)
    rows = exactly(self._packed(items), items.lengths, self._rows)
    order = generator(self._seed, _SHUFFLE, key).permutation(len(rows))
    return items, [rows[i] for i in order]

  def __len__(self) -> int:
    """Rows of an epoch."""
    return self._rows * self._blocks

  def row(self, index: int) -> tuple[_Kind, list[int]]:
    """The items of a block, and which of them a row has."""
    key, row = divmod(index, self._rows)
    items, rows = self._plans(key)
    return items, rows[row]


class PackedUtterances:
  """Whole utterances and their text, several to a row.

  {"wave" f32[n], "segment" i32[t] (0 = nothing, then 1, 2, …), "text" i32[t]
  (pieces, SEPARATOR between two utterances), "text_length" i32}.

  Between two utterances lie GAP tokens of silence. The text of a row is left
  out, its length 0, where an utterance has fewer tokens than CTC needs.

  Attributes:
    excluded: records left out, by reason.
  """

  def __init__(
    self,
    corpus: Corpus,
    text: TextModel,
    batch_size: int,
    seed: int,
    row_seconds: float,
    alpha: float = 1.0,
  ):
    _not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._text = text
    self._hop = corpus.rate // TOKENS_PER_SECOND
    self._row_tokens = tokens(row_seconds)
    self._tokens = corpus.num_samples // self._hop
    self._packing = _Packing(
      _mixture(corpus, self._usable(), seed, alpha),
      seed,
      self._row_tokens + GAP,
      self._row_tokens,
      self._items,
    )

  def _usable(self) -> np.ndarray:
    pieces = self._corpus.text_tokens.astype(int) - 1
    wordless = pieces < 1
    too_long = ~wordless & (self._tokens > self._row_tokens)
    too_fast = ~wordless & ~too_long & (pieces > self._tokens)
    self.excluded = {
      "no text": int(wordless.sum()),
      "too long": int(too_long.sum()),
      "more text than tokens": int(too_fast.sum()),
    }
    records = np.flatnonzero(~wordless & ~too_long & ~too_fast)
    if not len(records):
      raise UserError(
        f"the split {self._corpus.split!r} of {self._corpus.folder} has no "
        f"usable record: {self.excluded}; see config.data.row_seconds."
      )
    return records

  def _items(self, key: int, target: np.ndarray) -> _Items:
    del key
    return _Items(target=target, lengths=self._tokens[target] + GAP)

  def __len__(self) -> int:
    """Rows of an epoch."""
    return len(self._packing)

  def records(self, index: int) -> list[int]:
    """Records that a row takes."""
    items, row = self._packing.row(index)
    return items.target[row].tolist()

  def __getitem__(self, index: int) -> Row:
    hop, size = self._hop, self._row_tokens
    wave = np.zeros(size * hop, np.float32)
    segment = np.zeros(size, np.int32)
    text: list[int] = []
    end, fits = 0, True
    for k, record in enumerate(self.records(index)):
      clip = self._corpus.record(record)
      pieces = _pieces(self._corpus, self._text, record, clip.text)
      count = len(clip.wave) // hop
      begin = end + GAP if k else 0
      end = begin + count
      wave[begin * hop : end * hop] = clip.wave[: count * hop]
      segment[begin:end] = k + 1
      text += [SEPARATOR] * (k > 0) + pieces.tolist()
      # Equal neighbours need a blank between them.
      fits &= len(pieces) + int((pieces[1:] == pieces[:-1]).sum()) <= count
    return _row(
      audio_seconds=(segment > 0).sum() / TOKENS_PER_SECOND,
      padding=np.mean(segment == 0),
      wave=wave,
      segment=segment,
      text=_pad(np.array(text, np.int32), size),
      text_length=np.int32(len(text) if fits else 0),
    )


class PackedSequences:
  """Sequences of the AR model, several to a row.

  {"ids" i32[s], "segment" i32[s] (0 = padding, then 1, 2, …),
  "position" i32[s] (from 0 in every segment), "cursor" f32[s] (as in
  `s02jax.layout`), "target" i32[s], "weight" f32[s], "references" f32[m, n],
  "reference_samples" i32[m]}. With a function `voices` of waves, "voices"
  f32[m, o] take the place of "references": of whole clips, each computed once.

  A segment is [speaker][language] text [start] audio; ids of audio tokens
  follow those of the text. From [start] on every position predicts the next
  token, the last one END, whose number is num_codes. With a probability
  another utterance of the speaker comes first, text before text (a space
  between them) and audio before audio: what a one-shot prompt looks like. Its
  tokens are in the loss as well: read from [start], they are a zero-shot
  utterance that goes on.

  Attributes:
    excluded: records left out, by reason.
  """

  def __init__(
    self,
    corpus: Corpus,
    features: Features,
    text: TextModel,
    batch_size: int,
    seed: int,
    row_tokens: int,
    max_segments: int,
    reference_seconds: float,
    prompt_probability: float,
    rate: Callable[[str], float],
    alpha: float = 1.0,
    voices: Vectors | None = None,
  ):
    _not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._features = features
    self._text = text
    self._rate = rate
    self._voices = None if voices is None else _Voices(corpus, voices)
    self._seed = seed
    self._row_tokens = row_tokens
    self._max_segments = max_segments
    self._reference_samples = samples(reference_seconds, corpus.rate)
    self._prompt_probability = prompt_probability
    self._num_codes = int(features.card["num_codes"])
    self._speakers = _Speakers(corpus.speaker)
    hop = corpus.rate // TOKENS_PER_SECOND
    # Text without its tag and audio, of every record.
    self._content = corpus.text_tokens.astype(int) - 1
    self._has_text = self._content > 0
    self._content += corpus.num_samples // hop
    self._space = len(text.pieces(" "))
    self._packing = _Packing(
      _mixture(corpus, self._usable(), seed, alpha),
      seed,
      row_tokens,
      max_segments,
      self._items,
    )

  def _usable(self) -> np.ndarray:
    wordless = ~self._has_text
    alone = ~wordless & (self._speakers.clips < 2)
    too_long = ~wordless & ~alone & (self._content + 3 > self._row_tokens)
    self.excluded = {
      "no text": int(wordless.sum()),
      "only clip of its speaker": int(alone.sum()),
      "too long": int(too_long.sum()),
    }
    records = np.flatnonzero(~wordless & ~alone & ~too_long)
    if not len(records):
      raise UserError(
        f"the split {self._corpus.split!r} of {self._corpus.folder} has no "
        f"usable record: {self.excluded}; see config.data.row_tokens."
      )
    return records

  def _lengths(self, target: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """Positions of each segment: speaker, language, start, and content."""
    more = self._content[prompt] + self._space
    more = np.where(prompt >= 0, more, 0)
    return 3 + self._content[target] + more

  def _items(self, key: int, target: np.ndarray) -> _Cloned:
    """With prompts and references, of block `key`."""
    draws = generator(self._seed, _PLAN, key).random((3, len(target)))
    none = np.full(len(target), -1)
    prompt = self._speakers.other(target, none, draws[1])
    wanted = (draws[0] < self._prompt_probability) & (
      self._speakers.clips[target] > 2
    )
    wanted &= self._has_text[prompt]
    fits = self._lengths(target, prompt) <= self._row_tokens
    prompt = np.where(wanted & fits, prompt, -1)
    return _Cloned(
      target=target,
      lengths=self._lengths(target, prompt),
      prompt=prompt,
      reference=self._speakers.other(target, prompt, draws[2]),
    )

  def __len__(self) -> int:
    """Rows of an epoch."""
    return len(self._packing)

  def members(self, index: int) -> list[tuple[int, int, int]]:
    """(target, prompt or -1, reference) of each segment of a row."""
    items, row = self._packing.row(index)
    columns = (items.target, items.prompt, items.reference)
    return list(zip(*(x[row].tolist() for x in columns), strict=True))

  def records(self, index: int) -> list[int]:
    """Records that a row takes, with prompts and references."""
    return [r for member in self.members(index) for r in member if r >= 0]

  def __getitem__(self, index: int) -> Row:
    size = self._row_tokens
    ids, segment, position, target = np.zeros((4, size), np.int32)
    weight, cursor = np.zeros((2, size), np.float32)
    references = np.zeros(
      (self._max_segments, self._reference_samples), np.float32
    )
    reference_samples = np.zeros(self._max_segments, np.int32)
    random = generator(self._seed, _REFERENCE, index)
    end, spoken = 0, 0
    for k, (record, prompt, reference) in enumerate(self.members(index)):
      sequence = self._sequence(record, prompt)
      begin, end = end, end + len(sequence["ids"])
      ids[begin:end] = sequence["ids"]
      cursor[begin:end] = sequence["cursor"]
      target[begin:end] = sequence["target"]
      weight[begin:end] = sequence["weight"]
      segment[begin:end] = k + 1
      position[begin:end] = np.arange(end - begin)
      references[k], reference_samples[k] = _reference(
        self._corpus, reference, self._reference_samples, random
      )
      spoken += int(sequence["weight"].sum()) - 1
    heard = {"references": references}
    if self._voices is not None:
      found = self._voices(
        self._references(index),
        lambda: sum(map(self._references, range(index, index + AHEAD)), []),
      )
      missing = self._max_segments - len(found)
      heard = {"voices": np.pad(found, ((0, missing), (0, 0)))}
    return _row(
      audio_seconds=spoken / TOKENS_PER_SECOND,
      padding=1 - end / size,
      ids=ids,
      segment=segment,
      position=position,
      cursor=cursor,
      target=target,
      weight=weight,
      reference_samples=reference_samples,
      **heard,
    )

  def _references(self, index: int) -> list[int]:
    """Of each segment of a row."""
    return [reference for _, _, reference in self.members(index)]

  def _sequence(self, record: int, prompt: int) -> dict[str, np.ndarray]:
    """Ids, cursor, targets and weights of one segment."""
    corpus = self._corpus
    spoken = [record] if prompt < 0 else [prompt, record]
    codes = [self._features.tokens(i) for i in spoken]
    for i, tokens in zip(spoken, codes, strict=True):
      _check_tokens(corpus, len(tokens), i)
    language = corpus.languages[corpus.language[record]]
    ids, cursor = layout.sequence(
      self._text,
      language,
      [_pieces(corpus, self._text, i, corpus.text(i)) for i in spoken],
      codes,
      self._rate(language),
    )
    audio = np.concatenate(codes)
    start = len(ids) - len(audio) - 1
    target = np.zeros(len(ids), np.int32)
    target[start:] = np.append(audio, self._num_codes)
    weight = np.zeros(len(ids), np.float32)
    weight[start:] = 1.0
    return {"ids": ids, "cursor": cursor, "target": target, "weight": weight}
