"""Growth of a text model: pieces for a new language, no id of an old one moves.

Shape letters: v ids of the text model, a audio tokens, d width, n new pieces.
"""

import re
from collections.abc import Iterable, Sequence

import numpy as np
from sentencepiece import sentencepiece_model_pb2 as protobuf

from s02jax.text.tokenizer import SMALLEST_VOCABULARY, TextModel, train_model

_BYTE = re.compile(r"<0x[0-9A-F]{2}>")


def grow(
  model: bytes, texts: Iterable[str], most: int
) -> tuple[bytes, list[str]]:
  """Adds the pieces of new texts behind those of a text model.

  A text model of the texts alone gives the pieces, in its order. Their scores
  are below all old ones, so that old texts are cut almost as before.

  Args:
    model: serialised.
    texts: in the new language.
    most: pieces that are added.

  Returns:
    The grown model, serialised, and the pieces added, in the order of their
    ids.
  """
  old, new = protobuf.ModelProto(), protobuf.ModelProto()
  old.ParseFromString(model)
  room = SMALLEST_VOCABULARY + 2 * max(most, 1)
  new.ParseFromString(train_model(texts, room))
  known = {piece.piece for piece in old.pieces}
  lowest = min(piece.score for piece in old.pieces)
  # Letters stand last in a model, and merges are made of them.
  learnt = [p.piece for p in new.pieces if p.type == p.NORMAL]
  fresh = [piece for piece in learnt if piece not in known]
  fresh.sort(key=len)
  added = [piece for piece in fresh if not _BYTE.fullmatch(piece)][:most]
  for number, text in enumerate(added, start=1):
    piece = old.pieces.add()
    piece.piece, piece.score = text, lowest - number
  old.trainer_spec.vocab_size = len(old.pieces)
  return old.SerializeToString(), added


def grow_embedding(
  table: np.ndarray, model: TextModel, added: Sequence[str]
) -> np.ndarray:
  """Joint embeddings f32[v + n + a, d] with rows for new text pieces.

  A new row is the mean of the rows that spelt the piece before.

  Args:
    table: f32[v + a, d], text ids first.
    model: before it has grown, of v ids.
    added: texts of the new pieces.
  """
  rows = [table[model.pieces(text)].mean(axis=0) for text in added]
  fresh = np.array(rows, np.float32).reshape(-1, table.shape[1])
  return np.concatenate([table[: model.size], fresh, table[model.size :]])
