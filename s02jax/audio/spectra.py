"""Waveforms: FLAC in memory, frames, spectra, log-mel.

Shape letters: b batch, n samples, t frames, w window (samples), f frequency
bins (w // 2 + 1), m mel bins.

A frame grid has one frame for every `hop` samples: frame i covers `window`
samples centred on sample (i + 1/2) * hop, with zeros outside of the signal. So
n samples always make n // hop frames, and a frame rate is rate / hop exactly.
"""

import dataclasses
import functools
import io
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import soundfile
from jaxtyping import Array, Complex, Float

from s02jax import sharding

# ------------------------------------------------------------------- files


def encode_flac(wave: np.ndarray, rate: int) -> bytes:
  """Encodes float [n] in -1..1 as 16-bit FLAC."""
  buffer = io.BytesIO()
  soundfile.write(
    buffer, np.clip(wave, -1.0, 1.0), rate, format="FLAC", subtype="PCM_16"
  )
  return buffer.getvalue()


def decode_flac(data: bytes) -> tuple[np.ndarray, int]:
  """Decodes FLAC: float32 [n] in -1..1, and the rate in Hz."""
  return soundfile.read(io.BytesIO(data), dtype="float32")


# ------------------------------------------------------------------ frames


def frame(
  wave: Float[Array, "b n"], window: int, hop: int
) -> Float[Array, "b t w"]:
  """Cuts waves into frames on the module's grid; window % hop must be 0.

  It compiles to reshapes and concatenations, on no platform to a gather.
  """
  b, n = wave.shape
  t, k = n // hop, window // hop
  left = (window - hop) // 2
  right = window - hop - left
  padded = jnp.pad(wave[:, : t * hop], ((0, 0), (left, right)))
  blocks = padded.reshape(b, t + k - 1, hop)
  return jnp.concatenate([blocks[:, i : i + t] for i in range(k)], axis=-1)


def overlap_add(frames: Float[Array, "b t w"], hop: int) -> Float[Array, "b n"]:
  """Overlap-add, the adjoint of `frame`: n = t * hop samples."""
  b, t, window = frames.shape
  k = window // hop
  left = (window - hop) // 2
  blocks = frames.reshape(b, t, k, hop)
  total = jnp.zeros((b, t + k - 1, hop), frames.dtype)
  for i in range(k):
    total += jnp.pad(blocks[:, :, i], ((0, 0), (i, k - 1 - i), (0, 0)))
  return total.reshape(b, -1)[:, left : left + t * hop]


def hann(window: int) -> np.ndarray:
  """Periodic Hann window, float32 [w]."""
  return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)).astype(
    np.float32
  )


def _dft_matrix(n: int) -> Float[Array, "w w"]:
  """Real DFT of n samples, n even, as a square matrix.

  The left half holds the cosines of bins 0 to n/2 - 1; the right half the
  cosine of bin n/2 and the negative sines of bins 1 to n/2 - 1. So one product
  as wide as the frame computes both.

  The matrix is computed at run time: as a constant it would add hundreds of
  megabytes to the compiled code. The barrier keeps it from being computed again
  in every tile of a product. Angles come by addition,
  cos(a + b) = cos a cos b − sin a sin b, since a TPU's compiler takes a minute
  for one cosine per entry. The product of indices is reduced in integers, so
  that angles are exact.
  """
  step = math.gcd(n, 32)

  def cos_and_sin(samples):
    turns = samples[:, None] * jnp.arange(n // 2, dtype=jnp.int32)[None] % n
    angles = turns.astype(jnp.float32) * (2 * np.pi / n)
    return jnp.cos(angles), jnp.sin(angles)

  cos, sin = (x[:, None] for x in cos_and_sin(jnp.arange(0, n, step)))
  cos_j, sin_j = (x[None] for x in cos_and_sin(jnp.arange(step)))
  real, imag = cos * cos_j - sin * sin_j, -sin * cos_j - cos * sin_j
  real, imag = (x.reshape(n, -1) for x in (real, imag))
  alternating = (1 - 2 * (jnp.arange(n) % 2))[:, None].astype(jnp.float32)
  imag = jnp.where(jnp.arange(n // 2)[None] == 0, alternating, imag)
  return jax.lax.optimization_barrier(jnp.concatenate([real, imag], axis=1))


def rfft_by_matrix(x: Float[Array, "*b w"]) -> Complex[Array, "*b f"]:
  """DFT of real frames as one matrix product.

  The product needs float32-like precision: in bfloat16 quiet bins are wrong by
  up to two nats.
  """
  half = x.shape[-1] // 2
  y = jnp.matmul(x, _dft_matrix(x.shape[-1]), precision=jax.lax.Precision.HIGH)
  real, imag = y[..., :half], y[..., half:]
  zero = jnp.zeros_like(imag[..., :1])
  return jax.lax.complex(
    jnp.concatenate([real, imag[..., :1]], axis=-1),
    jnp.concatenate([zero, imag[..., 1:], zero], axis=-1),
  )


def irfft_by_matrix(x: Complex[Array, "*b f"]) -> Float[Array, "*b w"]:
  """Inverse DFT to real frames as one matrix product."""
  window = 2 * (x.shape[-1] - 1)
  half = window // 2
  weight = np.full(window, 2.0 / window, np.float32)
  weight[[0, half]] = 1.0 / window
  packed = jnp.concatenate(
    [x.real[..., :half], x.real[..., half:], x.imag[..., 1:half]], axis=-1
  )
  return jnp.matmul(
    packed * weight.reshape((1,) * (x.ndim - 1) + (-1,)),
    _dft_matrix(window).T,
    precision=jax.lax.Precision.HIGH,
  )


def rfft(x: Float[Array, "*b w"]) -> Complex[Array, "*b f"]:
  """DFT of real frames, w even: an FFT, on TPU a matrix product."""
  return jax.lax.platform_dependent(
    x.astype(jnp.float32),
    tpu=rfft_by_matrix,
    default=functools.partial(_of_parts, jnp.fft.rfft),
  )


def irfft(x: Complex[Array, "*b f"]) -> Float[Array, "*b w"]:
  """Inverse DFT, of `rfft`, for an even window of 2 (f - 1) samples."""
  return jax.lax.platform_dependent(
    x,
    tpu=irfft_by_matrix,
    default=functools.partial(_of_parts, jnp.fft.irfft),
  )


def _of_parts(transform: Callable[[Array], Array], x: Array) -> Array:
  """Transform of the last dimension, by each device of the rows it holds.

  XLA before that of jax 0.12 does not split an FFT: it would gather all frames
  of a batch to every device.
  """
  names = ("batch", "time")[: x.ndim - 1]
  rest = (None,) * (x.ndim - len(names))
  return sharding.map_parts(transform, x, *names, *rest)


def stft(
  wave: Float[Array, "b n"], window: int, hop: int
) -> Complex[Array, "b t f"]:
  """Hann-windowed spectrum on the frame grid."""
  return rfft(frame(wave, window, hop) * hann(window)[None, None])


# ----------------------------------------------------------------- log-mel


@dataclasses.dataclass(frozen=True, kw_only=True)
class LogMel:
  """Sizes of a log-mel spectrogram."""

  rate: int = 16000  # Hz of the waveform
  hop: int = 320  # samples from frame to frame
  window: int = 640  # samples of a Hann window, a multiple of hop
  bins: int = 80  # mel bands from 0 Hz to rate / 2
  floor: float = 1e-3  # added to a magnitude before the logarithm


@functools.cache
def mel_filters(rate: int, window: int, bins: int) -> np.ndarray:
  """Mel filters float32 [f, m]: triangles of height 1 on the HTK mel scale."""

  def mel(hz):
    return 2595.0 * np.log10(1.0 + hz / 700.0)

  edges = np.linspace(mel(0.0), mel(rate / 2), bins + 2)
  edges = 700.0 * (10.0 ** (edges / 2595.0) - 1.0)
  hz = np.linspace(0.0, rate / 2, window // 2 + 1)[:, None]
  # A band narrower than a bin would catch none: widen it to one bin each side.
  bin_width = rate / window
  low = np.minimum(edges[:-2], edges[1:-1] - bin_width)
  high = np.maximum(edges[2:], edges[1:-1] + bin_width)
  rising = (hz - low) / (edges[1:-1] - low)
  falling = (high - hz) / (high - edges[1:-1])
  return np.maximum(0.0, np.minimum(rising, falling)).astype(np.float32)


def log_mel(wave: Float[Array, "b n"], spec: LogMel) -> Float[Array, "b t m"]:
  """Log-mel spectrogram log(floor + mel(|STFT|)), float32, t = n // hop."""
  filters = mel_filters(spec.rate, spec.window, spec.bins)
  spectrum = stft(wave.astype(jnp.float32), spec.window, spec.hop)
  magnitude = magnitude_of(spectrum)
  return jnp.log(
    jnp.matmul(magnitude, filters, precision=jax.lax.Precision.HIGH)
    + spec.floor
  )


def magnitude_of(
  spectrum: Complex[Array, "*b"], epsilon: float = 1e-8
) -> Float[Array, "*b"]:
  """Magnitude sqrt(re^2 + im^2 + epsilon), its gradient finite at zero."""
  return jnp.sqrt(spectrum.real**2 + spectrum.imag**2 + epsilon)


def griffin_lim(
  mel: Float[Array, "b t m"], spec: LogMel, iterations: int = 32
) -> Float[Array, "b n"]:
  """Waveform whose log-mel is near `mel` (Griffin and Lim, 1984).

  Phases start at a fixed random draw, so the result is deterministic.
  """
  filters = mel_filters(spec.rate, spec.window, spec.bins)
  inverse = np.linalg.pinv(filters).astype(np.float32)
  linear = jnp.maximum(jnp.exp(mel) - spec.floor, 0.0)
  magnitude = jnp.maximum(jnp.matmul(linear, inverse), 0.0)
  window = hann(spec.window)[None, None]
  envelope = overlap_add(
    jnp.broadcast_to(window**2, (*mel.shape[:2], spec.window)), spec.hop
  )
  phase = jax.random.uniform(
    jax.random.key(0), magnitude.shape, maxval=2 * np.pi
  )

  def invert(spectrum):
    frames = irfft(spectrum) * window
    return overlap_add(frames, spec.hop) / jnp.maximum(envelope, 1e-3)

  def step(_, spectrum):
    again = stft(invert(spectrum), spec.window, spec.hop)
    return magnitude * again / magnitude_of(again)

  first = magnitude * jnp.exp(1j * phase)
  return invert(jax.lax.fori_loop(0, iterations, step, first))
