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

import importlib
import importlib.util
import pathlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Protocol

import numpy as np

from s02jax import audio, languages
from s02jax.errors import UserError
from s02jax.evaluation import dtw, ge2e, pocketsphinx_judge, signal

RECOGNISER = "faster-whisper:large-v3"
RECOGNISERS: dict[str, str] = {"zh": "funasr:paraformer-zh"}  # all others: it
SPEAKER_JUDGE = "wavlm"
QUALITY_JUDGE = "dnsmos"
_CHUNK = 16  # texts of a closed set at a time
_SHORTEST = signal.JUDGE_RATE // 10  # samples in which there may be a word


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
    if spec == "pocketsphinx" and code != pocketsphinx_judge.LANGUAGE.code:
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


def _packages(*names: str) -> list[Any]:
  """All of them, imported: none is a requirement of this package."""
  modules = [name.replace("-", "_") for name in names]
  for name, module in zip(names, modules, strict=True):
    if importlib.util.find_spec(module) is None:
      raise UserError(
        f"the package {name} is not installed; run: pip install"
        f" {' '.join(names)}"
      )
  return [importlib.import_module(module) for module in modules]


def _wave(path: pathlib.Path) -> np.ndarray:
  """float32[n] at 16 kHz."""
  return signal.to_judge_rate(*audio.read(path))


def _each(
  paths: Sequence[pathlib.Path], hear: Callable[[np.ndarray], str]
) -> list[str]:
  """What is heard in each file: nothing in less than a tenth of a second."""
  waves = (_wave(path) for path in paths)
  return [hear(wave) if len(wave) >= _SHORTEST else "" for wave in waves]


# -------------------------------------------------------------- recognisers


class FasterWhisper:
  """Whisper by CTranslate2, decoded greedily as seed-tts-eval's script does.

  The same clip is heard the same way twice; windows of 30 s one by one.
  """

  def __init__(self, weights: str):
    (faster_whisper,) = _packages("faster-whisper")
    self.spec = f"faster-whisper:{weights or 'large-v3'}"
    try:
      self._model = faster_whisper.WhisperModel(
        weights or "large-v3", local_files_only=True
      )
    except (OSError, RuntimeError, ValueError) as error:
      raise UserError(
        f"the weights of {self.spec} are not here; fetch them on a machine with"
        " the network: python -c \"import faster_whisper as f; f.WhisperModel('"
        f"{weights or 'large-v3'}')\", or give a folder ({error})."
      ) from error

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    code = languages.BY_CODE[language].asr
    return _each(paths, lambda wave: self._one(wave, code))

  def _one(self, wave: np.ndarray, code: str) -> str:
    segments, _ = self._model.transcribe(
      wave,
      language=code,
      beam_size=1,
      temperature=0.0,  # else a doubtful clip is drawn by chance
      no_speech_threshold=None,
      without_timestamps=True,
      condition_on_previous_text=False,
    )
    return "".join(segment.text for segment in segments).strip()


class TransformersWhisper:
  """Whisper by transformers, decoded greedily as seed-tts-eval's script does.

  The first 30 s of a clip are heard, as there.
  """

  def __init__(self, weights: str):
    torch, transformers = _packages("torch", "transformers")
    weights = weights or "openai/whisper-large-v3"
    self.spec = f"transformers:{weights}"
    self._device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
      self._processor = transformers.WhisperProcessor.from_pretrained(
        weights, local_files_only=True
      )
      self._model = (
        transformers.WhisperForConditionalGeneration.from_pretrained(
          weights, local_files_only=True
        ).to(self._device)
      )
    except (OSError, ValueError) as error:
      raise UserError(
        f"the weights of {self.spec} are not here; fetch them on a machine with"
        f" the network: hf download {weights}, or give a folder."
      ) from error

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    code = languages.BY_CODE[language].asr
    return _each(paths, lambda wave: self._one(wave, code))

  def _one(self, wave: np.ndarray, code: str) -> str:
    features = self._processor(
      wave,
      sampling_rate=signal.JUDGE_RATE,
      return_tensors="pt",
      return_attention_mask=True,
    ).to(self._device)
    found = self._model.generate(**features, language=code, task="transcribe")
    texts = self._processor.batch_decode(found, skip_special_tokens=True)
    return texts[0].strip()


class FunAsr:
  """Paraformer-zh and SenseVoice, by FunASR's own loader."""

  def __init__(self, weights: str):
    *_, funasr = _packages("torch", "torchaudio", "funasr")
    weights = weights or "paraformer-zh"
    self.spec = f"funasr:{weights}"
    try:
      self._model = funasr.AutoModel(
        model=weights, disable_update=True, disable_pbar=True
      )
    except Exception as error:  # whatever its hub's client raises
      raise UserError(
        f"{self.spec} cannot be loaded; fetch it on a machine with the network:"
        f" python -c \"import funasr; funasr.AutoModel(model='{weights}')\", or"
        f" give a folder ({error})."
      ) from error

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    return _each(paths, lambda wave: self._one(wave, language))

  def _one(self, wave: np.ndarray, language: str) -> str:
    (found,) = self._model.generate(input=wave, language=language)
    # SenseVoice puts tags such as <|zh|><|NEUTRAL|> before its words.
    return re.sub(r"<\|.*?\|>", "", found["text"]).strip()


class PocketSphinx:
  """The English recogniser whose model ships in its wheel: a weak one."""

  spec = "pocketsphinx"

  def transcribe(
    self, paths: Sequence[pathlib.Path], language: str
  ) -> list[str]:
    if language != pocketsphinx_judge.LANGUAGE.code:
      raise UserError(f"pocketsphinx hears English only, not {language!r}.")
    return _each(paths, pocketsphinx_judge.transcribe)


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
    return _each(paths, lambda wave: self._one(wave, texts, voice))

  def _one(self, wave: np.ndarray, texts: Sequence[str], voice: str) -> str:
    wave = signal.trim_silence(wave)
    if len(wave) < _SHORTEST:
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
    from s02jax.evaluation import wavlm

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
    return np.stack([self._model(_wave(path)) for path in paths])


class Ge2e:
  """The GE2E encoder of `resemblyzer`."""

  spec = "ge2e"

  def embed(self, paths: Sequence[pathlib.Path]) -> np.ndarray:
    return ge2e.embed([_wave(path) for path in paths])


# ------------------------------------------------------------------ quality

_DNSMOS_SECONDS = 9.01
# From the network's raw scores to those of P.835 listeners.
_DNSMOS_CURVES = {
  "dnsmos_sig": (-0.08397278, 1.22083953, 0.0052439),
  "dnsmos_bak": (-0.13166888, 1.60915514, -0.39604546),
  "dnsmos_ovrl": (-0.06766283, 1.11546468, 0.04602535),
}


class DnsMos:
  """DNSMOS P.835: speech, background and overall, each 1 to 5.

  The network is in Microsoft's `speechmos` wheel. Mirrors its `dnsmos.py`:
  windows of 9.01 s every second, a shorter clip repeated until it fills one.
  """

  spec = "dnsmos"

  def __init__(self):
    onnxruntime, wheel = _packages("onnxruntime", "speechmos")
    path = pathlib.Path(wheel.__path__[0], "dnsmos_models", "sig_bak_ovr.onnx")
    self._session = onnxruntime.InferenceSession(
      str(path), providers=["CPUExecutionProvider"]
    )

  def score(self, paths: Sequence[pathlib.Path]) -> dict[str, np.ndarray]:
    rows = np.array([self._one(_wave(path)) for path in paths], np.float32)
    return dict(zip(_DNSMOS_CURVES, rows.reshape(-1, 3).T, strict=True))

  def _one(self, wave: np.ndarray) -> np.ndarray:
    if not np.any(wave):
      return np.full(3, np.nan)
    raw = [
      self._session.run(None, {"input_1": window[None]})[0][0]
      for window in dnsmos_windows(wave)
    ]
    scores = zip(_DNSMOS_CURVES.values(), np.transpose(raw), strict=True)
    return np.array([np.polyval(curve, x).mean() for curve, x in scores])


def dnsmos_windows(wave: np.ndarray) -> list[np.ndarray]:
  """Windows float32[144160] of a clip at 16 kHz with a sample or more."""
  rate = signal.JUDGE_RATE
  size = int(_DNSMOS_SECONDS * rate)
  while len(wave) < size:
    wave = np.append(wave, wave)
  count = int(len(wave) // rate - _DNSMOS_SECONDS) + 1
  starts = (i * rate for i in range(count))
  return [wave[i : i + size] for i in starts if i + size <= len(wave)]
