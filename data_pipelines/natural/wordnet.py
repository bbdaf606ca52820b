"""Sentences of WordNet: examples of use, and glosses.

Princeton's licence permits any use, with its notice. The files `data.noun`,
`data.verb`, `data.adj` and `data.adv` are those of the Debian package
`wordnet-base` and of WordNet 3.0 and 3.1 themselves. A gloss reads

  definition; another; "an example"; "another example"

What says of itself that it offends is left out.
"""

import hashlib
import pathlib
import re

from s02jax.core.errors import UserError

FOLDERS = (
  pathlib.Path("/usr/share/wordnet"),
  pathlib.Path("/usr/local/share/wordnet"),
)
_NAMES = ("data.noun", "data.verb", "data.adj", "data.adv")
_EXAMPLE = re.compile(r'"([^"]+)"')
_GOOD = re.compile(r"[A-Za-z0-9 ,.;:'?!%$-]+")
_SPOKEN = re.compile(r"[a-z]{2,} [a-z]+", re.IGNORECASE)
_BAD = re.compile(
  r"\b(offensive|slur|disparag\w+|vulgar|obscen\w+|derogat\w+|insult\w*|sex\w*"
  r"|fuck\w*|shit\w*|nigg\w+|whore\w*|rape\w*|genital\w*|penis|vagina\w*)\b",
  re.IGNORECASE,
)
# Marks of what is not read as it is written.
_ODD = re.compile(r"\b(e\.g|i\.e|etc|viz|cf|vs|[A-Z]{3,}|[a-zA-Z]\.[a-zA-Z])\b")


def find(folder: pathlib.Path | None) -> pathlib.Path:
  """Finds the folder with WordNet's files.

  Raises:
    UserError: it is nowhere.
  """
  for place in [folder] if folder else FOLDERS:
    if all((place / name).is_file() for name in _NAMES):
      return place
  where = folder or " or ".join(map(str, FOLDERS))
  raise UserError(
    f"WordNet's files ({', '.join(_NAMES)}) are not in {where}: install"
    " Debian's wordnet-base, or unpack it with dpkg-deb -x, and name the folder"
    " by --wordnet."
  )


def identity(folder: pathlib.Path) -> str:
  """SHA-256 of WordNet's files."""
  found = hashlib.sha256()
  for name in _NAMES:
    found.update((folder / name).read_bytes())
  return found.hexdigest()


def read(
  folder: pathlib.Path, fewest: int, most: int
) -> tuple[list[str], list[str]]:
  """Reads the examples and the glosses that can be read aloud.

  Args:
    folder: with WordNet's files.
    fewest: characters of a text.
    most: characters of a text.

  Returns:
    Distinct examples and distinct glosses, as sentences, in a fixed order.
  """
  examples: dict[str, None] = {}
  glosses: dict[str, None] = {}
  for name in _NAMES:
    for line in (folder / name).read_text("latin-1").splitlines():
      if line.startswith(" ") or " | " not in line:
        continue
      gloss = line.partition(" | ")[2].strip()
      if _BAD.search(line):
        continue
      for text in _EXAMPLE.findall(gloss):
        _add(examples, text, fewest, most)
      definition = gloss.partition('"')[0].strip(" ;:")
      definition = re.sub(r"\([^()]*\) ?", "", definition)
      _add(glosses, definition, fewest, most)
  return list(examples), [text for text in glosses if text not in examples]


def _add(found: dict[str, None], text: str, fewest: int, most: int) -> None:
  """Adds a text as a sentence, if it can be read aloud."""
  text = " ".join(text.replace(" -- ", ", ").replace("`", "'").split())
  text = text.strip(" ;:,-")
  if not fewest <= len(text) <= most or not _GOOD.fullmatch(text):
    return
  if not _SPOKEN.search(text) or _ODD.search(text):
    return
  sentence = text[0].upper() + text[1:]
  found[sentence if sentence[-1] in ".?!" else sentence + "."] = None
