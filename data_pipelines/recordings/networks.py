"""Networks of the steps, loaded once a process and only when asked for."""

import pathlib
import tempfile
from collections.abc import Sequence

import numpy as np
import soundfile

from s02jax.core import languages
from s02jax.pretrained import dnsmos, registry, signal, silero
from s02jax.pretrained.judges import Recogniser
from s02jax.pretrained.whisper.recogniser import FasterWhisper

_WHISPER = "faster-whisper"


class Networks:
  """Networks of one worker; each runs in one thread, for workers are many."""

  def __init__(self):
    self._recognisers: dict[str, Recogniser] = {}
    self._silero: silero.Silero | None = None
    self._dnsmos: dnsmos.DnsMos | None = None

  @property
  def silero(self) -> silero.Silero:
    """Detector of speech."""
    self._silero = self._silero or silero.Silero()
    return self._silero

  @property
  def dnsmos(self) -> dnsmos.DnsMos:
    """Judge of quality."""
    self._dnsmos = self._dnsmos or dnsmos.DnsMos(threads=1)
    return self._dnsmos

  def recogniser(self, spec: str, code: str) -> Recogniser:
    """Recogniser of a spec. Raises UserError where its weights are missing."""
    if spec not in self._recognisers:
      kind, _, weights = spec.partition(":")
      self._recognisers[spec] = (
        FasterWhisper(weights, threads=1)
        if kind == _WHISPER
        else registry.recognisers([code], {"*": spec})[code]
      )
    return self._recognisers[spec]

  def hear(
    self, spec: str, waves: Sequence[np.ndarray], code: str
  ) -> list[str]:
    """Transcribes waves float32 [n] at 16 kHz, told their language."""
    found = self.recogniser(spec, code)
    if isinstance(found, FasterWhisper):
      return found.hear(waves, code)
    with tempfile.TemporaryDirectory() as folder:
      paths = [pathlib.Path(folder, f"{i}.wav") for i in range(len(waves))]
      for path, wave in zip(paths, waves, strict=True):
        soundfile.write(path, wave, signal.JUDGE_RATE, subtype="FLOAT")
      return found.transcribe(paths, code)

  def language(self, spec: str, wave: np.ndarray) -> tuple[str, str]:
    """Language of float32 [n] at 16 kHz, as Whisper hears it.

    Returns:
      our code, empty for one that we do not have, and Whisper's.
    """
    kind, _, weights = spec.partition(":")
    weights = weights if kind == _WHISPER and ".en" not in weights else "base"
    model = self.recogniser(f"{_WHISPER}:{weights}", "en")
    assert isinstance(model, FasterWhisper)
    heard = model.model.detect_language(wave)[0]
    codes = {row.asr: row.code for row in reversed(languages.BY_CODE.values())}
    return codes.get(heard, ""), heard
