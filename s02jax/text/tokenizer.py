"""Text tokenizer: NFC, a language tag, and BPE with bytes to fall back on.

One vocabulary serves every language. It starts with the unknown symbol, the
control symbols and the 256 bytes; then come the pieces learnt from the text.
Any Unicode text comes back from its ids as its NFC form, spaces included.
Control symbols are never produced by text: a user who types "<en>" gets the
ids of four characters.
"""

import collections
import dataclasses
import functools
import hashlib
import importlib
import io
import logging
import os
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import sentencepiece

from s02jax.core import files, languages, places
from s02jax.core.errors import UserError

_SPEAKER = "<speaker>"
_START = "<start>"
# sentencepiece writes spaces as this character inside, so that the character
# itself would come back as a space. It is spelt in bytes instead.
_SPACE = "\u2581"
_RESERVED = "\u2581\u2585\u2047"  # space, boundary, unknown
_log = logging.getLogger(__name__)


def _tag(code: str) -> str:
  """Control symbol of a language."""
  return f"<{code}>"


def is_tag(piece: str) -> bool:
  """Returns whether a piece is the tag of a language."""
  return piece in {_tag(code) for code in languages.BY_CODE}


CONTROLS = (_SPEAKER, _START, *map(_tag, languages.BY_CODE))
# unknown, controls, bytes, and room for a few characters
SMALLEST_VOCABULARY = 1 + len(CONTROLS) + 256 + 4


@dataclasses.dataclass(frozen=True, kw_only=True)
class Piece:
  """Piece of a text, and its place there."""

  id: int  # of the vocabulary
  begin: int  # first character
  end: int  # last character + 1


class TextModel:
  """Text model: ids of a text and back. Safe to use from several threads.

  Attributes:
    size: number of ids.
    fingerprint: digest of the model, 16 hexadecimal digits.
    speaker_id, start_id: the control symbols of the AR sequence.
  """

  def __init__(self, model: bytes):
    self._model = model
    self._processor = sentencepiece.SentencePieceProcessor(model_proto=model)
    self.size: int = self._processor.get_piece_size()
    self.fingerprint = hashlib.sha256(model).hexdigest()[:16]
    self.speaker_id = self._processor.piece_to_id(_SPEAKER)
    self.start_id = self._processor.piece_to_id(_START)
    self._space_bytes = [
      self._processor.piece_to_id(f"<0x{byte:02X}>") for byte in _SPACE.encode()
    ]

  @classmethod
  def load(cls, path: str | os.PathLike) -> "TextModel":
    """Loads a model that `s02 text` trained.

    Raises:
      UserError: there is none at `path`, or it is of another kind.
    """
    try:
      model = cls(places.local(path).read_bytes())
    except FileNotFoundError as error:
      raise UserError(
        f"there is no text model at {path}: `s02 text` trains one"
      ) from error
    except RuntimeError as error:
      raise UserError(f"{path} is not a sentencepiece model") from error
    if not all(map(model._processor.piece_to_id, CONTROLS)):
      raise UserError(
        f"{path} lacks control symbols of this version: train it again with"
        " `s02 text`"
      )
    return model

  def __reduce__(self):
    return TextModel, (self._model,)

  def language_id(self, code: str) -> int:
    """Id of a language's tag, by code or alias.

    Raises:
      UserError: no such language, or one that this model was not taught.
    """
    language = languages.resolve(code)
    found = self._processor.piece_to_id(_tag(language.code))
    if not found:
      raise UserError(
        f"these models do not know {language.name}: `s02 adapt language`"
        " teaches it to them."
      )
    return found

  def pieces(self, text: str) -> list[int]:
    """Ids of the NFC of `text`, without a tag.

    Raises:
      UserError: half a surrogate pair, which is not text.
    """
    text = unicodedata.normalize("NFC", text)
    if any("\ud800" <= character <= "\udfff" for character in text):
      raise UserError(f"text {text!r} holds an unpaired surrogate")
    first, *rest = text.split(_SPACE)
    ids = self._processor.encode(first)
    for part in rest:
      ids += self._space_bytes + self._processor.encode(part)
    return ids

  def spans(self, text: str) -> list[Piece]:
    """Pieces of `text` with the characters of its NFC that they stand for.

    A piece that is a byte of a character stands for that character.
    """
    data = unicodedata.normalize("NFC", text).encode()
    # Number of the character that each byte belongs to, and one behind.
    character = np.cumsum([byte & 0xC0 != 0x80 for byte in data] + [1]) - 1
    found, at = [], 0
    for index in self.pieces(text):
      name = self._processor.id_to_piece(index)
      is_byte = self._processor.is_byte(index)
      size = 1 if is_byte else len(name.replace(_SPACE, " ").encode())
      first, last = character[at], character[at + size - 1]
      found.append(Piece(id=index, begin=int(first), end=int(last) + 1))
      at += size
    return found

  def contents(self) -> list[bytes | None]:
    """Bytes that each id stands for; None for control symbols."""
    processor = self._processor

    def content(index: int) -> bytes | None:
      name = processor.id_to_piece(index)
      if processor.is_byte(index):
        return bytes([int(name[1:-1], 16)])
      if processor.is_control(index) or processor.is_unknown(index):
        return None
      return name.replace(_SPACE, " ").encode()

    return [content(index) for index in range(self.size)]

  def tags(self) -> list[int]:
    """Ids of the tags of all languages that this model knows."""
    found = (self._processor.piece_to_id(_tag(c)) for c in languages.BY_CODE)
    return [index for index in found if index]

  def encode(self, text: str, language: str) -> list[int]:
    """Ids of the language's tag and of the pieces of `text`."""
    return [self.language_id(language), *self.pieces(text)]

  def unknown(self, text: str) -> list[str]:
    """Characters of the NFC of `text` that have no piece, each once.

    The corpus had none of them, or too few: they are spelt in bytes, which say
    nothing about their sound. Spaces are never among them.
    """
    found = dict.fromkeys(unicodedata.normalize("NFC", text))
    return [
      c
      for c in found
      if c == _SPACE or not c.isspace() and self._processor.piece_to_id(c) == 0
    ]

  @functools.cached_property
  def is_in_capitals(self) -> bool:
    """Whether most of the words and their parts were learnt in capitals."""
    pieces = map(self._processor.id_to_piece, range(self.size))
    words = [p for p in pieces if len(p) > 1 and p[0] != "<"]
    capital = sum(word.isupper() for word in words)
    return capital > sum(word.islower() for word in words)

  def decode(self, ids: Iterable[int]) -> str:
    """Text of any ids in [0, size); control symbols are dropped.

    Bytes that are not UTF-8 become U+FFFD.
    """
    silent = self._processor.is_unknown, self._processor.is_control
    spoken = map(int, ids)
    return self._processor.decode(
      [index for index in spoken if not any(test(index) for test in silent)]
    )


def train_text_model(
  texts: Iterable[str], vocab_size: int, out: str | os.PathLike
) -> TextModel:
  """Trains a model on `texts` and writes it to `out`.

  If the texts cannot fill `vocab_size` ids the model is smaller, and a line
  in the log says so. Characters too rare for the size are spelt in bytes.

  Raises:
    UserError: there is no text, the size is too small for any model, or the
      file cannot be written.
  """
  model = train_model(texts, vocab_size)
  with files.explain_errors(out, "the text model"):
    files.write_bytes(out, model)
  return TextModel(model)


def train_model(texts: Iterable[str], vocab_size: int) -> bytes:
  """Trains a model as `train_text_model` does; returns it serialised."""
  if vocab_size < SMALLEST_VOCABULARY:
    raise UserError(
      f"--vocab_size {vocab_size} is too small: {SMALLEST_VOCABULARY} is the"
      " least, for the language tags and the bytes"
    )
  lines = [unicodedata.normalize("NFC", text) for text in texts]
  fragments = list(_without_rare(lines, vocab_size))
  if not any(map(str.strip, fragments)):
    raise UserError("there is no text to train a text model on")
  model = _train(fragments, vocab_size)
  size = sentencepiece.SentencePieceProcessor(
    model_proto=model
  ).get_piece_size()
  if size < vocab_size:
    _log.warning(
      "The text fills only %d of the %d ids asked for; using %d.",
      size,
      vocab_size,
      size,
    )
  return model


def _train(fragments: Iterable[str], vocab_size: int) -> bytes:
  """Trains a model of at most some ids, serialised."""
  model = io.BytesIO()
  sentencepiece.SentencePieceTrainer.train(
    sentence_iterator=iter(fragments),
    model_writer=model,
    model_type="bpe",
    vocab_size=vocab_size,
    hard_vocab_limit=False,
    byte_fallback=True,
    character_coverage=1.0,
    control_symbols=list(CONTROLS),
    unk_id=0,
    bos_id=-1,
    eos_id=-1,
    pad_id=-1,
    normalization_rule_name="identity",
    add_dummy_prefix=False,
    remove_extra_whitespaces=False,
    split_digits=True,
    max_sentence_length=2**20,
    num_threads=1,
    minloglevel=2,
  )
  return model.getvalue()


def _without_rare(lines: Sequence[str], vocab_size: int) -> Iterator[str]:
  """Cuts lines at characters too rare for an id of their own.

  At most half of the learnt ids go to single characters, most frequent first;
  the others, and those that sentencepiece reserves, are left to the bytes.
  """
  counts = collections.Counter()
  for line in lines:
    counts.update(line)
  rare = dict.fromkeys(map(ord, counts), "\n")
  for character in list(counts):
    if character in _RESERVED or unicodedata.category(character)[0] == "C":
      del counts[character]
  room = (vocab_size - 1 - len(CONTROLS) - 256) // 2
  frequent = sorted(counts, key=lambda key: (-counts[key], key))[:room]
  for key in frequent:
    del rare[ord(key)]
  for line in lines:
    yield from filter(None, line.translate(rare).split("\n"))


def model_of_tokens(tokens: Sequence[bytes]) -> bytes:
  """Text model of the tokens of a byte-level BPE, serialised.

  Texts are cut into the same pieces as by the BPE, but where the BPE cuts a
  text before it merges, or merges parts of a character.

  Args:
    tokens: in the order in which they are merged; those that are no text, and
      the 256 bytes, are left out.
  """
  protobuf: Any = importlib.import_module(
    "sentencepiece.sentencepiece_model_pb2"
  )
  model = protobuf.ModelProto()
  model.ParseFromString(_train(["a"], SMALLEST_VOCABULARY))
  kept = [p for p in model.pieces if p.type != p.NORMAL]
  known = {piece.piece for piece in kept}
  del model.pieces[:]
  model.pieces.extend(kept)
  for rank, token in enumerate(tokens):
    text = _text_of(token)
    if text and text not in known:
      known.add(text)
      model.pieces.add(piece=text, score=-float(rank))
  model.trainer_spec.vocab_size = len(model.pieces)
  return model.SerializeToString()


def _text_of(token: bytes) -> str:
  """Piece that a token of bytes is; "" where it can be none."""
  try:
    text = token.decode()
  except UnicodeDecodeError:
    return ""
  control = any(unicodedata.category(c)[0] == "C" for c in text)
  if control or any(c in _RESERVED for c in text):
    return ""
  return text.replace(" ", _SPACE)


def grow_model(
  model: bytes, texts: Iterable[str], most: int, codes: Iterable[str] = ()
) -> tuple[bytes, list[str]]:
  """Adds tags and pieces of new languages behind those of a text model.

  A text model of the texts alone gives the pieces, in its order. Their scores
  are below all old ones, so that old texts are cut almost as before.

  Args:
    model: serialised.
    texts: in the new language.
    most: pieces that are added, tags apart.
    codes: of languages whose tags are added where they are missing.

  Returns:
    The grown model, serialised, and what was added, in the order of its ids,
    tags first.
  """
  # Exports have this module without the package that writes models.
  protobuf: Any = importlib.import_module(
    "sentencepiece.sentencepiece_model_pb2"
  )
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
  tags = [tag for tag in map(_tag, codes) if tag not in known]
  for tag in tags:
    old.pieces.add(piece=tag, score=0.0, type=old.SentencePiece.CONTROL)
  added = fresh[:most]
  for number, text in enumerate(added, start=1):
    old.pieces.add(piece=text, score=lowest - number)
  old.trainer_spec.vocab_size = len(old.pieces)
  return old.SerializeToString(), tags + added
