"""Rows of the AR model: packed sequences of text and audio tokens."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.data.features import Features
from s02jax.data.mixture import generator
from s02jax.data.records import Corpus
from s02jax.data.rows import Row, make_row
from s02jax.data.rows.draws import PLAN, REFERENCE, make_mixture
from s02jax.data.rows.epochs import Items, PackedEpochs
from s02jax.data.rows.reading import (
  References,
  check_not_empty,
  read_tokens,
  text_pieces,
  usable_records,
)
from s02jax.data.rows.speakers import SpeakerClips
from s02jax.text import sequence
from s02jax.text.tokenizer import TextModel


@dataclasses.dataclass(frozen=True, kw_only=True)
class PromptedItems(Items):
  """Items of the AR model: utterances with a prompt and a reference."""

  prompt: np.ndarray  # int[k], record before the target; -1 for none
  reference: np.ndarray  # int[k], record of the speaker's reference; -1


class PackedSequences:
  """Rows of sequences for the AR model, several to a row.

  {"ids" i32[s], "segment" i32[s] (0 = padding, then 1, 2, …),
  "position" i32[s] (from 0 in every segment), "cursor" f32[s] (as in
  `s02jax.text.sequence`), "prompt" i32[s] (1 at the audio of a prompt),
  "target" i32[s], "weight" f32[s], "reference_samples" i32[m] (0 = no segment,
  or no reference), and either "references" f32[m, n] or, given `vectors`,
  "speaker_vectors" f32[m, o]}.

  A segment is [speaker][language] text [start] audio; ids of audio tokens
  follow those of the text. From [start] on every position predicts the next
  token, the last one END, whose number is num_codes. With a probability
  another utterance of the speaker comes first, text before text and audio
  before audio: what a one-shot prompt looks like. Its tokens are in the loss as
  well: read from [start], they are a zero-shot utterance that goes on.

  The reference is another clip of the speaker, never the target, which would
  tell what is said. In half of the one-shot segments, and where there is no
  third clip, it is that of the prompt, as it always is when a voice is cloned
  one-shot. The only clip of a speaker has no reference: a part of the same clip
  could not be told apart from what is said in it without its times.

  Attributes:
    excluded: number of records left out, by reason.
    packing: rows by block, and how many blocks were packed.
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
    vectors: np.ndarray | None = None,
    reference_shortest: float | None = None,
    reference_augmented: float = 0.0,
  ):
    """Plans the rows.

    Args:
      corpus: records.
      features: audio tokens of the records.
      text: text model of the corpus.
      batch_size: rows of a global batch.
      seed: seed of every draw.
      row_tokens: positions of a row, s.
      max_segments: most segments of a row, m.
      reference_*: longest, shortest, augmented of `References.of`.
      prompt_probability: share of the utterances that get a prompt.
      rate: language -> text ids that one audio token speaks.
      alpha: balance of the languages, see `Mixture`.
      vectors: f32[len(corpus), o], speaker vectors instead of reference waves.

    Raises:
      UserError: no usable record.
    """
    check_not_empty(corpus)
    self.batch_size, self._seed = batch_size, seed
    self._corpus, self._features = corpus, features
    self._text, self._rate, self._vectors = text, rate, vectors
    self._row_tokens, self._max_segments = row_tokens, max_segments
    self._waves = References.of(
      corpus, reference_seconds, reference_shortest, reference_augmented
    )
    self._prompt_probability = prompt_probability
    self._num_codes = int(features.card["num_codes"])
    self._speakers = SpeakerClips(corpus.speaker)
    records, self.excluded = usable_records(
      corpus, self._unusable(), "config.data.row_tokens"
    )
    self.packing = self._pack(records, alpha, max_segments)

  def _pack(
    self, records: np.ndarray, alpha: float, max_segments: int
  ) -> PackedEpochs:
    """Packs the usable records int[k] into rows."""
    mixture = make_mixture(self._corpus, records, self._seed, alpha)
    return PackedEpochs(
      mixture, self._seed, self._row_tokens, max_segments, self._items
    )

  def _unusable(self) -> dict[str, np.ndarray]:
    """Masks bool[len(corpus)] of the records that no row takes, by reason."""
    return {
      "no text": self._corpus.text_tokens <= 1,
      "too long": self._content(slice(None)) + 3 > self._row_tokens,
    }

  def _content(self, records: np.ndarray | slice) -> np.ndarray:
    """Positions of texts, without their language tags, and of audio, int."""
    hop = self._corpus.rate // TOKENS_PER_SECOND
    pieces = self._corpus.text_tokens[records] - 1
    return pieces + self._corpus.num_samples[records] // hop

  def _lengths(self, target: np.ndarray, prompt: np.ndarray) -> np.ndarray:
    """Positions of each segment: speaker, start, languages, and content."""
    more = self._content(prompt) + 1
    more = np.where(prompt >= 0, more, 0)
    return 3 + self._content(target) + more

  def _items(self, block: int, target: np.ndarray) -> PromptedItems:
    """Draws prompts and references for the targets of a block."""
    draws = generator(self._seed, PLAN, block).random((4, len(target)))
    none = np.full(len(target), -1)
    prompt = self._speakers.other(target, none, draws[1])
    wanted = (draws[0] < self._prompt_probability) & (prompt >= 0)
    wanted &= self._corpus.text_tokens[prompt] > 1
    fits = self._lengths(target, prompt) <= self._row_tokens
    prompt = np.where(wanted & fits, prompt, -1)
    reference = self._speakers.other(target, prompt, draws[2])
    own = (prompt >= 0) & ((draws[3] < 0.5) | (reference < 0))
    return PromptedItems(
      target=target,
      lengths=self._lengths(target, prompt),
      prompt=prompt,
      reference=np.where(own, prompt, reference),
    )

  def __len__(self) -> int:
    """Rows of an epoch."""
    return len(self.packing)

  def plan(self, indices: Sequence[int]) -> list[list[tuple[int, int, int]]]:
    """Records (target, prompt, reference) of each row's segments; -1: none."""
    found = []
    for items, row in self.packing.rows(indices):
      columns = (items.target, items.prompt, items.reference)
      found.append([*zip(*(x[row].tolist() for x in columns), strict=True)])
    return found

  def members(self, index: int) -> list[tuple[int, int, int]]:
    """Result of `plan` for one row."""
    return self.plan([index])[0]

  def records(self, index: int) -> list[int]:
    """Numbers of the records in a row, prompts and references included."""
    return [r for member in self.members(index) for r in member if r >= 0]

  def __getitem__(self, index: int) -> Row:
    return self.make(index, self.members(index))

  def make(self, index: int, planned: list[tuple[int, int, int]]) -> Row:
    """Row of the records that `plan` found for it."""
    size = self._row_tokens
    ids, segment, position, before, target = np.zeros((5, size), np.int32)
    weight, cursor = np.zeros((2, size), np.float32)
    end, spoken = 0, 0
    for k, (record, prompt, _) in enumerate(planned):
      part = self._sequence(record, prompt)
      begin, end = end, end + len(part["ids"])
      ids[begin:end] = part["ids"]
      cursor[begin:end] = part["cursor"]
      before[begin:end] = part["prompt"]
      target[begin:end] = part["target"]
      weight[begin:end] = part["weight"]
      segment[begin:end] = k + 1
      position[begin:end] = np.arange(end - begin)
      spoken += int(part["weight"].sum()) - 1
    return make_row(
      audio_seconds=spoken / TOKENS_PER_SECOND,
      padding=1 - end / size,
      ids=ids,
      segment=segment,
      position=position,
      cursor=cursor,
      prompt=before,
      target=target,
      weight=weight,
      **self._references(index, [reference for _, _, reference in planned]),
    )

  def _references(
    self, index: int, records: list[int]
  ) -> dict[str, np.ndarray]:
    """Reference waves or fixed speaker vectors, one for each segment."""
    most, size = self._max_segments, self._waves.longest
    counts = np.zeros(most, np.int32)
    heard = [(k, record) for k, record in enumerate(records) if record >= 0]
    if self._vectors is not None:
      vectors = np.zeros((most, self._vectors.shape[1]), np.float32)
      for k, record in heard:
        counts[k] = min(self._corpus.num_samples[record], size)
        vectors[k] = self._vectors[record]
      return {"reference_samples": counts, "speaker_vectors": vectors}
    waves = np.zeros((most, size), np.float32)
    random = generator(self._seed, REFERENCE, index)
    for k, record in heard:
      waves[k], counts[k] = self._waves.read(record, random)
    return {"reference_samples": counts, "references": waves}

  def _sequence(self, record: int, prompt: int) -> dict[str, np.ndarray]:
    """Ids, cursor, prompt, targets and weights of one segment."""
    parts = [self._part(i) for i in (prompt, record) if i >= 0]
    ids, cursor = sequence.sequence(self._text, parts)
    audio = np.concatenate([part.codes for part in parts])
    start = len(ids) - len(audio) - 1
    target = np.zeros(len(ids), np.int32)
    target[start:] = np.append(audio, self._num_codes)
    weight = np.zeros(len(ids), np.float32)
    weight[start:] = 1.0
    before = np.zeros(len(ids), np.int32)
    before[start + 1 : len(ids) - len(parts[-1].codes)] = 1
    return {
      "ids": ids,
      "cursor": cursor,
      "prompt": before,
      "target": target,
      "weight": weight,
    }

  def _part(self, record: int) -> sequence.Part:
    """Text and audio of a record."""
    corpus = self._corpus
    language = corpus.languages[corpus.language[record]]
    return sequence.Part(
      language=language,
      pieces=text_pieces(corpus, self._text, record),
      rate=self._rate(language),
      codes=read_tokens(corpus, self._features, record),
    )
