"""Decoding of the AR Transformer: slots over a static key-value cache.

A slot is one entry of the cache's and of `Slots`' first axis. Requests come and
go: `prefill` puts one into a slot, `decode` draws tokens for all active slots.
The tokens of a slot depend on its own request alone, up to the rounding of the
products.

The id that a slot reads next is kept beside the cache, the prompt's last one
to begin with: a step reads it, then draws the token that follows. So a slot
goes back to an earlier token by resetting its entry of `Slots`.

Shape letters: b slots, p prompt positions, t places of the cache, k key-value
heads, f features of a head, n tokens, o speaker vector, d width, e adapters.
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from s02jax.models.ar import ARTransformer
from s02jax.models.layers import attention, lora
from s02jax.models.layers.transformer import Block
from s02jax.synthesis.decode.cache import (
  BURST,
  NOTHING,
  Cache,
  CacheShape,
  Slots,
  pad_time,
  place,
  round_places,
)
from s02jax.synthesis.decode.sampling import sample

Weights = Mapping[str, Any]


# ------------------------------------------------------------------- weights


def decode_weights(variables: Weights, dtype: jnp.dtype) -> Weights:
  """Parameters arranged for decoding, where reading them takes the time.

  Every layer has arrays of its own, since a part of a stacked array would be
  copied for each token; kernels are transposed, as products of a few rows read
  them; and they have the dtype of the products.

  They are arranged in NumPy: on a device each shape would be a program of its
  own to compile.
  """

  def arrange(path, leaf):
    if not _is_kernel(path):
      return leaf
    return np.ascontiguousarray(leaf.T, dtype)

  params = jax.tree.map(np.asarray, dict(variables["params"]))
  stack = dict(params["stack"])
  blocks = stack.pop("blocks")
  count = len(jax.tree.leaves(blocks)[0])
  layers = [jax.tree.map(lambda x, i=i: x[i], blocks) for i in range(count)]
  head = params.pop("head")
  return jax.device_put(
    {
      "params": params | {"stack": stack},
      "layers": tuple(
        jax.tree_util.tree_map_with_path(arrange, x) for x in layers
      ),
      "head": jax.tree_util.tree_map_with_path(arrange, head),
    }
  )


def _module_weights(tree: Weights) -> Weights:
  """Weights as the modules take them, from those of `decode_weights`."""
  return jax.tree_util.tree_map_with_path(
    lambda path, leaf: leaf.T if _is_kernel(path) else leaf, tree
  )


def _is_kernel(path) -> bool:
  """Whether a tree path ends at a kernel."""
  return jax.tree_util.keystr(path, simple=True).endswith("kernel")


def _run(model: ARTransformer, weights: Weights, x, turn, attends, strengths):
  """Runs x [b, s, d] through all layers, each with its own `attend`.

  The layers' products are changed by the adapters at the strengths [b, e].
  """
  cfg = model.config
  block = Block(cfg.transformer, jnp.dtype(cfg.dtype))
  with lora.mixing(strengths):
    for layer, attend in zip(weights["layers"], attends, strict=True):
      params = {"params": _module_weights(layer)}
      x = block.apply(params, x, turn, attend, method="layer")
  return x


def _apply(model: ARTransformer, weights: Weights, method: str, *args):
  """Calls a method of the model that lies outside of the layers."""
  params = weights["params"] | {"head": _module_weights(weights["head"])}
  return model.apply({"params": params}, *args, method=method)


# -------------------------------------------------------------------- prompts


@functools.partial(jax.jit, static_argnames=("model",))
def read_prompt(
  model: ARTransformer,
  weights: Weights,
  ids: Int[Array, "p"],
  cursor: Float[Array, "p"],
  length: Int[Array, ""],
  speaker: Float[Array, "o"],
  strengths: Float[Array, "e"],
) -> Cache:
  """Reads a prompt into a cache of one slot and `round_places(p)` places.

  So a cache that it is put into meets prompts of few lengths, and few programs
  put them there.

  Args:
    ids: a prompt without its last id, padded on the right with anything.
    cursor: positions of `ids` in the text, see `s02jax.text.sequence`.
    length: of the prompt without its last id, 1 to p.
    speaker: vector of the voice.
    strengths: of the adapters.
  """
  places = jnp.arange(len(ids))[None]
  segment = (places < length).astype(jnp.int32)
  cursors = jnp.where(segment > 0, cursor[None], 0)
  turn = model.config.transformer.turn(*model.config.axes(places, cursors))
  mask = attention.row_mask(
    segment, places, 1, model.config.transformer.head_dim
  )
  x = _apply(model, weights, "inputs", ids[None], segment, speaker[None, None])
  fresh = []

  def attend(query, key, value):
    fresh.append((key, value))
    return attention.attention(query, key, value, mask)

  attends = [attend] * len(weights["layers"])
  _run(model, weights, x, turn, attends, strengths[None])
  size = round_places(len(ids))
  return Cache(
    keys=tuple(
      pad_time(key.transpose(0, 2, 3, 1), 3, size) for key, _ in fresh
    ),
    values=tuple(
      pad_time(value.transpose(0, 2, 1, 3), 2, size) for _, value in fresh
    ),
  )


# -------------------------------------------------------------------- tokens


def _append(old, new, places, time):
  """Writes keys or values of one place into every slot.

  Args:
    old: [b, k, f, t] with `time` 3 or [b, k, t, f] with `time` 2.
    new: [b, 1, k, f], what is written.
    places: [b], the place of each slot.
    time: axis of `old` that holds the places.
  """
  new = jnp.expand_dims(new[:, 0].astype(old.dtype), time)
  return jax.vmap(
    lambda row, x, place: jax.lax.dynamic_update_slice_in_dim(
      row, x, place, time - 1
    )
  )(old, new, places)


def _read(
  model: ARTransformer, weights: Weights, cache: Cache, slots: Slots
) -> tuple[Float[Array, "b c"], Cache]:
  """Reads one id a slot: logits of the next token, and the cache with it."""
  places = slots.start + slots.count
  cursor = slots.cursor + slots.count * slots.rate
  axes = model.config.axes(places[:, None], cursor[:, None])
  turn = model.config.transformer.turn(*axes)
  keys, values = list(cache.keys), list(cache.values)

  def attend_in(i):
    def attend(query, key, value):
      keys[i] = _append(keys[i], key, places, time=3)
      values[i] = _append(values[i], value, places, time=2)
      return attention.read(query, keys[i], values[i], places + 1)

    return attend

  x = _apply(model, weights, "look_up", slots.ids[:, None])
  attends = [attend_in(i) for i in range(len(keys))]
  x = _run(model, weights, x, turn, attends, slots.strengths)
  logits = _apply(model, weights, "following", x)[:, 0]
  return logits, Cache(keys=tuple(keys), values=tuple(values))


def _draw(
  model: ARTransformer, logits: Float[Array, "b c"], slots: Slots
) -> tuple[Int[Array, "b"], Slots]:
  """Draws each slot's next token, END or NOTHING; and the slots after it."""
  cfg = model.config
  classes = jnp.arange(cfg.num_codes + 1)
  is_end = (classes == cfg.end)[None]
  early = (slots.count < slots.least)[:, None] & is_end
  keys = jax.vmap(lambda s, n: jax.random.fold_in(jax.random.key(s), n))(
    slots.seed, slots.count
  )
  drawn = sample(
    jnp.where(early, -jnp.inf, logits), keys, slots.sampling, slots.history
  )
  speaks = slots.active & (drawn != cfg.end)
  count = slots.count + speaks
  pushed = jnp.concatenate([slots.history[:, 1:], drawn[:, None]], axis=1)
  after = dataclasses.replace(
    slots,
    active=speaks & (count < slots.limit),
    ids=jnp.where(speaks, drawn + cfg.text_size, slots.ids),
    count=count,
    history=jnp.where(speaks[:, None], pushed, slots.history),
  )
  return jnp.where(slots.active, drawn, NOTHING), after


@functools.partial(
  jax.jit, static_argnames=("model",), donate_argnames=("cache",)
)
def decode(
  model: ARTransformer,
  weights: Weights,
  cache: Cache,
  slots: Slots,
  steps: Int[Array, ""],
  enough: Int[Array, ""],
) -> tuple[Cache, Slots, Int[Array, "b n"]]:
  """Draws up to `steps` tokens for every active slot.

  Args:
    cache: with room for them; donated.
    slots: state of each slot.
    steps: at most BURST.
    enough: goes on while at least so many slots are active, 1 or more.

  Returns:
    Cache and slots after the draws, and the tokens drawn [b, BURST]: codes,
    END, or NOTHING where a slot was not active any more.
  """

  def goes_on(state):
    step, _, slots, _ = state
    return (step < steps) & (slots.active.sum() >= enough)

  def body(state):
    step, cache, slots, drawn = state
    logits, cache = _read(model, weights, cache, slots)
    fresh, slots = _draw(model, logits, slots)
    return step + 1, cache, slots, drawn.at[:, step].set(fresh)

  nothing = jnp.full((len(slots.ids), BURST), NOTHING, jnp.int32)
  _, cache, slots, drawn = jax.lax.while_loop(
    goes_on, body, (jnp.int32(0), cache, slots, nothing)
  )
  return cache, slots, drawn


# ------------------------------------------------------------------ functions


class CompiledDecodeFunctions:
  """Decode functions of a model, compiled when they are first called."""

  def __init__(self, model: ARTransformer, weights: Weights, adapters: int = 0):
    """Stores the model and its arranged weights.

    Args:
      model: the AR Transformer.
      weights: its variables, by `decode_weights`.
      adapters: whose changes `lora.attach` put beside the kernels.
    """
    self.adapters = adapters
    c = model.config
    self.text_size = c.text_size
    self.shape = CacheShape(
      layers=c.transformer.layers,
      kv_heads=c.transformer.kv_heads,
      features=c.transformer.head_dim,
      dtype=c.dtype,
    )
    self.model, self.weights = model, weights

  def prefill(
    self, cache: Cache, ids, cursor, length, speaker, strengths, slot
  ) -> Cache:
    """Reads a prompt into a slot of `cache`, which is donated."""
    prompt = read_prompt(
      self.model, self.weights, ids, cursor, length, speaker, strengths
    )
    return place(cache, prompt, slot)

  def decode(
    self, cache: Cache, slots: Slots, steps, enough
  ) -> tuple[Cache, Slots, Array]:
    """Draws tokens for all active slots; see the module's `decode`."""
    return decode(self.model, self.weights, cache, slots, steps, enough)
