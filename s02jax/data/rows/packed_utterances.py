"""Rows of the audio tokenizer: packed whole utterances and their text."""

import numpy as np

from s02jax.core.rates import TOKENS_PER_SECOND, tokens
from s02jax.data.records import Corpus
from s02jax.data.rows import Row, make_row, pad_to
from s02jax.data.rows.draws import make_mixture
from s02jax.data.rows.epochs import Items, PackedEpochs
from s02jax.data.rows.reading import (
  check_not_empty,
  text_pieces,
  usable_records,
)
from s02jax.text.tokenizer import TextModel

# Empty tokens between packed utterances: as far as a convolution of the audio
# tokenizer sees to one side.
GAP = 3
# Text id between packed utterances: the id of unknown text, which no text has,
# since the text model falls back to bytes.
SEPARATOR = 0


class PackedUtterances:
  """Rows of whole utterances and their text, several to a row.

  {"wave" f32[n], "segment" i32[t] (0 = padding, then 1, 2, …), "text" i32[t]
  (text ids, SEPARATOR between two utterances), "text_length" i32}.

  Between two utterances lie GAP tokens of silence. The text of a row is left
  out, its length 0, where an utterance has fewer tokens than CTC needs.

  Attributes:
    excluded: number of records left out, by reason.
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
    check_not_empty(corpus)
    self.batch_size = batch_size
    self._corpus = corpus
    self._text = text
    self._hop = corpus.rate // TOKENS_PER_SECOND
    self._row_tokens = tokens(row_seconds)
    self._tokens = corpus.num_samples // self._hop
    pieces = corpus.text_tokens.astype(int) - 1
    records, self.excluded = usable_records(
      corpus,
      {
        "no text": pieces < 1,
        "too long": self._tokens > self._row_tokens,
        "more text than tokens": pieces > self._tokens,
      },
      "config.data.row_seconds",
    )
    self._packing = PackedEpochs(
      make_mixture(corpus, records, seed, alpha),
      seed,
      self._row_tokens + GAP,
      self._row_tokens,
      self._items,
    )

  def _items(self, block: int, target: np.ndarray) -> Items:
    del block
    return Items(target=target, lengths=self._tokens[target] + GAP)

  def __len__(self) -> int:
    """Rows of an epoch."""
    return len(self._packing)

  def records(self, index: int) -> list[int]:
    """Numbers of the records in a row."""
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
      pieces = text_pieces(self._corpus, self._text, record, clip.text)
      count = len(clip.wave) // hop
      begin = end + GAP if k else 0
      end = begin + count
      wave[begin * hop : end * hop] = clip.wave[: count * hop]
      segment[begin:end] = k + 1
      text += [SEPARATOR] * (k > 0) + pieces.tolist()
      # CTC needs a blank between equal neighbours.
      fits &= len(pieces) + int((pieces[1:] == pieces[:-1]).sum()) <= count
    return make_row(
      audio_seconds=(segment > 0).sum() / TOKENS_PER_SECOND,
      padding=np.mean(segment == 0),
      wave=wave,
      segment=segment,
      text=pad_to(np.array(text, np.int32), size),
      text_length=np.int32(len(text) if fits else 0),
    )
