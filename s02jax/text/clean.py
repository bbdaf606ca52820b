"""Clean-up of texts: the first step for corpora and for synthesis alike.

What cannot be seen goes, what looks alike becomes alike: a text that was copied
from a page, a PDF or a chat gives the bytes of the same text typed by hand.
"""

import re
import unicodedata

from s02jax.core.errors import UserError

# Sequences by which terminals colour a text.
_ESCAPES = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]")
_LINES = str.maketrans(
  {"\v": "\n", "\f": "\n", "\x85": "\n", "\u2028": "\n", "\u2029": "\n\n"}
)
# Spaces of other kinds; one that parts the thousands of a number is a group.
_SPACES = re.compile(
  r"(?P<group>(?<=[0-9])[\u00a0\u2007\u2009\u202f](?=[0-9]{3}(?![0-9])))"
  r"|[\x1c-\x1f\u00a0\u115f\u1160\u1680\u2000-\u200a\u202f\u205f\u3000\u3164"
  r"\uffa0]"
)
_GROUP = "\u202f"
# Controls, soft hyphen, byte order mark, variation selectors, zero-width and
# bidirectional characters, tags; all but the two joiners U+200C and U+200D.
_INVISIBLE = re.compile(
  r"[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f\u00ad\u034f\u061c\u17b4\u17b5"
  r"\u180b-\u180f\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f"
  r"\ufeff\ufff0-\ufffb\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
  r"\U000e0000-\U000e0fff]"
)
# Arabic and the scripts of India are spelt with joiners inside of words.
_JOINED = r"[\u0620-\u06ff\u0750-\u077f\u08a0-\u08ff\u0900-\u0dff]"
_JOINERS = re.compile(
  rf"(?P<kept>(?<={_JOINED})[\u200c\u200d](?=[\u200c\u200d]*{_JOINED}))"
  r"[\u200c\u200d]*|[\u200c\u200d]+"
)
# Ligatures, presentation forms, full-width letters, halfwidth katakana and
# letters of mathematics: other shapes of letters that have their own character.
_SHAPES = re.compile(
  r"[\ufb00-\ufb06\ufb50-\ufdfb\ufe70-\ufefc\uff21-\uff3a\uff41-\uff5a"
  r"\uff66-\uff9f\U0001d400-\U0001d7cb]+"
)
# Signs in a row that are a line across the page, not a text: a pass would be
# filled with what nobody says.
_FLOOD = re.compile(r"([^\w\s] ?|[^\w\s]{2,4}?)\1{100,}")
_HYPHENS = str.maketrans({"\u2010": "-", "\u2011": "-"})


def visible(text: str) -> str:
  """Writes a text in NFC without what cannot be seen, its lines as they are.

  Spaces of any width become plain ones, but for one that parts the thousands of
  a number; letters in other shapes, such as ligatures, become the letters.

  Args:
    text: of any length.

  Raises:
    UserError: half a surrogate pair.
  """
  if any("\ud800" <= character <= "\udfff" for character in text):
    raise UserError("the text holds an unpaired surrogate: write it in UTF-8.")
  if text.isascii() and text.isprintable():
    return text
  text = text.replace("\r\n", "\n").replace("\r", "\n").translate(_LINES)
  text = _INVISIBLE.sub("", _ESCAPES.sub("", text))
  text = _JOINERS.sub(lambda m: m["kept"] or "", text)
  text = _SPACES.sub(lambda m: _GROUP if m["group"] else " ", text)
  text = _SHAPES.sub(lambda m: unicodedata.normalize("NFKC", m[0]), text)
  return unicodedata.normalize("NFC", text.translate(_HYPHENS))


def clean(text: str) -> str:
  """Writes a text as `visible` does, one line break or space between words.

  A blank line becomes a line break, other white space a space; none is left at
  the ends. Of a sign that stands more than a hundred times in a row, three
  stay. A line that is clean stays as it is.

  Raises:
    UserError: half a surrogate pair.
  """
  paragraphs = re.split(r"\n[ \t]*\n", visible(text))
  lines = (" ".join(re.split(r"[ \t\n]+", p)).strip(" ") for p in paragraphs)
  lined = "\n".join(line for line in lines if line)
  return _FLOOD.sub(lambda match: 3 * match[1], lined)
