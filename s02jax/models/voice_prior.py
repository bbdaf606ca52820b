"""Voice prior: a description and tags to coordinates of voices.

A conditional flow (Lipman et al. 2022) over the k coordinates c of a voice, see
`s02jax/data/voices.py`, so that one description has many voices:

  (1)  x_t = (1 − t) x₀ + t c,  x₀ ~ N(0, I)      target velocity  c − x₀

Text pieces pass a small Transformer without a mask of order and are averaged;
tags have embeddings, of which 0, unknown, is one. Residual layers of the
coordinates are modulated by time and condition. Without the condition the
velocity is that of any voice, which guidance needs.

Shape letters: b batch, k coordinates, s text ids, d width, a attributes.
"""

import dataclasses

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from s02jax.models.flow_matching import time_features
from s02jax.models.layers.linear import Dense
from s02jax.models.layers.transformer import RMSNorm, Stack, TransformerConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class VoicePriorConfig:
  """Sizes of the voice prior."""

  coordinates: int  # of a voice, k
  text_size: int  # ids of the text model
  tags: tuple[int, ...]  # values of each attribute, unknown included
  transformer: TransformerConfig  # of the description
  width: int = 192  # of the residual layers
  layers: int = 4  # residual layers


class VoicePrior(nn.Module):
  """Velocity of equation 1."""

  config: VoicePriorConfig

  def setup(self):
    c = self.config
    width = c.transformer.width
    self.embed = nn.Embed(c.text_size, width)
    self.stack = Stack(c.transformer)
    self.attributes = [nn.Embed(size, c.width) for size in c.tags]
    self.told = Dense(c.width)
    self.time = Dense(c.width)
    self.into = Dense(c.width)
    self.norms = [RMSNorm() for _ in range(c.layers)]
    self.modulations = [
      Dense(3 * c.width, kernel_init=nn.initializers.zeros)
      for _ in range(c.layers)
    ]
    self.up = [Dense(2 * c.width) for _ in range(c.layers)]
    self.down = [Dense(c.width) for _ in range(c.layers)]
    self.out = Dense(c.coordinates, kernel_init=nn.initializers.zeros)

  def condition(
    self,
    ids: Int[Array, "b s"],
    mask: Bool[Array, "b s"],
    tags: Int[Array, "b a"],
  ) -> Float[Array, "b d"]:
    """Condition of a description, which may be empty, and of tags."""
    x = jnp.where(mask[:, :, None], self.embed(jnp.where(mask, ids, 0)), 0)
    place = jnp.broadcast_to(jnp.arange(ids.shape[1])[None], ids.shape)
    x = self.stack(x, mask.astype(jnp.int32), place, None)
    total = jnp.where(mask[:, :, None], x, 0).sum(1)
    said = self.told(total / jnp.maximum(mask.sum(1), 1)[:, None])
    known = [embed(tags[:, i]) for i, embed in enumerate(self.attributes)]
    return said + sum(known)

  def __call__(
    self,
    x_t: Float[Array, "b k"],
    t: Float[Array, "b"],
    ids: Int[Array, "b s"],
    mask: Bool[Array, "b s"],
    tags: Int[Array, "b a"],
    keep: Bool[Array, "b"],
  ) -> Float[Array, "b k"]:
    """Velocity of coordinates at time t.

    Args:
      x_t: coordinates on their way.
      t: 0 is noise.
      ids: text ids of the description, anything where masked.
      mask: ids that exist.
      tags: attributes, 0 is unknown.
      keep: rows that see their condition.
    """
    told = jnp.where(keep[:, None], self.condition(ids, mask, tags), 0)
    where = nn.silu(self.time(time_features(t, 64)) + told)
    x = self.into(x_t)
    layers = zip(self.norms, self.modulations, self.up, self.down, strict=True)
    for norm, modulation, up, down in layers:
      shift, scale, gate = jnp.split(modulation(where), 3, axis=-1)
      y = norm(x) * (1 + scale) + shift
      x = x + (1 + gate) * down(nn.silu(up(y)))
    return self.out(x)
