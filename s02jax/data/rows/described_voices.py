"""Rows of voices: coordinates, a description in words, and tags."""

import numpy as np

from s02jax.data import descriptions
from s02jax.data.mixture import generator
from s02jax.data.rows import NoRows, Row, make_row, pad_to
from s02jax.data.rows.draws import PLAN
from s02jax.data.voices import VoiceSpace, VoiceTable
from s02jax.text.tokenizer import TextModel


class DescribedVoices:
  """Rows of one voice each, described anew every time.

  {"codes" f32[k], "ids" i32[s] (text ids), "length" i32 (of them), "tags"
  i32[a]}; attributes are left out of the words and of the tags at random.

  Attributes:
    excluded: none; every voice is used.
  """

  def __init__(
    self,
    table: VoiceTable,
    space: VoiceSpace,
    text: TextModel,
    batch_size: int,
    seed: int,
    longest: int,
    mentioned: float,
    tagged: float,
  ):
    """Makes rows.

    Args:
      table: voices of a split.
      space: of the coordinates.
      text: text model of the bundle.
      batch_size: rows of a global batch.
      seed: of every draw.
      longest: text ids of a row, s; longer descriptions are cut.
      mentioned: share of the attributes that the words mention.
      tagged: share of the attributes that the tags tell.

    Raises:
      NoRows: there is no voice.
    """
    if not len(table.tags):
      raise NoRows("the split has no speaker with enough clips to measure.")
    self.batch_size, self.excluded = batch_size, {}
    self._codes, self._tags = space.codes(table), table.tags
    self._text, self._seed, self._longest = text, seed, longest
    self._mentioned, self._tagged = mentioned, tagged

  def __getitem__(self, index: int) -> Row:
    random = generator(self._seed, PLAN, index)
    voice = int(random.integers(len(self._tags)))
    tags = self._tags[voice]
    words = descriptions.write(tuple(tags.tolist()), random, self._mentioned)
    ids = np.array(self._text.pieces(words), np.int32)[: self._longest]
    told = np.where(random.random(len(tags)) < self._tagged, tags, 0)
    return make_row(
      audio_seconds=0.0,
      padding=1 - len(ids) / self._longest,
      codes=self._codes[voice],
      ids=pad_to(ids, self._longest),
      length=np.int32(len(ids)),
      tags=told.astype(np.int32),
    )
