"""Rows of the audio tokenizer: packed whole utterances, text, references."""

import dataclasses
from collections.abc import Sequence

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND, tokens
from s02jax.data.mixture import generator
from s02jax.data.records import Corpus
from s02jax.data.rows import Row, make_row, pad_to
from s02jax.data.rows.draws import PLAN, REFERENCE, make_mixture
from s02jax.data.rows.epochs import Items, PackedEpochs
from s02jax.data.rows.reading import (
  References,
  check_not_empty,
  text_pieces,
  usable_records,
)
from s02jax.data.rows.speakers import SpeakerClips
from s02jax.data.teacher_states import TeacherStates
from s02jax.text.tokenizer import TextModel

# Empty tokens between packed utterances: as far as a convolution of the audio
# tokenizer sees to one side.
GAP = 3
# Text id between packed utterances: the id of unknown text, which no text has,
# since the text model falls back to bytes.
SEPARATOR = 0


@dataclasses.dataclass(frozen=True, kw_only=True)
class HeardItems(Items):
  """Items of the audio tokenizer: utterances with a reference."""

  reference: np.ndarray  # int[k], another record of the speaker; -1 for none


class PackedUtterances:
  """Rows of whole utterances, their text and references, several to a row.

  {"wave" f32[n], "segment" i32[t] (0 = padding, then 1, 2, …), "text" i32[t]
  (text ids, SEPARATOR between two utterances), "text_length" i32, "references"
  f32[m, n], "reference_samples" i32[m] (0 = no segment), "told" bool[t]}; with
  a teacher also "teacher" f32[t, o], its states.

  Between two utterances lie GAP tokens of silence. The text of a row is left
  out, its length 0, where an utterance has fewer tokens than CTC needs. The
  reference is another clip of the speaker. Where there is none, it is a part of
  one half of the utterance itself, and `told` is True for the tokens of this
  half: a decoder that heard the reference must not be scored on them.

  Attributes:
    excluded: number of records left out, by reason.
    packing: rows by block, and how many blocks were packed.
  """

  def __init__(
    self,
    corpus: Corpus,
    text: TextModel,
    batch_size: int,
    seed: int,
    row_seconds: float,
    max_segments: int,
    reference_seconds: float,
    alpha: float = 1.0,
    teacher: TeacherStates | None = None,
  ):
    check_not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._text = text
    self._teacher = teacher
    self._seed = seed
    self._max_segments = max_segments
    self._waves = References.of(corpus, reference_seconds, None, 0.0)
    self._speakers = SpeakerClips(corpus.speaker)
    self._hop = corpus.rate // TOKENS_PER_SECOND
    self._row_tokens = tokens(row_seconds)
    tokens_of = corpus.num_samples // self._hop
    pieces = corpus.text_tokens - 1
    records, self.excluded = usable_records(
      corpus,
      {
        "no text": pieces < 1,
        "too long": tokens_of > self._row_tokens,
        "more text than tokens": pieces > tokens_of,
      },
      "config.data.row_seconds",
    )
    self.packing = PackedEpochs(
      make_mixture(corpus, records, seed, alpha),
      seed,
      self._row_tokens + GAP,
      max_segments,
      self._items,
    )

  def _items(self, block: int, target: np.ndarray) -> HeardItems:
    """Draws references for the targets of a block."""
    draw = generator(self._seed, PLAN, block).random(len(target))
    none = np.full(len(target), -1)
    return HeardItems(
      target=target,
      lengths=self._corpus.num_samples[target] // self._hop + GAP,
      reference=self._speakers.other(target, none, draw),
    )

  def __len__(self) -> int:
    """Rows of an epoch."""
    return len(self.packing)

  def records(self, index: int) -> list[int]:
    """Numbers of the records in a row, without references."""
    return [record for record, _ in self.members(index)]

  def plan(self, indices: Sequence[int]) -> list[list[tuple[int, int]]]:
    """Records (target, reference or -1) of each segment of each row."""
    return [
      [
        *zip(
          items.target[row].tolist(), items.reference[row].tolist(), strict=True
        )
      ]
      for items, row in self.packing.rows(indices)
    ]

  def members(self, index: int) -> list[tuple[int, int]]:
    """Result of `plan` for one row."""
    return self.plan([index])[0]

  def __getitem__(self, index: int) -> Row:
    return self.make(index, self.members(index))

  def make(self, index: int, planned: list[tuple[int, int]]) -> Row:
    """Row of the records that `plan` found for it."""
    hop, size, most = self._hop, self._row_tokens, self._max_segments
    wave = np.zeros(size * hop, np.float32)
    segment, told = np.zeros(size, np.int32), np.zeros(size, bool)
    references = np.zeros((most, self._waves.longest), np.float32)
    samples = np.zeros(most, np.int32)
    random = generator(self._seed, REFERENCE, index)
    more = {}
    if self._teacher is not None:
      more["teacher"] = np.zeros((size, self._teacher.size), np.float32)
    text: list[int] = []
    end, fits = 0, True
    for k, (record, reference) in enumerate(planned):
      clip = self._corpus.wave(record)
      pieces = text_pieces(self._corpus, self._text, record)
      count = len(clip) // hop
      begin = end + GAP if k else 0
      end = begin + count
      wave[begin * hop : end * hop] = clip[: count * hop]
      segment[begin:end] = k + 1
      if self._teacher is not None:
        more["teacher"][begin:end] = self._teacher.states(record)
      if reference >= 0:
        references[k], samples[k] = self._waves.read(reference, random)
      else:
        half = slice(0, count // 2)
        if random.random() < 0.5:
          half = slice(count // 2, count)
        told[begin:end][half] = True
        own = slice(half.start * hop, half.stop * hop)
        references[k], samples[k] = self._waves.read(record, random, own)
      text += [SEPARATOR] * (k > 0) + pieces.tolist()
      # CTC needs a blank between equal neighbours.
      fits &= len(pieces) + int((pieces[1:] == pieces[:-1]).sum()) <= count
    return make_row(
      audio_seconds=(segment > 0).sum() / TOKENS_PER_SECOND,
      padding=np.mean(segment == 0),
      wave=wave,
      segment=segment,
      told=told,
      text=pad_to(np.array(text, np.int32), size),
      text_length=np.int32(len(text) if fits else 0),
      references=references,
      reference_samples=samples,
      **more,
    )
