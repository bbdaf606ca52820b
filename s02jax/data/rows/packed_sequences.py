"""Rows of the AR model: packed sequences of text and audio tokens."""

from collections.abc import Callable

import numpy as np

from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, samples
from s02jax.data.features import Features
from s02jax.data.mixture import (
  generator,
)
from s02jax.data.records import Corpus
from s02jax.data.rows.common import (
  PLAN,
  REFERENCE,
  Row,
  check_not_empty,
  check_tokens,
  make_mixture,
  make_row,
  read_reference,
  text_pieces,
)
from s02jax.data.rows.epochs import Cloned, Packing
from s02jax.data.rows.speakers import AHEAD, Speakers, Vectors, Voices
from s02jax.text import sequence as layout
from s02jax.text.tokenizer import TextModel


class PackedSequences:
  """Sequences of the AR model, several to a row.

  {"ids" i32[s], "segment" i32[s] (0 = padding, then 1, 2, …),
  "position" i32[s] (from 0 in every segment), "cursor" f32[s] (as in
  `s02jax.text.sequence`), "target" i32[s],
  "weight" f32[s], "references" f32[m, n],
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
    check_not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._features = features
    self._text = text
    self._rate = rate
    self._voices = None if voices is None else Voices(corpus, voices)
    self._seed = seed
    self._row_tokens = row_tokens
    self._max_segments = max_segments
    self._reference_samples = samples(reference_seconds, corpus.rate)
    self._prompt_probability = prompt_probability
    self._num_codes = int(features.card["num_codes"])
    self._speakers = Speakers(corpus.speaker)
    hop = corpus.rate // TOKENS_PER_SECOND
    # Text without its tag and audio, of every record.
    self._content = corpus.text_tokens.astype(int) - 1
    self._has_text = self._content > 0
    self._content += corpus.num_samples // hop
    self._space = len(text.pieces(" "))
    self._packing = Packing(
      make_mixture(corpus, self._usable(), seed, alpha),
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

  def _items(self, key: int, target: np.ndarray) -> Cloned:
    """With prompts and references, of block `key`."""
    draws = generator(self._seed, PLAN, key).random((3, len(target)))
    none = np.full(len(target), -1)
    prompt = self._speakers.other(target, none, draws[1])
    wanted = (draws[0] < self._prompt_probability) & (
      self._speakers.clips[target] > 2
    )
    wanted &= self._has_text[prompt]
    fits = self._lengths(target, prompt) <= self._row_tokens
    prompt = np.where(wanted & fits, prompt, -1)
    return Cloned(
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
    random = generator(self._seed, REFERENCE, index)
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
      references[k], reference_samples[k] = read_reference(
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
    return make_row(
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
      check_tokens(corpus, len(tokens), i)
    language = corpus.languages[corpus.language[record]]
    ids, cursor = layout.sequence(
      self._text,
      language,
      [text_pieces(corpus, self._text, i, corpus.text(i)) for i in spoken],
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
