"""Programs that listen: recognisers, judges of voices and of quality.

A judge is asked for by a spec, `kind` or `kind:weights`, so that a report can
name exactly what was used:

| spec                                    | needs                            |
| --------------------------------------- | -------------------------------- |
| `faster-whisper:large-v3`               | faster-whisper                   |
| `transformers:openai/whisper-large-v3`  | torch, transformers              |
| `funasr:paraformer-zh`                  | torch, torchaudio, funasr        |
| `funasr:iic/SenseVoiceSmall`            | the same                         |
| `pocketsphinx`                          | nothing more; English only       |
| `dtw`                                   | nothing more; a closed set       |
| `wavlm:<wavlm_large_finetune.pth>`      | the file of UniSpeech            |
| `ge2e`                                  | resemblyzer                      |
| `dnsmos`                                | onnxruntime, speechmos           |

Weights are a folder, or a name that is already in the library's cache: nothing
is downloaded in the middle of an evaluation (FunASR alone looks for its hub).
No judge stands in for another: where a package or its weights are missing, one
sentence says what to install or fetch.
"""

import pathlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import dtw, ge2e, pocketsphinx, signal
from s02jax.pretrained.audio import SHORTEST, each_clip, read_wave
from s02jax.pretrained.dnsmos import DnsMos
from s02jax.pretrained.funasr import FunAsr
from s02jax.pretrained.whisper import FasterWhisper, TransformersWhisper

RECOGNISER = "faster-whisper:large-v3"
RECOGNISERS: dict[str, str] = {"zh": "funasr:paraformer-zh"}  # all others: it
SPEAKER_JUDGE = "wavlm"
QUALITY_JUDGE = "dnsmos"
_CHUNK = 16  # texts of a closed set at a time


class Recogniser(Protocol):
  """Writes down what is said."""

  spec: str

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    """One text for each file, of speech in the language of this code."""
    ...


class SpeakerJudge(Protocol):
  """Says whose voice it is."""

  spec: str

  def embed(self, paths: Sequence[pathlib.Path]) -> np.ndarray:
    """float32[n, e], to be compared by cosine; zero where nobody speaks."""
    ...


class QualityJudge(Protocol):
  """Says how good it sounds."""

  spec: str

  def score(self, paths: Sequence[pathlib.Path]) -> dict[str, np.ndarray]:
    """float32[n] by measure; NaN where there is nothing to hear."""
    ...


# ------------------------------------------------------------------- choice


def recognisers(
  codes: Iterable[str],
  overrides: Mapping[str, str] | None = None,
  *,
  texts: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Recogniser]:
  """The recogniser of each language, loaded once where several share it.

  Args:
    codes: of the languages.
    overrides: specs by code, and by "*" for all the others.
    texts: by code, all texts of the evaluation: what `dtw` chooses from.

  Raises:
    UserError: a spec is unknown, a package or its weights are missing, or the
      recogniser does not know the language.
  """
  made: dict[str, Recogniser] = {}
  chosen = {code: recogniser_spec(code, overrides) for code in codes}
  for code, spec in chosen.items():
    if spec == "pocketsphinx" and code != pocketsphinx.LANGUAGE.code:
      raise UserError(
        f"pocketsphinx knows no {languages.BY_CODE[code].name}; choose another"
        f" recogniser for {code!r}, such as {RECOGNISER}."
      )
    if spec not in made:
      made[spec] = _recogniser(spec, texts or {})
  return {code: made[spec] for code, spec in chosen.items()}


def recogniser_spec(code: str, overrides: Mapping[str, str] | None) -> str:
  """What the table, or who overrides it, says for a language."""
  table = {"*": RECOGNISER} | RECOGNISERS
  if overrides and "*" in overrides:
    table = {}
  table |= overrides or {}
  return table.get(code, table["*"])


def _recogniser(spec: str, texts: Mapping[str, Sequence[str]]) -> Recogniser:
  kinds: dict[str, Callable[[str], Recogniser]] = {
    "faster-whisper": FasterWhisper,
    "transformers": TransformersWhisper,
    "funasr": FunAsr,
    "pocketsphinx": lambda _: PocketSphinx(),
    "dtw": lambda _: ClosedSet(texts),
  }
  return _make("recogniser", spec, kinds)


def speaker_judge(spec: str) -> SpeakerJudge:
  """`wavlm:<file>` or `ge2e`.

  Raises:
    UserError: the spec is unknown, or something is missing.
  """
  kinds: dict[str, Callable[[str], SpeakerJudge]] = {
    "wavlm": WavLm,
    "ge2e": lambda _: Ge2e(),
  }
  return _make("judge of voices", spec, kinds)


def quality_judge(spec: str = QUALITY_JUDGE) -> QualityJudge:
  """`dnsmos`.

  Raises:
    UserError: the spec is unknown, or something is missing.
  """
  kinds: dict[str, Callable[[str], QualityJudge]] = {
    "dnsmos": lambda _: DnsMos()
  }
  return _make("judge of quality", spec, kinds)


def _make(what: str, spec: str, kinds):
  kind, _, weights = spec.partition(":")
  if kind not in kinds:
    raise UserError(
      f"the {what} {spec!r} is unknown: choose one of {', '.join(kinds)}."
    )
  return kinds[kind](weights)


class PocketSphinx:
  """The English recogniser whose model ships in its wheel: a weak one."""

  spec = "pocketsphinx"

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    if language != pocketsphinx.LANGUAGE.code:
      raise UserError(f"pocketsphinx hears English only, not {language!r}.")
    return each_clip(paths, pocketsphinx.transcribe)


class ClosedSet:
  """The one of the evaluation's own texts that espeak-ng says most alike.

  Any language that espeak-ng speaks and no weights; but an error rate by it is
  far too good, for it can only hear sentences of the set.
  """

  spec = "dtw"

  def __init__(self, texts: Mapping[str, Sequence[str]]):
    self._texts = texts

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    texts = list(dict.fromkeys(self._texts.get(language, ())))
    if not texts:
      raise UserError(f"the judge dtw was given no texts in {language!r}.")
    voice = languages.BY_CODE[language].espeak
    return each_clip(paths, lambda wave: self._one(wave, texts, voice))

  def _one(self, wave: np.ndarray, texts: Sequence[str], voice: str) -> str:
    wave = signal.trim_silence(wave)
    if len(wave) < SHORTEST:
      return ""
    frames = signal.mfcc(wave)
    distances = [
      dtw.distances(frames, [dtw.template(text, voice) for text in chunk])
      for chunk in _chunks(texts)
    ]
    return texts[int(np.argmin(np.concatenate(distances)))]


def _chunks(texts: Sequence[str]) -> list[Sequence[str]]:
  return [texts[i : i + _CHUNK] for i in range(0, len(texts), _CHUNK)]


# ------------------------------------------------------------------- voices


class WavLm:
  """WavLM-large with an ECAPA head, fine-tuned for speaker verification.

  What the papers mean by SIM, if its weights are UniSpeech's
  `wavlm_large_finetune.pth`.
  """

  def __init__(self, weights: str):
    from s02jax.pretrained import wavlm

    path = pathlib.Path(weights)
    if not weights or not path.is_file():
      raise UserError(
        f"the weights {weights or 'of WavLM'} are not here; fetch"
        " wavlm_large_finetune.pth by the link in the README of UniSpeech's"
        " downstreams/speaker_verification and say wavlm:<where it is>."
      )
    self.spec = f"wavlm:{path.name}"
    self._model = wavlm.load(path)

  def embed(self, paths: Sequence[pathlib.Path]) -> np.ndarray:
    return np.stack([self._model(read_wave(path)) for path in paths])


class Ge2e:
  """The GE2E encoder of `resemblyzer`."""

  spec = "ge2e"

  def embed(self, paths: Sequence[pathlib.Path]) -> np.ndarray:
    return ge2e.embed([read_wave(path) for path in paths])
