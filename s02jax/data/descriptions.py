"""Descriptions of voices: attributes in bins, and their words.

An attribute is a number from 1 on, or 0 where it is unknown. Descriptions are
written from attributes by templates with many wordings, in several languages,
so that people's own wordings find their like.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from s02jax.core import inputs, languages
from s02jax.core.errors import UserError

PITCHES = (100.0, 125.0, 155.0, 190.0, 230.0)  # Hz between the six bins
# Values of each attribute by name, of the number 1 on.
VALUES: dict[str, tuple[str, ...]] = {
  "gender": ("female", "male"),
  "pitch": ("1", "2", "3", "4", "5", "6"),
  "rate": ("slow", "medium", "fast"),
  "loudness": ("soft", "medium", "loud"),
  "language": tuple(languages.BY_CODE),
}
SIZES = tuple(len(values) + 1 for values in VALUES.values())
UNKNOWN = (0,) * len(VALUES)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wording:
  """Words of one language for attributes, several for each value."""

  person: tuple[tuple[str, ...], ...]  # unknown, female, male
  pitch: tuple[tuple[str, ...], ...]  # of the bins 1-2, 3-4 and 5-6
  rate: tuple[tuple[str, ...], ...]  # slow, medium, fast
  loudness: tuple[tuple[str, ...], ...]  # soft, medium, loud
  forms: tuple[str, ...]  # sentences with {person} and {traits}
  joint: str  # between traits


WORDINGS = {
  "en": Wording(
    person=(
      ("a person", "someone", "a speaker", "a voice"),
      ("a woman", "a female speaker", "a lady", "a female voice"),
      ("a man", "a male speaker", "a gentleman", "a male voice"),
    ),
    pitch=(
      ("low-pitched", "with a deep voice", "deep", "with a low voice"),
      ("of medium pitch", "neither high nor low", "with an average pitch"),
      ("high-pitched", "with a high voice", "with a bright, high pitch"),
    ),
    rate=(
      ("speaking slowly", "slow", "calm", "taking their time", "unhurried"),
      ("at a normal pace", "speaking at a moderate speed"),
      ("speaking fast", "quick", "hurried", "talking quickly"),
    ),
    loudness=(
      ("quiet", "soft", "speaking softly", "gentle"),
      ("of normal loudness", "neither loud nor quiet"),
      ("loud", "speaking loudly", "forceful"),
    ),
    forms=(
      "{person}, {traits}", "{traits}: {person}", "this is {person}, {traits}"
    ),
    joint=", ",
  ),
  "es": Wording(
    person=(
      ("una persona", "alguien", "una voz"),
      ("una mujer", "una locutora", "una voz femenina"),
      ("un hombre", "un locutor", "una voz masculina"),
    ),
    pitch=(
      ("de voz grave", "con tono bajo", "con voz profunda"),
      ("de tono medio", "con voz normal"),
      ("de voz aguda", "con tono alto"),
    ),
    rate=(
      ("que habla despacio", "con calma", "lentamente"),
      ("a ritmo normal", "a velocidad media"),
      ("que habla rápido", "con prisa", "deprisa"),
    ),
    loudness=(
      ("en voz baja", "suave"),
      ("a volumen normal",),
      ("en voz alta", "fuerte"),
    ),
    forms=("{person} {traits}", "{person}, {traits}"),
    joint=", ",
  ),
  "de": Wording(
    person=(
      ("eine Person", "jemand", "eine Stimme"),
      ("eine Frau", "eine Sprecherin", "eine weibliche Stimme"),
      ("ein Mann", "ein Sprecher", "eine männliche Stimme"),
    ),
    pitch=(
      ("mit tiefer Stimme", "tief"),
      ("in mittlerer Tonlage",),
      ("mit hoher Stimme", "hoch und hell"),
    ),
    rate=(
      ("langsam sprechend", "ruhig", "gemächlich"),
      ("in normalem Tempo",),
      ("schnell sprechend", "eilig"),
    ),
    loudness=(("leise", "sanft"), ("normal laut",), ("laut", "kräftig")),
    forms=("{person}, {traits}", "{traits}: {person}"),
    joint=", ",
  ),
  "fr": Wording(
    person=(
      ("une personne", "quelqu'un", "une voix"),
      ("une femme", "une voix féminine"),
      ("un homme", "une voix masculine"),
    ),
    pitch=(
      ("à la voix grave", "au ton bas"),
      ("de hauteur moyenne",),
      ("à la voix aiguë", "au ton haut"),
    ),
    rate=(
      ("qui parle lentement", "calme"),
      ("au débit normal",),
      ("qui parle vite", "pressée"),
    ),
    loudness=(
      ("à voix basse", "douce"), ("de volume normal",), ("à voix forte",)
    ),
    forms=("{person}, {traits}", "{person} {traits}"),
    joint=", ",
  ),
  "zh": Wording(
    person=(
      ("一个人", "一位说话人"),
      ("一位女士", "女声", "一个女人"),
      ("一位男士", "男声", "一个男人"),
    ),
    pitch=(("声音低沉", "音调低"), ("音调中等",), ("声音尖", "音调高")),
    rate=(("语速慢", "平静"), ("语速正常",), ("语速快", "说话急促")),
    loudness=(("声音轻柔", "小声"), ("音量正常",), ("声音响亮", "大声")),
    forms=("{person},{traits}", "{traits}的{person}"),
    joint=",",
  ),
}  # fmt: skip


def pitch_bin(hertz: float) -> int:
  """Bin 1 to 6 of a median pitch in Hz."""
  return 1 + int(np.searchsorted(PITCHES, hertz))


def write(
  tags: tuple[int, ...], random: np.random.Generator, kept: float
) -> str:
  """Describes a voice by a random template in a random language.

  Args:
    tags: attributes in the order of VALUES.
    random: of all choices.
    kept: share of the known attributes that the words mention; the others are
      masked, so that a description need not be complete.
  """
  known = dict(zip(VALUES, tags, strict=True))
  wording = WORDINGS[str(random.choice(list(WORDINGS)))]

  def pick(options: tuple[str, ...]) -> str:
    return str(random.choice(options))

  mentioned = {k for k, v in known.items() if v and random.random() < kept}
  gender = known["gender"] if "gender" in mentioned else 0
  traits = []
  for name in ("pitch", "rate", "loudness"):
    if name in mentioned:
      number = known[name] - 1
      options = getattr(wording, name)
      traits.append(pick(options[number // 2 if name == "pitch" else number]))
  random.shuffle(traits)
  person = pick(wording.person[gender])
  if not traits:
    return person
  form = pick(wording.forms)
  return form.format(person=person, traits=wording.joint.join(traits))


def parse_tags(text: str) -> tuple[int, ...]:
  """Attributes of a text such as gender=male,pitch=1; others are unknown.

  Raises:
    UserError: an attribute or a value that does not exist.
  """
  found: dict[str, int] = {}
  for item in filter(None, (part.strip() for part in text.split(","))):
    name, equals, value = (x.strip() for x in item.partition("="))
    if not equals:
      raise UserError(
        f"the tag {item[:40]!r} is none: write NAME=VALUE, such as gender=male."
      )
    inputs.check_names([name], VALUES, "an attribute of a voice")
    if name == "language":
      value = languages.resolve(value).code
    inputs.check_names([value], VALUES[name], f"a value of {name}")
    found[name] = VALUES[name].index(value) + 1
  return tuple(found.get(name, 0) for name in VALUES)


def name_tags(tags: Mapping[str, int]) -> dict[str, str]:
  """Known attributes with the names of their values."""
  return {k: VALUES[k][v - 1] for k, v in tags.items() if v}
