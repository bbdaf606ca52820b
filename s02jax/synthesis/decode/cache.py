"""State between decode calls: key-value cache, slots, sampling settings.

Plain dataclasses of arrays that import no model, since an export is served
without the models (`serving/runtime.py`).

Shape letters: b slots, t places of the cache, p prompt positions, k key-value
heads, f features of a head, w window, e adapters.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from s02jax.synthesis.request import WINDOW

UNIT = 256  # least places of a cache; others are 2^i times it
BURST = 32  # most tokens of one call
NOTHING = -1  # in place of a token: the slot was not active


def _per_slot(dtype, *shape: int, free=0, **keywords) -> Any:
  """Dataclass field of an array [b, *shape], which is `free` in a free slot."""
  metadata = {"dtype": np.dtype(dtype), "shape": shape, "free": free}
  return dataclasses.field(metadata=metadata, **keywords)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Sampling:
  """Sampling settings: numbers of one request, or arrays with one a slot."""

  # float32 [b], 0: always the likeliest class
  temperature: Any = _per_slot(np.float32, default=0.7)
  # int32 [b], likeliest classes kept; 0: all
  top_k: Any = _per_slot(np.int32, default=0)
  # float32 [b], probability mass kept
  top_p: Any = _per_slot(np.float32, free=1, default=1.0)
  # float32 [b], > 1 makes the codes of the last WINDOW tokens less likely
  repetition_penalty: Any = _per_slot(np.float32, free=1, default=1.0)
  # int32 [b], last tokens, up to WINDOW, among which a repetition is counted
  repetition_window: Any = _per_slot(np.int32, free=1, default=10)
  # float32 [b], share of them above which a token is drawn again; 1: never
  repetition_share: Any = _per_slot(np.float32, free=1, default=1.0)


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Slots:
  """State of every slot; entries of a free slot may hold anything."""

  # bool [b], whether the slot draws tokens
  active: Any = _per_slot(bool)
  # int32 [b], joint id to read next
  ids: Any = _per_slot(np.int32)
  # int32 [b], places that the prompt fills, but for its last id
  start: Any = _per_slot(np.int32)
  # int32 [b], tokens drawn so far
  count: Any = _per_slot(np.int32)
  # float32 [b], cursor of the prompt's last id, see `s02jax.text.sequence`
  cursor: Any = _per_slot(np.float32)
  # float32 [b], by how much each token moves the cursor
  rate: Any = _per_slot(np.float32)
  # int32 [b, w], the last tokens, newest last; NOTHING before them
  history: Any = _per_slot(np.int32, WINDOW, free=NOTHING)
  # uint32 [b], seed of the draws
  seed: Any = _per_slot(np.uint32)
  # int32 [b], most tokens
  limit: Any = _per_slot(np.int32)
  # int32 [b], least tokens: END is not drawn before
  least: Any = _per_slot(np.int32)
  # float32 [b, e], strengths of the adapters
  strengths: Any
  sampling: Sampling  # arrays, one value a slot

  @classmethod
  def free(cls, count: int, adapters: int = 0) -> "Slots":
    """State of free slots, in NumPy arrays.

    Args:
      count: of the slots.
      adapters: that every slot may mix, e.
    """

    def arrays(kind) -> dict[str, np.ndarray]:
      return {
        field.name: np.full(
          (count, *field.metadata["shape"]),
          field.metadata["free"],
          field.metadata["dtype"],
        )
        for field in dataclasses.fields(kind)
        if field.metadata
      }

    return cls(
      **arrays(cls),
      strengths=np.zeros((count, adapters), np.float32),
      sampling=Sampling(**arrays(Sampling)),
    )

  @classmethod
  def from_dict(cls, arrays: Mapping[str, Any]) -> "Slots":
    """Slots from nested dicts of arrays, the inverse of `to_dict`."""
    none = jnp.zeros((*arrays["ids"].shape, 0), jnp.float32)
    found: dict[str, Any] = {"strengths": none, **arrays}
    sampling = Sampling(**found.pop("sampling"))
    return cls(**found, sampling=sampling)

  def to_dict(self) -> dict[str, Any]:
    """Nested dicts of arrays by field name, as exported functions take them.

    Without adapters there are no strengths among them.
    """
    arrays = {**vars(self), "sampling": dict(vars(self.sampling))}
    if not self.strengths.shape[1]:
      del arrays["strengths"]
    return arrays


@jax.tree_util.register_dataclass
@dataclasses.dataclass(frozen=True, kw_only=True)
class Cache:
  """Keys and values of every layer; a place past a slot's length is finite."""

  keys: tuple[Any, ...]  # [b, k, f, t] each, see `attention.read`
  values: tuple[Any, ...]  # [b, k, t, f] each

  @property
  def slots(self) -> int:
    """Number of slots, b."""
    return self.keys[0].shape[0]

  @property
  def length(self) -> int:
    """Number of places of a slot, t."""
    return self.values[0].shape[2]


@dataclasses.dataclass(frozen=True, kw_only=True)
class CacheShape:
  """Sizes and dtype of a cache that the model fixes."""

  layers: int  # layers of the AR Transformer
  kv_heads: int  # key-value heads of a layer
  features: int  # features of a head
  dtype: str  # dtype of keys and values

  def empty(self, slots: int, length: int) -> Cache:
    """Cache of zeros with so many slots of so many places."""

    def zeros(*shape):
      shape = (slots, self.kv_heads, *shape)
      return tuple(
        jnp.zeros(shape, jnp.dtype(self.dtype)) for _ in range(self.layers)
      )

    return Cache(
      keys=zeros(self.features, length), values=zeros(length, self.features)
    )


def round_places(need: int) -> int:
  """Places of the least allowed cache with at least `need` of them."""
  return max(UNIT, 1 << (need - 1).bit_length())


@functools.partial(jax.jit, static_argnames=("length",))
def resize(cache: Cache, slots: Any, *, length: int) -> Cache:
  """Cache of the chosen slots, int32 [b], with `length` places each."""

  def change(x, time):
    x = jnp.take(x, slots, axis=0)
    x = jax.lax.slice_in_dim(x, 0, min(length, x.shape[time]), axis=time)
    return pad_time(x, time, length)

  return Cache(
    keys=tuple(change(x, 3) for x in cache.keys),
    values=tuple(change(x, 2) for x in cache.values),
  )


@functools.partial(jax.jit, donate_argnames=("cache",))
def place(cache: Cache, prompt: Cache, slot: Any) -> Cache:
  """Cache in which one slot holds a prompt; its former content is gone.

  Args:
    cache: of at least the prompt's places; donated.
    prompt: cache of one slot with p places.
    slot: int32, number of the slot to write.
  """

  def put(old, new, time):
    new = pad_time(new.astype(old.dtype), time, old.shape[time])
    return jax.lax.dynamic_update_slice_in_dim(old, new, slot, 0)

  keys = zip(cache.keys, prompt.keys, strict=True)
  values = zip(cache.values, prompt.values, strict=True)
  return Cache(
    keys=tuple(put(old, new, 3) for old, new in keys),
    values=tuple(put(old, new, 2) for old, new in values),
  )


def pad_time(x: Any, time: int, length: int) -> Any:
  """Pads `x` with zeros up to `length` places of the axis `time`."""
  room = [(0, 0)] * x.ndim
  room[time] = (0, length - x.shape[time])
  return jnp.pad(x, room)
