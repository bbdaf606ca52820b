"""Signal processing of the judges in NumPy, apart from the models' own code.

Shape letters: n samples, t frames, f frequency bins, m mel bands, k cepstra.
"""

import functools
import importlib.util
import warnings

import numpy as np
import scipy.fft
import soxr

JUDGE_RATE = 16000  # Hz, of all that the judges hear


def to_judge_rate(wave: np.ndarray, rate: int) -> np.ndarray:
  """Resamples to float32[n] at 16 kHz; NaN and infinity become silence."""
  wave = np.nan_to_num(
    np.asarray(wave, np.float32), nan=0.0, posinf=0.0, neginf=0.0
  )
  if rate == JUDGE_RATE:
    return wave
  return soxr.resample(wave, rate, JUDGE_RATE, quality="HQ")


def trim_silence(
  wave: np.ndarray,
  *,
  rate: int = JUDGE_RATE,
  below_peak_db: float = 30.0,
  margin_seconds: float = 0.03,
) -> np.ndarray:
  """Cuts both ends where 10 ms frames stay that far below the loudest one.

  Silence as a whole comes back empty.
  """
  hop = rate // 100
  count = len(wave) // hop
  if not count:
    return wave[:0]
  frames = wave[: count * hop].reshape(count, hop).astype(np.float64)
  power = np.mean(frames**2, axis=1)
  if power.max() < 1e-10:
    return wave[:0]
  loud = np.flatnonzero(power > power.max() * 10 ** (-below_peak_db / 10))
  margin = round(margin_seconds * rate)
  start = max(0, loud[0] * hop - margin)
  return wave[start : (loud[-1] + 1) * hop + margin]


@functools.cache
def slaney_mel(rate: int, window: int, bands: int) -> np.ndarray:
  """Mel filters: triangles of equal area on Slaney's scale, linear to 1 kHz.

  Returns:
    float32[m, f] with f = window // 2 + 1.
  """
  step = np.log(6.4) / 27.0  # above 1 kHz, 27 bands make a factor of 6.4

  def to_mel(hz):
    return hz * 3 / 200 if hz < 1000 else 15 + np.log(hz / 1000) / step

  mel = np.linspace(0.0, to_mel(rate / 2), bands + 2)
  edges = np.where(mel < 15, mel * 200 / 3, 1000 * np.exp(step * (mel - 15)))
  bins = np.fft.rfftfreq(window, 1 / rate)
  widths = np.diff(edges)[:, None]
  rising = (bins - edges[:-2, None]) / widths[:-1]
  falling = (edges[2:, None] - bins) / widths[1:]
  area = 2.0 / (edges[2:] - edges[:-2])[:, None]
  return (np.clip(np.minimum(rising, falling), 0, None) * area).astype(
    np.float32
  )


def power_frames(wave: np.ndarray, window: int, hop: int) -> np.ndarray:
  """Power spectrogram |STFT|^2 of centred, zero-padded periodic-Hann frames.

  Returns:
    float32[t, f], t = 1 + n // hop, f = window // 2 + 1.
  """
  import scipy.signal  # takes most of a second to load

  padded = np.pad(np.asarray(wave, np.float32), window // 2)
  frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
  hann = scipy.signal.get_window("hann", window).astype(np.float32)
  spectrum = scipy.fft.rfft(frames * hann, axis=1)
  return spectrum.real**2 + spectrum.imag**2


def mfcc(wave: np.ndarray, *, cepstra: int = 5) -> np.ndarray:
  """Mel cepstra 1 to k, each of zero mean and unit variance.

  So few of them tell the vowel and little about the speaker. Bands are
  floored 40 dB below the loudest, which makes digital silence (espeak-ng) and
  the noise of a room look alike.

  Args:
    wave: float32[n] at 16 kHz, not silent.
    cepstra: k.

  Returns:
    float32[t, k] at 100 frames a second.
  """
  emphasised = np.append(wave[:1], wave[1:] - np.float32(0.97) * wave[:-1])
  bands = power_frames(emphasised, 400, 160) @ slaney_mel(JUDGE_RATE, 400, 40).T
  log_mel = np.log(bands + bands.max() * 1e-4 + 1e-12)
  static = scipy.fft.dct(log_mel, axis=1, norm="ortho")[:, 1 : cepstra + 1]
  static -= static.mean(axis=0)
  return (static / (static.std(axis=0) + 1e-5)).astype(np.float32)


# --------------------------------------------- measures against a reference


def stoi(reference: np.ndarray, test: np.ndarray) -> float | None:
  """STOI, about 0 to 1; None where too little speech is left.

  Both are 16 kHz and aligned; the longer one is cut.
  """
  import pystoi

  n = min(len(reference), len(test))
  if n < JUDGE_RATE // 2 or not np.any(reference[:n]):
    return None
  with warnings.catch_warnings():
    warnings.simplefilter("error", RuntimeWarning)
    try:
      return float(pystoi.stoi(reference[:n], test[:n], JUDGE_RATE))
    except RuntimeWarning:  # fewer than 30 frames of speech
      return None


NO_PESQ = (
  "PESQ is left out, because its package is not installed: pip install"
  " 's02jax[pesq]' compiles it, with a C compiler and Python's headers."
)


def has_pesq() -> bool:
  """True where the package of PESQ is installed, which has no wheel."""
  return importlib.util.find_spec("pesq") is not None


def wb_pesq(reference: np.ndarray, test: np.ndarray) -> float | None:
  """Wide-band PESQ, 1.0 to 4.64; None where it finds no speech or is missing.

  Both are 16 kHz.
  """
  return _pesq(reference, test, "wb")


def nb_pesq(reference: np.ndarray, test: np.ndarray) -> float | None:
  """Narrow-band PESQ, 1.0 to 4.55; None where it finds no speech or is missing.

  Both are 16 kHz.
  """
  return _pesq(reference, test, "nb")


def _pesq(reference: np.ndarray, test: np.ndarray, band: str) -> float | None:
  """PESQ of the band "wb" or "nb"; the longer wave is cut."""
  if not has_pesq():
    return None
  import pesq

  n = min(len(reference), len(test))
  if n < JUDGE_RATE // 2 or not np.any(reference[:n]) or not np.any(test[:n]):
    return None
  try:
    return float(pesq.pesq(JUDGE_RATE, reference[:n], test[:n], band))
  except pesq.PesqError:
    return None


def spectral_distance(reference: np.ndarray, test: np.ndarray) -> float | None:
  """Mean |log10 |STFT|| difference over windows of 512, 1024 and 2048 samples.

  The waves are aligned, the unit is decades: 0.1 is 2 dB. None for less than
  2048 samples.
  """
  n = min(len(reference), len(test))
  if n < 2048:
    return None
  distances = [
    np.abs(
      np.log10(power_frames(reference[:n], size, size // 4) + 1e-6)
      - np.log10(power_frames(test[:n], size, size // 4) + 1e-6)
    ).mean()
    / 2
    for size in (512, 1024, 2048)
  ]
  return float(np.mean(distances))


def stft_loss(reference: np.ndarray, test: np.ndarray) -> float | None:
  """Multi-resolution STFT loss (Yamamoto et al., 2020); aligned, 16 kHz.

  Spectral convergence ‖|S| − |Ŝ|‖ / ‖|S|‖ and the mean difference of natural
  logarithms of magnitudes, over windows of 512, 1024, 2048. None for less than
  2048 samples, or where the reference is silent.
  """
  n = min(len(reference), len(test))
  if n < 2048 or not np.any(reference[:n]):
    return None
  losses = []
  for size in (512, 1024, 2048):
    true, heard = (
      np.sqrt(power_frames(wave[:n], size, size // 4) + 1e-6)
      for wave in (reference, test)
    )
    convergence = np.linalg.norm(true - heard) / np.linalg.norm(true)
    losses.append(convergence + np.abs(np.log(true) - np.log(heard)).mean())
  return float(np.mean(losses))


def logistic(x: np.ndarray) -> np.ndarray:
  """Logistic function of any array, without overflow."""
  return 0.5 + 0.5 * np.tanh(0.5 * x)
