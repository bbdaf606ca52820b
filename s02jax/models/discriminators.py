"""Discriminators of the Flow-VAE's adversarial loss.

Multi-period (HiFi-GAN, Kong et al. 2020) and multi-resolution (UnivNet, Jang et
al. 2021; on complex spectra as in DAC, Kumar et al. 2023). The report names no
adversarial loss; this is the practice of the field.

The signals of all periods, and those of all windows, are laid out on lines of
one length (`Lines`), so that a loop over stacked parameters runs through them:
a TPU's compiler spends seconds on every convolution.

Shape letters: k signals, b batch, n, m positions of a line, r rows of t.
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

from s02jax.audio import spectra as audio


@dataclasses.dataclass(frozen=True, kw_only=True)
class DiscriminatorsConfig:
  """Sizes of the discriminators."""

  periods: tuple[int, ...] = (2, 3, 5, 7, 11)
  period_channels: tuple[int, ...] = (32, 128, 512, 1024)
  windows: tuple[int, ...] = (2048, 1024, 512)  # samples; hop = window / 4
  spectral_channels: int = 32
  dtype: str = "float32"  # of the computation; scores are float32


# Feature maps of one discriminator, the score last.
Maps = list[Float[Array, "b m d"]]
# Of a discriminator's maps of real and of generated waves, and of where they
# count.
Loss = Callable[[Maps, Maps, list[Bool[Array, "m"]]], Float[Array, ""]]


@flax.struct.dataclass
class Contest:
  """Losses, means over discriminators, and where they lead."""

  of_fake: Float[Array, ""]
  of_params: Float[Array, ""]
  to_fake: Float[Array, "b n"]  # gradient of the first
  grads: dict[str, Any]  # of the second


@dataclasses.dataclass(frozen=True, kw_only=True)
class Layer:
  """A convolution along a line; taps beyond a row's ends see zeros."""

  width: int
  taps: int
  stride: int = 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lines:
  """Where the rows of k signals lie, on lines of one length.

  A row begins every `pitch` positions. Behind it lie zeros, at every stride as
  many as a convolution sees beyond a row's end; behind the last, where rows see
  each other, an empty one, so that the next line is no neighbour.
  """

  rows: tuple[int, ...]
  lengths: tuple[int, ...]  # of a row
  pitches: tuple[int, ...]
  size: int  # of a line

  @classmethod
  def of(
    cls,
    rows: tuple[int, ...],
    lengths: tuple[int, ...],
    layers: tuple[Layer, ...],
    empty: int,
  ) -> "Lines":
    """The narrowest that `layers` may run along, with `empty` rows behind."""
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
    """Of every `stride`-th position."""
    return Lines(
      rows=self.rows,
      lengths=tuple(-(-length // stride) for length in self.lengths),
      pitches=tuple(pitch // stride for pitch in self.pitches),
      size=self.size // stride,
    )

  def inside(self) -> Bool[np.ndarray, "k n"]:
    """Which positions belong to a row."""
    at = np.arange(self.size)[None]
    rows, lengths, pitches = (
      np.array(x)[:, None] for x in (self.rows, self.lengths, self.pitches)
    )
    return (at % pitches < lengths) & (at // pitches < rows)

  def lay(self, signals: list[Float[Array, "b r t c"]]) -> Array:
    """Signals on their lines, [k, b, n, c]."""
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
  """y[p] = x[p - by], zero from beyond the ends; |by| is at most `most`.

  By hand its gradient is another such move, not a scatter.
  """
  padded = jnp.pad(x, ((0, 0), (most, most), (0, 0)))
  return jax.lax.dynamic_slice_in_dim(padded, most - by, x.shape[1], axis=1)


moved.defvjp(
  lambda x, by, most: (moved(x, by, most), by),
  lambda most, by, change: (moved(change, -by, most), None),
)


class Judge(nn.Module):
  """One discriminator: convolutions along a line of rows."""

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
    """Feature maps, the last is the score [b, m, 1]; zero between rows.

    Args:
      x: the line.
      inside: positions of every map that belong to rows.
      pitches: of the rows, before every layer.
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
  """A row's channels beside those of the rows before and after it.

  A convolution over 3 rows and k taps is one over k taps of this, which fills
  a TPU's lanes and is sooner compiled for one.
  """
  sides = [moved(x, pitch, reach), x, moved(x, -pitch, reach)]
  return jnp.concatenate(sides, axis=-1)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Group:
  """Discriminators that differ in parameters and in where their rows lie."""

  judge: Judge
  lines: tuple[Lines, ...]  # before the first layer and behind every one

  @property
  def layout(self) -> tuple[list[np.ndarray], np.ndarray]:
    """`inside` and `pitches` of `Judge`, with an axis of the discriminators
    before."""
    inside = [lines.inside() for lines in self.lines[1:]]
    return inside, np.array([x.pitches for x in self.lines[:-1]]).T

  def flops(self, channels: int) -> float:
    """Of the convolutions, all discriminators, one line of `channels` each."""
    total = 0.0
    rows = 1 if self.judge.reach is None else 3
    for layer, lines in zip(self.judge.layers, self.lines[1:], strict=True):
      each = 2.0 * layer.taps * rows * channels * layer.width
      total += each * lines.inside().sum()
      channels = layer.width
    return total


class Discriminators:
  """Every discriminator of the config, in two loops over stacked parameters:
  one over the periods, one over the windows; either may have none."""

  def __init__(self, config: DiscriminatorsConfig):
    self.config = config

  def groups(self, n: int) -> dict[str, Group]:
    """The discriminators of waves of n samples."""
    c = self.config
    dtype, last = jnp.dtype(c.dtype), Layer(width=1, taps=3)

    def group(rows, lengths, layers, sees_rows):
      first = Lines.of(
        tuple(rows), tuple(lengths), layers, empty=int(sees_rows)
      )
      strides = (layer.stride for layer in layers)
      lines = tuple(itertools.accumulate(strides, Lines.after, initial=first))
      reach = tuple(max(x.pitches) for x in lines[:-1]) if sees_rows else None
      judge = Judge(layers=layers, reach=reach, dtype=dtype)
      return Group(judge=judge, lines=lines)

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
    """What the groups look at, [k, b, m, c]."""
    c = self.config
    phases = [by_phase(wave, p)[..., None] for p in c.periods]
    spectra = [audio.stft(wave, w, w // 4) for w in c.windows]
    spectra = [jnp.stack([s.real, s.imag], axis=-1) for s in spectra]
    signals = {"periods": phases, "windows": spectra}
    groups = self.groups(wave.shape[1])
    return {
      name: group.lines[0].lay(signals[name]) for name, group in groups.items()
    }

  def init(self, key: Array, wave: Float[Array, "b n"]) -> dict[str, Any]:
    """Parameters of every group, with an axis of its discriminators before."""
    lines, params = self.lay(wave), {}
    for name, group in self.groups(wave.shape[1]).items():
      key, own = jax.random.split(key)
      keys = jax.random.split(own, len(lines[name]))
      made = jax.vmap(group.judge.init)(keys, lines[name], *group.layout)
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
    """One pass of every discriminator, which two losses go back through: one to
    the generated waves, the other to the parameters.

    Args:
      params: of `init`.
      real: waves.
      fake: waves, of as many samples.
      of_fake: of one discriminator.
      of_params: of one discriminator.
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
      one = functools.partial(_play, group.judge, of_fake, of_params)
      _, played = jax.lax.scan(
        one, None, (params[name], lines[name], group.layout)
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
    """Of the convolutions of one pass over b waves of n samples."""
    channels = {"periods": 1, "windows": 2}
    groups = self.groups(n).items()
    return b * sum(group.flops(channels[name]) for name, group in groups)


def _play(
  judge: Judge, of_fake: Loss, of_params: Loss, _: None, inputs: tuple
) -> tuple[None, tuple]:
  """A turn of `Discriminators.contest`: of one discriminator both losses, and
  the gradients by its lines and by its parameters."""
  params, lines, (inside, pitches) = inputs

  def losses(maps):
    halves = [m.reshape(len(m), 2, -1, m.shape[-1]) for m in maps]
    real, fake = ([h[:, i].astype(jnp.float32) for h in halves] for i in (0, 1))
    return of_fake(real, fake, inside), of_params(real, fake, inside)

  twice = [jnp.concatenate([x, x]) for x in inside]
  maps, back = jax.vjp(
    lambda p, x: judge.apply({"params": p}, x, twice, pitches), params, lines
  )
  (first, second), back_from = jax.vjp(losses, maps)
  one, zero = jnp.ones(()), jnp.zeros(())
  _, to_lines = back(*back_from((one, zero)))
  grads, _ = back(*back_from((zero, one)))
  return None, (first, second, to_lines, grads)


def by_phase(wave: Float[Array, "b n"], period: int) -> Float[Array, "b p t"]:
  """Every p-th sample, of each of the p phases; what is left over is left."""
  b, n = wave.shape
  rows = n // period
  x = wave[:, : rows * period].reshape(b, rows, period)
  return x.transpose(0, 2, 1)


def _mean(
  x: Float[Array, "*b m d"], inside: Bool[Array, "m"]
) -> Float[Array, ""]:
  """Over what counts."""
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
