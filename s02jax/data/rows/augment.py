"""Augmentation of reference waves: rooms, equalisers, telephones, noise.

A voice is to be recognised whatever it was recorded with, so a share of the
references is heard through a simulated room, microphone, telephone line and
background. What the models speak is never augmented.
"""

from collections.abc import Callable

import numpy as np

Wave = np.ndarray  # float32 [n]


def augment(wave: Wave, rate: int, random: np.random.Generator) -> Wave:
  """Wave as another recording would have it, of the same length and power.

  Room, equaliser, telephone and noise, each with a probability of a half.

  Args:
    wave: float32 [n] in -1..1.
    rate: Hz.
    random: source of every draw.
  """
  power = np.mean(np.square(wave))
  for effect in _EFFECTS:
    if random.random() < 0.5:
      wave = effect(wave, rate, random)
  scale = np.sqrt(power / max(np.mean(np.square(wave)), 1e-12))
  return np.clip(wave * scale, -1.0, 1.0).astype(np.float32)


def room(wave: Wave, rate: int, random: np.random.Generator) -> Wave:
  """Wave with reverberation: decaying noise behind the direct sound.

  It falls by 60 dB in 0.1 to 0.6 s, and holds 0 to 20 dB less energy than the
  direct sound.
  """
  decay = random.uniform(0.1, 0.6)
  at = np.arange(1, int(decay * rate)) / rate
  tail = random.standard_normal(len(at)) * 10 ** (-3 * at / decay)
  tail /= np.sqrt(np.square(tail).sum())
  response = np.append(1.0, tail * 10 ** (-random.uniform(0, 20) / 20))
  size = _fast_size(len(wave) + len(response))
  spectrum = np.fft.rfft(wave, size) * np.fft.rfft(response, size)
  return np.fft.irfft(spectrum, size)[: len(wave)]


def equaliser(wave: Wave, rate: int, random: np.random.Generator) -> Wave:
  """Wave filtered by a smooth random curve of -12 to 12 dB."""
  places = np.geomspace(60, rate / 2, 6)
  gains = random.uniform(-12, 12, len(places))

  def gain(hz):
    decibels = np.interp(np.log(np.maximum(hz, 1.0)), np.log(places), gains)
    return 10 ** (decibels / 20)

  return _filtered(wave, rate, gain)


def telephone(wave: Wave, rate: int, random: np.random.Generator) -> Wave:
  """Wave through a line: a band, then companding to 4 to 8 bits (G.711)."""
  low, high = random.uniform(50, 300), random.uniform(3000, rate / 2)
  wave = _filtered(wave, rate, lambda hz: (hz > low) & (hz < high))
  peak = max(float(np.abs(wave).max()), 1e-6)
  levels = 2 ** int(random.integers(4, 9)) / 2
  companded = np.sign(wave) * np.log1p(255 * np.abs(wave) / peak) / np.log(256)
  companded = np.round(companded * levels) / levels
  return (
    np.sign(companded) * peak * np.expm1(np.abs(companded) * np.log(256)) / 255
  )


def noise(wave: Wave, rate: int, random: np.random.Generator) -> Wave:
  """Wave with steady noise 5 to 30 dB below it, white to brown."""
  slope = random.uniform(0, 2) / 2
  white = random.standard_normal(len(wave))
  coloured = _filtered(white, rate, lambda hz: np.maximum(hz, 20.0) ** -slope)
  power, share = np.mean(np.square(wave)), 10 ** -random.uniform(0.5, 3)
  own = max(float(np.mean(np.square(coloured))), 1e-12)
  return wave + coloured * np.sqrt(share * power / own)


_EFFECTS = (room, equaliser, telephone, noise)


def _filtered(
  wave: Wave, rate: int, gain: Callable[[np.ndarray], np.ndarray]
) -> Wave:
  """Wave times a gain of each frequency in Hz."""
  size = _fast_size(len(wave))
  spectrum = np.fft.rfft(wave, size) * gain(np.fft.rfftfreq(size, 1 / rate))
  return np.fft.irfft(spectrum, size)[: len(wave)]


def _fast_size(n: int) -> int:
  """Power of two that n samples fit into."""
  return 1 << max(n - 1, 1).bit_length()
