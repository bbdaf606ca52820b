"""What decoding remembers between calls: the cache and its slots.

Plain dataclasses of arrays, so that they can be had without the models: what
serves an export has nothing else, see `serving/runtime.py`.

Shape letters: b slots, t places of the cache, p prompt positions, k key-value
heads, f features of a head, w window.
"""

import dataclasses
import functools
from typing import Any

import jax
import jax.numpy as jnp

BURST = 32  # most tokens of one call
NOTHING = -1  # in place of a token: the slot was not active
WINDOW = 25  # tokens that the repetition penalty looks back


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """Scalars for the whole batch, or one value a row."""

  temperature: Any = 0.7  # float32 [b]; 0: always the likeliest
  top_k: Any = 0  # int32 [b], likeliest classes kept; 0: all
  top_p: Any = 1.0  # float32 [b], probability mass kept
  # float32 [b], > 1 makes the codes of the last WINDOW tokens less likely
  repetition_penalty: Any = 1.0


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Slots:
  """What each slot is at; entries of a free slot may hold anything."""

  active: Any  # bool [b]
  ids: Any  # int32 [b], joint id to read next
  start: Any  # int32 [b], places that the prompt fills, but for its last id
  count: Any  # int32 [b], tokens drawn so far
  cursor: (
    Any  # float32 [b], of the prompt's last id, see `s02jax.text.sequence`
  )
  rate: Any  # float32 [b], what each token adds to it
  history: Any  # int32 [b, w], the last tokens, newest last; NOTHING before
  seed: Any  # uint32 [b]
  limit: Any  # int32 [b], most tokens
  least: Any  # int32 [b], END is not drawn before so many
  sampling: Sampling  # one value a slot


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Cache:
  """Keys and values of every layer; a place past a slot's length is finite."""

  keys: tuple[Any, ...]  # [b, k, f, t] each, see `attention.read`
  values: tuple[Any, ...]  # [b, k, t, f] each

  @property
  def slots(self) -> int:
    return self.keys[0].shape[0]

  @property
  def length(self) -> int:
    return self.values[0].shape[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheShape:
  """What does not change of a cache."""

  layers: int
  kv_heads: int
  features: int
  dtype: str

  def empty(self, slots: int, length: int) -> Cache:
    """Zeros."""

    def zeros(*shape):
      shape = (slots, self.kv_heads, *shape)
      return tuple(
        jnp.zeros(shape, jnp.dtype(self.dtype)) for _ in range(self.layers)
      )

    return Cache(
      keys=zeros(self.features, length), values=zeros(length, self.features)
    )


@functools.partial(jax.jit, static_argnames=("length",))
def resize(cache: Cache, rows: Any, *, length: int) -> Cache:
  """The given rows, int32 [b], of a cache, with `length` places each."""

  def change(x, time):
    x = jnp.take(x, rows, axis=0)
    x = jax.lax.slice_in_dim(x, 0, min(length, x.shape[time]), axis=time)
    return _fill(x, time, length)

  return Cache(
    keys=tuple(change(x, 3) for x in cache.keys),
    values=tuple(change(x, 2) for x in cache.values),
  )


@functools.partial(jax.jit, donate_argnames=("cache",))
def place(cache: Cache, prompt: Cache, slot: Any) -> Cache:
  """A cache with the one row of `prompt` in a slot, whose content is gone.

  Args:
    cache: of at least the prompt's places; donated.
    prompt: one row, p places.
    slot: int32, where to.
  """

  def put(old, new, time):
    new = _fill(new.astype(old.dtype), time, old.shape[time])
    return jax.lax.dynamic_update_slice_in_dim(old, new, slot, 0)

  keys = zip(cache.keys, prompt.keys, strict=True)
  values = zip(cache.values, prompt.values, strict=True)
  return Cache(
    keys=tuple(put(old, new, 3) for old, new in keys),
    values=tuple(put(old, new, 2) for old, new in values),
  )


def _fill(x: Any, time: int, length: int) -> Any:
  """`x` with zeros behind it up to `length` places of the axis `time`."""
  room = [(0, 0)] * x.ndim
  room[time] = (0, length - x.shape[time])
  return jnp.pad(x, room)
