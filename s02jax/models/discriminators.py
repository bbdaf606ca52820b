"""Discriminators of the Flow-VAE's adversarial loss.

Multi-period (HiFi-GAN, Kong et al. 2020) and multi-resolution (UnivNet, Jang et
al. 2021; on complex spectra as in DAC, Kumar et al. 2023). The report names no
adversarial loss; this is the practice of the field.

The signals of all periods, and those of all windows, are laid out on lines of
one length (`Lines`), so that a loop over stacked parameters runs through them:
a TPU's compiler spends seconds on every convolution.

Shape letters: k signals, b batch, n, m positions of a line, r rows, t positions
of a row, c channels before and d channels after a layer, p phases.
"""

import dataclasses
import functools
import itertools
from collections.abc import Callable
from typing import Any

import flax
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike
from jaxtyping import Array, Bool, Float, Int

from s02jax.audio import spectra


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscriminatorsConfig:
  """Sizes of the discriminators."""

  periods: tuple[int, ...] = (2, 3, 5, 7, 11)
  period_channels: tuple[int, ...] = (32, 128, 512, 1024)
  windows: tuple[int, ...] = (2048, 1024, 512)  # samples; hop = window / 4
  spectral_channels: int = 32
  dtype: str = "float32"  # of matrix products; scores are float32


# Feature maps of one discriminator, the score last.
Maps = list[Float[Array, "b m d"]]
# (maps of real waves, maps of generated waves, positions that count) -> loss of
# one discriminator.
Loss = Callable[[Maps, Maps, list[Bool[Array, "m"]]], Float[Array, ""]]


@flax.struct.dataclass
class Contest:
  """Two losses, means over the discriminators, and a gradient of each."""

  of_fake: Float[Array, ""]  # loss of the generated waves
  of_params: Float[Array, ""]  # loss of the discriminators
  to_fake: Float[Array, "b n"]  # gradient of `of_fake` by the generated waves
  grads: dict[str, Any]  # gradient of `of_params` by the parameters


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
  """Convolution along a line; taps beyond a row's ends see zeros."""

  width: int  # channels out
  taps: int
  stride: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lines:
  """Places of the rows of k signals on lines of one length.

  A row begins every `pitch` positions. Behind it lie zeros, at every stride as
  many as a convolution sees beyond a row's end; behind the last, where rows see
  each other, an empty one, so that the next line is no neighbour.
  """

  rows: tuple[int, ...]  # number of rows of each signal
  lengths: tuple[int, ...]  # of a row of each signal
  pitches: tuple[int, ...]  # from a row's beginning to the next one's
  size: int  # positions of a line

  @classmethod
  def of(
    cls,
    rows: tuple[int, ...],
    lengths: tuple[int, ...],
    layers: tuple[Layer, ...],
    empty: int,
  ) -> "Lines":
    """Narrowest lines that `layers` may run along, with `empty` rows behind."""
    strides = np.cumprod([1, *(layer.stride for layer in layers)])
    grain = int(strides[-1])

    def apart(pitch: int, length: int) -> bool:
      return all(
        pitch // s + -length // s >= layer.taps // 2
        for s, layer in zip(strides.tolist(), layers, strict=False)
      )

    pitches = tuple(
      next(p for p in itertools.count(grain, grain) if apart(p, length))
      for length in lengths
    )
    size = max((r + empty) * p for r, p in zip(rows, pitches, strict=True))
    return cls(rows=rows, lengths=lengths, pitches=pitches, size=size)

  def after(self, stride: int) -> "Lines":
    """Lines that keep every `stride`-th position."""
    return Lines(
      rows=self.rows,
      lengths=tuple(-(-length // stride) for length in self.lengths),
      pitches=tuple(pitch // stride for pitch in self.pitches),
      size=self.size // stride,
    )

  def inside(self) -> Bool[np.ndarray, "k n"]:
    """Mask of the positions that belong to a row."""
    at = np.arange(self.size)[None]
    rows, lengths, pitches = (
      np.array(x)[:, None] for x in (self.rows, self.lengths, self.pitches)
    )
    return (at % pitches < lengths) & (at // pitches < rows)

  def lay(self, signals: list[Float[Array, "b r t c"]]) -> Array:
    """Lays signals out on their lines, [k, b, n, c]."""
    lines = []
    for x, pitch in zip(signals, self.pitches, strict=True):
      x = jnp.pad(x, ((0, 0), (0, 0), (0, pitch - x.shape[2]), (0, 0)))
      x = x.reshape(x.shape[0], -1, x.shape[3])
      lines.append(jnp.pad(x, ((0, 0), (0, self.size - x.shape[1]), (0, 0))))
    return jnp.stack(lines)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def moved(
  x: Float[Array, "b n c"], by: Int[Array, ""], most: int
) -> Float[Array, "b n c"]:
  """Shifts along a line: y[p] = x[p - by], zero from beyond the ends.

  |by| is at most `most`. The gradient is written by hand, as another shift: it
  would be a scatter.
  """
  padded = jnp.pad(x, ((0, 0), (most, most), (0, 0)))
  return jax.lax.dynamic_slice_in_dim(padded, most - by, x.shape[1], axis=1)


moved.defvjp(
  lambda x, by, most: (moved(x, by, most), by),
  lambda most, by, change: (moved(change, -by, most), None),
)


class Discriminator(nn.Module):
  """Discriminator: convolutions along a line of rows."""

  layers: tuple[Layer, ...]  # the last gives the score
  reach: tuple[int, ...] | None  # most pitch before a layer, if it sees rows
  dtype: DTypeLike

  @nn.compact
  def __call__(
    self,
    x: Float[Array, "b n c"],
    inside: list[Bool[Array, "m"]],
    pitches: Int[Array, "layers"],
  ) -> list[Float[Array, "b m d"]]:
    """Computes feature maps, the last the score [b, m, 1]; zero between rows.

    Args:
      x: lines of one signal.
      inside: for every map, the positions that belong to rows.
      pitches: pitch of the rows before every layer.
    """
    maps = []
    x = x.astype(self.dtype)
    for i, (layer, within) in enumerate(zip(self.layers, inside, strict=True)):
      if self.reach is not None:
        x = beside(x, pitches[i], self.reach[i])
      last = i == len(self.layers) - 1
      left = layer.taps // 2
      conv = nn.Conv(
        layer.width,
        (layer.taps,),
        (layer.stride,),
        ((left, layer.taps - layer.stride - left),),
        dtype=jnp.float32 if last else self.dtype,
        name="score" if last else f"conv_{i}",
      )
      x = conv(x) if last else nn.leaky_relu(conv(x), 0.1)
      x = jnp.where(within[None, :, None], x, jnp.zeros((), x.dtype))
      maps.append(x)
    return maps


def beside(
  x: Float[Array, "b n c"], pitch: Int[Array, ""], reach: int
) -> Float[Array, "b n 3*c"]:
  """Joins each row's channels with those of the rows before and after it.

  A convolution over 3 rows and k taps is one over k taps of this, which fills
  a TPU's lanes and is sooner compiled for one.
  """
  sides = [moved(x, pitch, reach), x, moved(x, -pitch, reach)]
  return jnp.concatenate(sides, axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
  """Discriminators that differ in parameters and in where their rows lie."""

  network: Discriminator
  lines: tuple[Lines, ...]  # before the first layer and behind every one

  @property
  def places(self) -> tuple[list[np.ndarray], np.ndarray]:
    """Masks and pitches of every discriminator, stacked for a scan."""
    inside = [lines.inside() for lines in self.lines[1:]]
    return inside, np.array([x.pitches for x in self.lines[:-1]]).T

  def flops(self, channels: int) -> float:
    """FLOPs of all discriminators for one line of `channels` each."""
    total = 0.0
    rows = 1 if self.network.reach is None else 3
    for layer, lines in zip(self.network.layers, self.lines[1:], strict=True):
      each = 2.0 * layer.taps * rows * channels * layer.width
      total += each * lines.inside().sum()
      channels = layer.width
    return total


class Discriminators:
  """All discriminators of a config.

  They run as two loops over stacked parameters, one over the periods and one
  over the windows; either may be empty.
  """

  def __init__(self, config: DiscriminatorsConfig):
    self.config = config

  def groups(self, n: int) -> dict[str, Group]:
    """Discriminators of waves of n samples, by "periods" and "windows"."""
    c = self.config
    dtype, last = jnp.dtype(c.dtype), Layer(width=1, taps=3)

    def group(rows, lengths, layers, sees_rows):
      first = Lines.of(
        tuple(rows), tuple(lengths), layers, empty=int(sees_rows)
      )
      strides = (layer.stride for layer in layers)
      lines = tuple(itertools.accumulate(strides, Lines.after, initial=first))
      reach = tuple(max(x.pitches) for x in lines[:-1]) if sees_rows else None
      network = Discriminator(layers=layers, reach=reach, dtype=dtype)
      return Group(network=network, lines=lines)

    by_period = [Layer(width=w, taps=5, stride=3) for w in c.period_channels]
    by_period.append(Layer(width=c.period_channels[-1], taps=3))
    width = c.spectral_channels
    by_window = [Layer(width=width, taps=9, stride=s) for s in (1, 2, 2, 2)]
    by_window.append(Layer(width=width, taps=3))
    made = {}
    if c.periods:
      lengths = (n // p for p in c.periods)
      made["periods"] = group(c.periods, lengths, (*by_period, last), False)
    if c.windows:
      frames = (n // (w // 4) for w in c.windows)
      bins = (w // 2 + 1 for w in c.windows)
      made["windows"] = group(frames, bins, (*by_window, last), True)
    return made

  def lay(self, wave: Float[Array, "b n"]) -> dict[str, Array]:
    """Lays waves out as the groups read them, [k, b, m, c]."""
    c = self.config
    phases = [by_phase(wave, p)[..., None] for p in c.periods]
    transforms = [spectra.stft(wave, w, w // 4) for w in c.windows]
    transforms = [jnp.stack([s.real, s.imag], axis=-1) for s in transforms]
    signals = {"periods": phases, "windows": transforms}
    groups = self.groups(wave.shape[1])
    return {
      name: group.lines[0].lay(signals[name]) for name, group in groups.items()
    }

  def init(self, key: Array, wave: Float[Array, "b n"]) -> dict[str, Any]:
    """Fresh parameters of every group, stacked over its discriminators."""
    lines, params = self.lay(wave), {}
    for name, group in self.groups(wave.shape[1]).items():
      key, own = jax.random.split(key)
      keys = jax.random.split(own, len(lines[name]))
      made = jax.vmap(group.network.init)(keys, lines[name], *group.places)
      params[name] = made["params"]
    return params

  def contest(
    self,
    params: dict[str, Any],
    real: Float[Array, "b n"],
    fake: Float[Array, "b n"],
    of_fake: Loss,
    of_params: Loss,
  ) -> Contest:
    """Runs every discriminator once, and back through it from two losses.

    Args:
      params: parameters as `init` makes them.
      real: recorded waves.
      fake: generated waves.
      of_fake: loss whose gradient goes to the generated waves.
      of_params: loss whose gradient goes to the parameters.
    """

    def lay(fake):
      # A pair's lines end to end: on a mesh no row moves, and a map's halves
      # lie apart in its outermost dimension.
      pairs = jnp.stack([real, fake], axis=1).reshape(-1, real.shape[-1])
      lines = self.lay(pairs)
      return {
        name: x.reshape(len(x), len(real), -1, x.shape[-1])
        for name, x in lines.items()
      }

    lines, back = jax.vjp(lay, fake)
    found, changes, grads = [], {}, {}
    for name, group in self.groups(real.shape[1]).items():
      one = functools.partial(_play, group.network, of_fake, of_params)
      _, played = jax.lax.scan(
        one, None, (params[name], lines[name], group.places)
      )
      changes[name], grads[name] = played[2:]
      found.append(played[:2])
    first, second = (jnp.concatenate(x) for x in zip(*found, strict=True))
    change, grads = jax.tree.map(lambda x: x / len(first), (changes, grads))
    return Contest(
      of_fake=first.mean(),
      of_params=second.mean(),
      to_fake=back(change)[0],
      grads=grads,
    )

  def flops(self, b: int, n: int) -> float:
    """FLOPs of one pass over b waves of n samples."""
    channels = {"periods": 1, "windows": 2}
    groups = self.groups(n).items()
    return b * sum(group.flops(channels[name]) for name, group in groups)


def _play(
  network: Discriminator, of_fake: Loss, of_params: Loss, _: None, inputs: tuple
) -> tuple[None, tuple]:
  """Runs one discriminator, a scan's body; see `Discriminators.contest`.

  Returns:
    None, and both losses with the gradients by its lines and parameters.
  """
  params, lines, (inside, pitches) = inputs

  def losses(maps):
    halves = [m.reshape(len(m), 2, -1, m.shape[-1]) for m in maps]
    real, fake = ([h[:, i].astype(jnp.float32) for h in halves] for i in (0, 1))
    return of_fake(real, fake, inside), of_params(real, fake, inside)

  twice = [jnp.concatenate([x, x]) for x in inside]
  maps, back = jax.vjp(
    lambda p, x: network.apply({"params": p}, x, twice, pitches), params, lines
  )
  (first, second), back_from = jax.vjp(losses, maps)
  one, zero = jnp.ones(()), jnp.zeros(())
  _, to_lines = back(*back_from((one, zero)))
  grads, _ = back(*back_from((zero, one)))
  return None, (first, second, to_lines, grads)


def by_phase(wave: Float[Array, "b n"], period: int) -> Float[Array, "b p t"]:
  """Splits a wave into p phases of every p-th sample; drops the remainder."""
  b, n = wave.shape
  rows = n // period
  x = wave[:, : rows * period].reshape(b, rows, period)
  return x.transpose(0, 2, 1)


def _mean(
  x: Float[Array, "*b m d"], inside: Bool[Array, "m"]
) -> Float[Array, ""]:
  """Mean over the positions that count."""
  # In floats: entries of a large batch are more than an int32 holds.
  count = inside.sum(dtype=jnp.float32) * float(x.size // len(inside))
  inside = inside.reshape((1,) * (x.ndim - 2) + (-1, 1))
  return jnp.where(inside, x, 0.0).sum() / count


def discriminator_loss(
  real: Maps, fake: Maps, inside: list[Bool[Array, "m"]]
) -> Float[Array, ""]:
  """Hinge loss of a discriminator."""
  return _mean(jax.nn.relu(1.0 - real[-1]), inside[-1]) + _mean(
    jax.nn.relu(1.0 + fake[-1]), inside[-1]
  )


def generator_loss(
  real: Maps, fake: Maps, inside: list[Bool[Array, "m"]]
) -> Float[Array, ""]:
  """Hinge loss of the generator before a discriminator."""
  del real
  return _mean(jax.nn.relu(1.0 - fake[-1]), inside[-1])


def feature_matching_loss(
  real: Maps, fake: Maps, inside: list[Bool[Array, "m"]]
) -> Float[Array, ""]:
  """Mean of |real − fake| over mean |real|, over a discriminator's maps."""
  ratios = [
    _mean(jnp.abs(jax.lax.stop_gradient(a) - b), i)
    / (_mean(jnp.abs(jax.lax.stop_gradient(a)), i) + 1e-4)
    for a, b, i in zip(real[:-1], fake[:-1], inside[:-1], strict=True)
  ]
  return jnp.mean(jnp.stack(ratios))
