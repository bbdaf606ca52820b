"""Digests of a corpus: whether two folders hold the same rows.

Hosts may have copies of a corpus of their own, and a run may be gone on with
after its corpus was built anew under the same name. What decides the rows is
digested whole: the card, the index, the text model. Of the large files that
hold sound, tokens and latents the name, the size and both ends count: an
ArrayRecord file ends with the places of its records.
"""

import hashlib
import os
import pathlib

# Part of a corpus -> patterns of files digested whole, and of those by size.
PARTS: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {
  "records": (("card.json", "index/*.npz"), ("speech/*/*",)),
  "text": (("text.model", "index/*.text_tokens.npy"), ()),
  "features": (
    ("features/card.json",),
    ("features/tokens-*_record*", "features/latents-*_record*"),
  ),
}
# Bytes at each end of a file that is not digested whole.
_END = 2**16


def corpus_digest(folder: str | os.PathLike, *parts: str) -> dict[str, str]:
  """Digests of parts of a corpus, 12 hexadecimal digits each.

  Args:
    folder: corpus folder.
    parts: names in PARTS.
  """
  return {part: _digest(pathlib.Path(folder), *PARTS[part]) for part in parts}


def _digest(
  folder: pathlib.Path, whole: tuple[str, ...], by_size: tuple[str, ...]
) -> str:
  digest = hashlib.sha256()
  for patterns, most in ((whole, None), (by_size, _END)):
    for path in sorted({p for x in patterns for p in folder.glob(x)}):
      size = path.stat().st_size
      name = path.relative_to(folder).as_posix()
      digest.update(f"{name} {size}\n".encode())
      _add(digest, path, size, most)
  return digest.hexdigest()[:12]


def _add(digest, path: pathlib.Path, size: int, most: int | None) -> None:
  """Adds the bytes of a file, or `most` of each end of it."""
  with path.open("rb") as file:
    if most is None or size <= 2 * most:
      while block := file.read(2**22):
        digest.update(block)
      return
    digest.update(file.read(most))
    file.seek(size - most)
    digest.update(file.read(most))
