"""Tags in any text: a few act, the others are left out, their contents stay.

<break time="500ms"/> is a pause; <br>, <p> and other blocks part paragraphs;
<emotion name="sad" strength="0.6">…</emotion> is spoken so. An
opening bracket that begins no tag, such as a < b, stays. Entities (&amp;amp;)
become their characters.
"""

import html
import re

from s02jax.core.errors import UserError
from s02jax.text.markup.document import PARAGRAPH, Document, pause

_ATTRIBUTE = r"\s+[\w:.-]+\s*=\s*(?:\"[^\"<]*\"|'[^'<]*'|[^\s\"'<>=`]+)"
TAG = re.compile(
  rf"<(?P<end>/?)(?P<name>[A-Za-z][\w:.-]*)(?P<attributes>(?:{_ATTRIBUTE})*)"
  r"\s*/?>|<!--(?s:(?:(?!<!--).)*?)-->"
)
_PAIR = re.compile(r"([\w:.-]+)\s*=\s*(?:\"([^\"]*)\"|'([^']*)'|(\S+))")
_ENTITY = re.compile(
  r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z]\w{1,31});"
)
_BLOCKS = {
  "article", "blockquote", "br", "dd", "div", "dt", "h1", "h2", "h3", "h4",
  "h5", "h6", "hr", "li", "ol", "p", "section", "table", "td", "th", "tr", "ul",
}  # fmt: skip
# Seconds of SSML's breaks without a time.
STRENGTHS = {
  "none": 0.0,
  "x-weak": 0.1,
  "weak": 0.25,
  "medium": 0.5,
  "strong": 1.0,
  "x-strong": 1.5,
}


def read(text: str) -> Document:
  """Reads a text in which tags may stand.

  Raises:
    UserError: a <break> whose time is none, an <emotion> without a name.
  """
  dropped: dict[str, None] = {}
  made = TAG.sub(lambda match: _effect(match, dropped), text)
  return Document(pieces=(unescape(made),), dropped=tuple(dropped))


def _effect(match: re.Match[str], dropped: dict[str, None]) -> str:
  """Text that stands in place of a tag; notes one without effect."""
  name = (match["name"] or "").lower()
  if name == "break":
    return seconds_mark(attributes(match["attributes"]))
  if name == "emotion":
    if match["end"]:
      return emotion_mark(None)
    return emotion_mark({"name": ""} | attributes(match["attributes"]))
  if name in _BLOCKS:
    return PARAGRAPH
  if not name:
    dropped["<!--…-->"] = None
  elif not match["end"]:
    dropped[f"<{name}>"] = None
  elif f"<{name}>" not in dropped:
    dropped[f"</{name}>"] = None
  return ""


def attributes(written: str) -> dict[str, str]:
  """Attributes of a tag by their names in small letters."""
  return {
    m[1].lower(): html.unescape(m[2] or m[3] or m[4] or "")
    for m in _PAIR.finditer(written)
  }


def seconds_mark(found: dict[str, str]) -> str:
  """Pause of a <break> with these attributes.

  Raises:
    UserError: its time or its strength is none.
  """
  time, strength = found.get("time"), found.get("strength", "medium")
  if time is None:
    if strength not in STRENGTHS:
      raise UserError(
        f"<break strength={strength[:20]!r}>: the strengths are"
        f" {', '.join(STRENGTHS)}."
      )
    return pause(STRENGTHS[strength])
  match = re.fullmatch(
    r"\+?([0-9]{0,6}(?:\.[0-9]{1,6})?)\s*(ms|s)", time.strip().lower()
  )
  if match is None or not match[1]:
    raise UserError(
      f"<break time={time[:20]!r}>: write seconds, such as 1.5s or 500ms."
    )
  return pause(float(match[1]) / (1000 if match[2] == "ms" else 1))


def emotion_mark(found: dict[str, str] | None) -> str:
  """Mark that begins the emotion of an <emotion> with these attributes.

  Args:
    found: its attributes; None at the element's end.

  Raises:
    UserError: it names no emotion, or its strength is none.
  """
  if found is None:
    return " <#emotion#> "
  name, strength = found.get("name", ""), found.get("strength")
  if not re.fullmatch(r"[\w:.,-]{1,48}", name):
    raise UserError(
      f"<emotion name={name[:20]!r}>: write the name of an emotion, such as"
      ' <emotion name="sad" strength="0.6">.'
    )
  if strength is None:
    return f" <#emotion {name}#> "
  if not re.fullmatch(r"[0-9]{1,2}(\.[0-9]{1,4})?", strength):
    raise UserError(
      f"<emotion strength={strength[:20]!r}>: write a number such as 0.6."
    )
  return f" <#emotion {name}:{strength}#> "


def unescape(text: str) -> str:
  """Text with its entities as characters; only those that end in ;."""
  return _ENTITY.sub(lambda match: html.unescape(match[0]), text)
