"""Settings of `s02 corpus build`: which steps run, by which networks.

A file of `configs/corpora/` holds those that differ from the defaults here.
"""

import dataclasses
import importlib.util
import pathlib
from collections.abc import Mapping
from typing import Any

from s02jax.core import config as configs
from s02jax.core import inputs, languages
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.pretrained import dnsmos, ge2e, silero

# Steps that a config may leave out, in the order in which they run. What cuts,
# hears and writes cannot be left out, but for hearing where texts are given.
STEPS = (
  "pauses",
  "language",
  "agreement",
  "punctuation",
  "one_speaker",
  "quality",
  "attributes",
  "duplicates",
)
ANY = "*"  # language of the rules for all languages without one of their own


@dataclasses.dataclass(frozen=True, kw_only=True)
class Heard:
  """Recognisers of a language, and how far they may disagree."""

  first: str  # spec; its text is taken where none is given
  second: str = ""  # spec; empty: recordings without a transcript are refused
  disagreement: float = 0.25  # largest character error rate between the two


@dataclasses.dataclass(frozen=True, kw_only=True)
class Settings:
  """Everything that a corpus of recordings is a function of, but the source."""

  rate: int = 16_000  # of the corpus, Hz
  without: tuple[str, ...] = ()  # names of STEPS that are left out
  language: str = ""  # of recordings without one; empty: it is listened for
  min_seconds: float = 1.0  # shortest clip
  max_seconds: float = 30.0  # longest clip
  pause: float = 0.4  # seconds without speech at which a recording is cut
  # Rules by code of the language, "*" for all the others.
  heard: dict[str, Any] = dataclasses.field(
    default_factory=lambda: {
      ANY: {"first": "faster-whisper:base"},
      "en": {
        "first": "faster-whisper:base",
        "second": "faster-whisper:tiny.en",
      },
    }
  )
  same_voice: float = 0.62  # least cosine of a clip with its recording's voice
  one_voice: float = 0.6  # least share of a recording by its main voice
  same_person: float = 0.8  # least cosine of two recordings of one person
  least_quality: float = 1.8  # DNSMOS, overall
  least_bandwidth: float = 3_000.0  # Hz
  most_music: float = 0.5  # share of the background's frames that are tones
  duplicate: float = 0.08  # least overlap of the fingerprints of duplicates
  unseen_speakers: float = 0.1  # share of the speakers who are never in train
  held_out_texts: float = 0.05  # share of the texts, for the seen split
  seed: int = 0  # of the choice of splits
  shard_megabytes: int = 64  # of recordings, of which a shard is made
  chunk_megabytes: int = 32  # of recordings that are heard together

  def __post_init__(self):
    if self.rate <= 0 or self.rate % TOKENS_PER_SECOND:
      raise UserError(
        f"config.rate {self.rate} is not a multiple of {TOKENS_PER_SECOND}, the"
        " tokens per second; use 16000, 22050, 24000 or 44100"
      )
    inputs.check_names(self.without, STEPS, "a step that can be left out")
    if not 0 < self.min_seconds < self.max_seconds:
      raise UserError(
        "config.min_seconds must be above 0 and below max_seconds"
      )
    if self.pause <= 0:
      raise UserError("config.pause must be above 0")
    for name in ("unseen_speakers", "held_out_texts"):
      if not 0 <= getattr(self, name) < 1:
        raise UserError(f"config.{name} is not a share from 0 up to 1")
    if self.shard_megabytes < 1 or self.chunk_megabytes < 1:
      raise UserError(
        "config.shard_megabytes and chunk_megabytes are at least 1"
      )
    if self.language:
      languages.resolve(self.language)
    for code in self.heard:
      if code != ANY and languages.resolve(code).code != code:
        raise UserError(f"config.heard names {code!r}; use the language's code")
      self.rules(code)

  def runs(self, step: str) -> bool:
    """True where a step of STEPS is not left out."""
    return step not in self.without

  def rules(self, code: str) -> Heard:
    """Recognisers and threshold of a language."""
    found = self.heard.get(code, self.heard.get(ANY))
    if found is None:
      raise UserError(
        f"config.heard names no recogniser for {code!r}, and none for {ANY!r}"
      )
    return configs.build(Heard, found, f"config.heard.{code}")

  def check_installed(self) -> None:
    """Raises UserError where the weights of a step are not installed."""
    needed = {
      "pauses": (silero.is_installed(), "pip install --no-deps silero-vad"),
      "one_speaker": (
        ge2e.is_installed(),
        "pip install --no-deps resemblyzer; pip install threadpoolctl",
      ),
      "quality": (dnsmos.installed(), "pip install 's02jax[judges]'"),
    }
    for step, (here, remedy) in needed.items():
      if self.runs(step) and not here:
        raise UserError(
          f"the step {step!r} needs weights that are not installed: {remedy};"
          f" or leave it out: --config.without={step}"
        )


def read(path: str, fields: Mapping[str, Any]) -> Settings:
  """Reads a file of `configs/corpora/` and sets fields of it.

  Args:
    path: Python file with `get_config()`; empty for the defaults.
    fields: values by name, as strings, which replace those of the file.

  Raises:
    UserError: no such file, or a field that is unknown or of another type.
  """
  values: dict[str, Any] = {}
  if path:
    file = pathlib.Path(path)
    spec = importlib.util.spec_from_file_location("corpus_config", file)
    if spec is None or spec.loader is None or not file.is_file():
      raise UserError(f"--config {path}: there is no such Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    values = configs.plain(module.get_config())
  for name, text in fields.items():
    values[name] = _parse(name, text)
  return configs.build(Settings, values, "config")


def _parse(name: str, text: str) -> Any:
  """Value of a field from the command line."""
  known = {field.name: field.type for field in dataclasses.fields(Settings)}
  inputs.check_names([name], known, "a field of config")
  kind = known[name]
  try:
    if kind in (int, float):
      return kind(text)
  except ValueError:
    raise UserError(
      f"--config.{name}={text} is not a {'whole ' * (kind is int)}number"
    ) from None
  if kind is str:
    return text
  if name == "heard":
    raise UserError("config.heard is set in a file: --config FILE.py")
  return [part for part in text.split(",") if part]
