"""Front end: from what people write to the words that the models speak.

  marks ─► clean ─► language ─► sounds ─► capitals ─► pronunciation ─► words
  ─► known letters ─► check

Corpora take the steps of `words`, synthesis all of `read`.
"""

import dataclasses
import unicodedata
from collections.abc import Sequence

from s02jax.core import languages
from s02jax.text import language_id, phonetic
from s02jax.text.capitals import fold
from s02jax.text.checks import check_text
from s02jax.text.chunks import Speech, parse
from s02jax.text.clean import clean
from s02jax.text.markup import reader
from s02jax.text.pronunciation import Pronunciation
from s02jax.text.spoken import Token, spoken, tokens
from s02jax.text.tokenizer import TextModel

# What `words` does to capitals, as the cards of corpora and bundles record it.
RULES = {"capitals": "folded"}
MOST_NAMED = 20  # things that a warning lists


@dataclasses.dataclass(frozen=True, kw_only=True)
class Audience:
  """Models that a text is written for, as far as the front end knows them."""

  # Codes of their languages; where nothing tells two apart, the first is taken.
  languages: tuple[str, ...] = tuple(languages.BY_CODE)
  folds: bool = True  # they know words in small letters
  model: TextModel | None = None  # names the characters that they never saw
  # Codes of the languages whose sounds they read, see `text.phonetic`.
  sounds: tuple[str, ...] = phonetic.LANGUAGES


ANYBODY = Audience()


@dataclasses.dataclass(frozen=True, kw_only=True)
class Reading:
  """Text in spoken words, and how it came about."""

  text: str  # checked, with pauses such as <#1.5#>
  language: str  # code
  speed: float  # that the text asks for itself
  warnings: tuple[str, ...]  # sentences that name what is not spoken
  # Steps that changed the text, by name, and the text after them.
  steps: tuple[tuple[str, str], ...]
  tokens: tuple[Token, ...]  # what became words in the last step


def words(
  text: str,
  language: str,
  *,
  folds: bool = True,
  sounds: Sequence[str] = phonetic.LANGUAGES,
) -> str:
  """Writes a text without marks in the words that a speaker says.

  The steps are those that corpora and synthesis share: clean-up, sounds,
  capitals, numbers and signs.

  Args:
    text: of any length.
    language: code or alias.
    folds: whether capitals are folded.
    sounds: codes of the languages whose sounds are kept.

  Raises:
    UserError: unknown language, or half a surrogate pair.
  """
  text, _ = _sounds(clean(text), language, sounds)
  text, held = phonetic.hold(text, language)
  text = spoken(fold(text, language) if folds else text, language)
  return phonetic.put_back(clean(text), held)


def read(
  text: str,
  language: str | None,
  *,
  audience: Audience = ANYBODY,
  pronunciation: Pronunciation | None = None,
  markup: str = "none",
) -> Reading:
  """Writes a text in the words to be spoken, and checks it.

  Args:
    text: of any length, with pauses such as <#1.5#>.
    language: code or alias; None takes the one that an SSML text names, or
      detects it among those of the audience.
    audience: models that are to speak it.
    pronunciation: respells words.
    markup: kind of the marks in the text, one of `markup.reader.KINDS`.

  Raises:
    UserError: malformed marks, no letter of the language's script, an unknown
      language, or one that cannot be told.
  """
  document = reader.read(text, markup)
  written, plain, steps = clean(text), clean(document.text()), []
  if written != text.strip():
    steps.append(("clean", written))
  if plain != written:
    steps.append(("marks", plain))
  language = language or document.language
  if language is None:
    said = phonetic.any_plain(" ".join(_said(plain)))
    code = language_id.detect(said, audience.languages)
  else:
    code = languages.resolve(language).code
  current = clean(document.text(code))
  made, found, unread = _made(current, code, audience, pronunciation)
  for name, after in {"say-as": current, **made}.items():
    if after != plain:
      steps.append((name, after))
    plain = after
  check_text("".join(_said(plain)), code)
  return Reading(
    text=plain,
    language=code,
    speed=document.speed,
    warnings=tuple(
      _warnings([*document.dropped, *unread], found, plain, audience)
    ),
    steps=tuple(steps),
    tokens=found,
  )


def _made(
  text: str,
  code: str,
  audience: Audience,
  pronunciation: Pronunciation | None,
) -> tuple[dict[str, str], tuple[Token, ...], list[str]]:
  """Takes a text without marks through the steps from its sounds on.

  Returns:
    the text after each step, by name; what became words; what was left out.
  """
  made = {}
  made["sounds"], unread = _sounds(text, code, audience.sounds)
  current, held = phonetic.hold(made["sounds"], code)
  if audience.folds:
    current = fold(current, code)
    made["capitals"] = phonetic.put_back(current, held)
  if pronunciation is not None:
    current = clean(pronunciation.respell(current, code))
    current = phonetic.put_back(current, held)
    made["pronunciation"], _ = _sounds(current, code, audience.sounds)
    current, held = phonetic.hold(made["pronunciation"], code)
  found = tuple(tokens(current, code))
  current = clean(spoken(current, code))
  made["words"] = phonetic.put_back(current, held)
  if audience.model is not None:
    current = _lowered(current, audience.model)
    made["known letters"] = phonetic.put_back(current, held)
  return made, found, unread


def _sounds(
  text: str, language: str, known: Sequence[str]
) -> tuple[str, list[str]]:
  """Text with words by their sounds; the words alone where nobody reads these.

  Returns:
    the text, and what was left out of it.
  """
  if languages.resolve(language).code in known:
    return phonetic.written(text, language), []
  return phonetic.plain(text, language)


def _lowered(text: str, model: TextModel) -> str:
  """Text whose capitals are small where the model knows only the small ones."""
  unknown = model.unknown(text)
  small = {c: c.lower() for c in unknown if c.lower() != c}
  strange = set(model.unknown("".join(small.values())))
  known = {c: s for c, s in small.items() if not strange & set(s)}
  return text.translate(str.maketrans(known))


def _said(text: str) -> list[str]:
  """Stretches of speech between the pauses of a text."""
  return [part.text for part in parse(text) if isinstance(part, Speech)]


def _warnings(dropped, found: tuple[Token, ...], text: str, audience: Audience):
  """Sentences about what is not spoken, one for each kind."""
  if dropped:
    yield f"marks without effect: {_named(dropped)}"
  pictures = dict.fromkeys(
    c
    for token in found
    if token.kind == "dropped"
    for c in token.written
    if unicodedata.category(c)[0] == "S"
  )
  if pictures:
    yield f"not spoken, for they are pictures: {_named(pictures)}"
  if audience.model is not None:
    unknown = audience.model.unknown("".join(_said(text)))
    if unknown:
      yield (
        "the models never met these characters, and will hardly speak them:"
        f" {_named(unknown)}"
      )


def _named(things) -> str:
  """Things in a row, the first ones only where they are many."""
  things = list(things)
  more = len(things) - MOST_NAMED
  return " ".join(things[:MOST_NAMED]) + (f" and {more} more" * (more > 0))
