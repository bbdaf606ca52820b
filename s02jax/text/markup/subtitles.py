"""Subtitles as SubRip writes them (.srt): the texts of the cues, joined.

12
00:01:02,500 --> 00:01:04,000
<i>Who is there?</i>
"""

import dataclasses
import re

from s02jax.core.errors import UserError
from s02jax.text.markup import tags
from s02jax.text.markup.document import Document

_TIME = r"(?:\d{1,3}:)?\d{1,2}:\d{1,2}(?:[,.:]\d{1,3})?"
_TIMES = re.compile(rf"^[ \t]*{_TIME}[ \t]*-->[ \t]*{_TIME}.*$", re.M)
_INDEX = re.compile(r"(?:\A|\n[ \t]*\n)\s*\d+[ \t]*\n?\Z")
# What players take for a style: {\an8}, <i>, <font color="#ffffff">.
_STYLE = re.compile(r"\{\\[^{}\n]*\}|</?(?:[bisu]|font)(?:\s[^<>]*)?>", re.I)
_SPEAKER = re.compile(r"^[ \t]*[-–—][ \t]*", re.M)


def read(text: str) -> Document:
  """Reads the cues of a file: no numbers, no times, no styles.

  Raises:
    UserError: there is no cue.
  """
  times = list(_TIMES.finditer(text))
  if not times:
    raise UserError(
      "the subtitles have no cue: write lines such as 00:01:02,500 -->"
      " 00:01:04,000 above each text."
    )
  head = _INDEX.sub("", text[: times[0].start()]).strip()
  ends = [*(match.start() for match in times[1:]), len(text)]
  cues = []
  for i, (match, end) in enumerate(zip(times, ends, strict=True)):
    cue = text[match.end() : end]
    if i + 1 < len(times):
      cue = _INDEX.sub("", cue.rstrip(" \t"))
    cues.append(_SPEAKER.sub("", _STYLE.sub("", cue)).strip())
  # One line break: a sentence may go on in the next cue.
  found = tags.read("\n".join(re.sub(r"\s*\n\s*", "\n", c) for c in cues))
  head = " ".join(head.split())
  dropped = (*([head] if head else []), *found.dropped)
  return dataclasses.replace(found, dropped=dropped)
