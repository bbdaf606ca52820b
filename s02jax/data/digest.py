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
from collections.abc import Iterable, Iterator, Mapping

from s02jax.core import places

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
  return {part: _digest(places.at(folder), *PARTS[part]) for part in parts}


def _digest(
  folder: pathlib.Path, whole: tuple[str, ...], by_size: tuple[str, ...]
) -> str:
  digest = hashlib.sha256()
  for patterns, read in ((whole, _contents), (by_size, _ends)):
    sizes = _sizes(folder, patterns)
    for name, parts in zip(sizes, read(folder, sizes), strict=True):
      digest.update(f"{name} {sizes[name]}\n".encode())
      for part in parts:
        digest.update(part)
  return digest.hexdigest()[:12]


def _sizes(folder: pathlib.Path, patterns: tuple[str, ...]) -> dict[str, int]:
  """Bytes of the files that match any of the patterns, by name and in order."""
  store, found = places.stored(folder), {}
  if store is None:
    for path in (p for x in patterns for p in folder.glob(x)):
      found[path.relative_to(folder).as_posix()] = path.stat().st_size
  else:  # one request lists many objects
    for x in patterns:
      listed = store.fs.glob(f"{store.path}/{x}", detail=True)
      for path, info in listed.items():
        name = path.removeprefix(f"{store.path}/")
        found[name] = int(info["size"])
  parts = {name: pathlib.PurePosixPath(name) for name in found}
  return {name: found[name] for name in sorted(found, key=parts.__getitem__)}


def _contents(
  folder: pathlib.Path, names: Iterable[str]
) -> Iterator[Iterator[bytes]]:
  """Content of each file, block by block."""
  for name in names:
    with places.local(folder / name).open("rb") as file:
      yield iter(lambda: file.read(2**22), b"")  # noqa: B023


def _ends(
  folder: pathlib.Path, sizes: Mapping[str, int]
) -> Iterator[tuple[bytes, ...]]:
  """Both ends of each file, or all of it where they would meet."""
  spans = [
    (name, first, last)
    for name, size in sizes.items()
    for first, last in (
      [(0, size), (size, size)]
      if size <= 2 * _END
      else [(0, _END), (size - _END, size)]
    )
  ]
  read = iter(places.read_spans(folder, spans))
  return zip(read, read, strict=True)
