"""Functions of an export: traced from a bundle's models, lowered to StableHLO.

Each takes the weights of its model as an argument, so that they are stored
once.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import export

from s02jax import sharding
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.core.trees import flatten, unflatten
from s02jax.synthesis import speaker_vectors
from s02jax.synthesis.batching import BATCH_SIZES, UNIT, round_up
from s02jax.synthesis.decode import decoder
from s02jax.synthesis.decode.cache import UNIT as PLACES
from s02jax.synthesis.decode.cache import Cache, Slots
from s02jax.synthesis.decode.slots import LONGEST, PROMPT_UNIT, SLOTS
from s02jax.synthesis.render import codecs, flow
from s02jax.synthesis.render.chunks import BUDGET, FEWEST
from s02jax.synthesis.synthesizer import Synthesizer

Shape = jax.ShapeDtypeStruct
# Name, function and abstract arguments.
Exportable = tuple[str, Callable[..., Any], tuple[Any, ...]]
_I32, _F32 = np.dtype(np.int32), np.dtype(np.float32)
_NOTHING = np.zeros(0, np.float32)  # strengths of no adapters


def exported_weights(
  synthesizer: Synthesizer,
) -> dict[str, dict[str, np.ndarray]]:
  """Weights of each model as flat dicts of arrays, as functions take them."""
  trees = {
    "ar": synthesizer.generator.decode_functions.weights,
    "flow_matching": synthesizer.flow.variables,
    "flow_vae": synthesizer.vae.variables,
    "audio_tokenizer": synthesizer.tokenizer.variables,
  }
  return {
    name: flatten(jax.tree.map(np.asarray, tree))
    for name, tree in trees.items()
  }


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
  """Weights of a model as its modules take them, from a flat dict."""
  tree = unflatten(flat)
  if "layers" in tree:
    layers = tree["layers"]
    tree["layers"] = tuple(layers[str(i)] for i in range(len(layers)))
  return tree


def exported_functions(
  synthesizer: Synthesizer, stored: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[Exportable]:
  """All functions that serving needs, with abstract arguments.

  Args:
    synthesizer: that is exported.
    stored: its weights, by `exported_weights`.
  """
  abstract = {
    model: {name: Shape(x.shape, x.dtype) for name, x in arrays.items()}
    for model, arrays in stored.items()
  }
  yield from _decoding(synthesizer, abstract["ar"])
  yield from _rendering(synthesizer, abstract)
  yield from _velocity(synthesizer, abstract["flow_matching"])
  yield from _encoders(synthesizer, abstract)


def _decoding(synthesizer: Synthesizer, w: Any) -> Iterator[Exportable]:
  """AR decoding: `decode_{slots}` and `prompt_{positions}`."""
  model = synthesizer.generator.model
  shape = synthesizer.generator.decode_functions.shape
  mixed = len(synthesizer.emotions)

  def decode(w, cache, slots, steps, enough):
    cache, after, drawn = decoder.decode(
      model,
      _tree(w),
      Cache(keys=cache[0], values=cache[1]),
      Slots.from_dict(slots),
      steps,
      enough,
    )
    changed = after.to_dict()
    del changed["sampling"]
    return (cache.keys, cache.values), changed, drawn

  def prompt(w, ids, cursor, length, vector, strengths=_NOTHING):
    cache = decoder.read_prompt(
      model, _tree(w), ids, cursor, length, vector, strengths
    )
    return cache.keys, cache.values

  whole = Shape((), _I32)
  for count in SLOTS:
    (t,) = export.symbolic_shape("t", constraints=[f"t >= {PLACES}"])
    heads = (count, shape.kv_heads)
    cache = (
      shape.layers * (Shape((*heads, shape.features, t), shape.dtype),),
      shape.layers * (Shape((*heads, t, shape.features), shape.dtype),),
    )
    slots = jax.tree.map(
      lambda x: Shape(x.shape, x.dtype), Slots.free(count, mixed).to_dict()
    )
    yield f"decode_{count}", decode, (w, cache, slots, whole, whole)
  vector = Shape((synthesizer.generator.config.speaker.features,), _F32)
  size = PROMPT_UNIT
  while size <= LONGEST:
    ids, cursor = Shape((size,), _I32), Shape((size,), _F32)
    strengths = (Shape((mixed,), _F32),) if mixed else ()
    arguments = (w, ids, cursor, whole, vector, *strengths)
    yield f"prompt_{size}", prompt, arguments
    size = round_up(size + 1, PROMPT_UNIT)


def _rendering(
  synthesizer: Synthesizer, w: Mapping[str, Any]
) -> Iterator[Exportable]:
  """Rendering: `flow_{batch}_{tokens}`, `vocode_{batch}`, `vocode_whole`."""
  matching, vae = synthesizer.flow.model, synthesizer.vae.model
  c = matching.config

  mixed = len(synthesizer.emotions)

  def solve(w, arrays, steps):
    none = jnp.zeros((len(arrays["tokens"]), 0))
    arrays = {"strengths": none} | arrays
    return flow.flow_chunk(matching, _tree(w), **arrays, steps=steps)

  def vocode(w, z, mask):
    return codecs.vocode_chunk(vae, _tree(w), z, mask)

  def vocode_whole(w, z, mask):
    return vae.apply(_tree(w), z, mask, method="decode")

  for rows in BATCH_SIZES:
    for window in synthesizer.flow.solver.windows:
      if rows > 1 and rows * window > BUDGET:
        continue
      places, latents = window + sum(c.reach), window * c.latents_per_token
      arrays = {
        "tokens": Shape((rows, places), _I32),
        "token_mask": Shape((rows, places), np.dtype(bool)),
        "speaker": Shape((rows, c.speaker_dim), _F32),
        "known": Shape((rows, latents, c.channels), _F32),
        "known_lengths": Shape((rows,), _I32),
        "lengths": Shape((rows,), _I32),
        "first": Shape((rows,), _I32),
        "seeds": Shape((rows,), np.dtype(np.uint32)),
        "guidance": Shape((rows,), _F32),
      }
      if mixed:
        arrays["strengths"] = Shape((rows, mixed), _F32)
      arguments = (w["flow_matching"], arrays, Shape((), _I32))
      yield f"flow_{rows}_{places}", solve, arguments
    (n,) = export.symbolic_shape("l", constraints=[f"l >= {FEWEST}"])
    left, right = vae.config.decoder_reach
    z = (rows, left + n + right, vae.config.channels)
    arguments = (
      w["flow_vae"],
      Shape(z, _F32),
      Shape(z[:2], np.dtype(bool)),
    )
    yield f"vocode_{rows}", vocode, arguments
  (n,) = export.symbolic_shape("l", constraints=[f"l >= {FEWEST}"])
  z = Shape((1, n, vae.config.channels), _F32)
  mask = Shape((1, n), np.dtype(bool))
  yield "vocode_whole", vocode_whole, (w["flow_vae"], z, mask)


def _velocity(synthesizer: Synthesizer, w: Any) -> Iterator[Exportable]:
  """Flow matching in parts for other solvers: `condition_…`, `velocity_…`.

  The conditions are those of one window. The velocity is computed for a batch
  of two, of which guidance needs one with its conditions and one without.
  """
  model = synthesizer.flow.model
  c = model.config
  for window in synthesizer.flow.solver.windows:
    places, latents = window + sum(c.reach), window * c.latents_per_token

    def condition(w, tokens, token_mask, vector, latents=latents):
      whole = model.apply(
        _tree(w), tokens, token_mask, vector, method="condition"
      )
      begin = c.reach[0] * c.latents_per_token
      return whole[:, begin : begin + latents]

    def velocity(w, arrays):
      return model.apply(_tree(w), **arrays, method="velocity")

    arguments = (
      w,
      Shape((1, places), _I32),
      Shape((1, places), np.dtype(bool)),
      Shape((1, c.speaker_dim), _F32),
    )
    yield f"condition_{places}", condition, arguments
    width = jax.eval_shape(condition, *arguments).shape[-1]
    real, flag = (2, latents, c.channels), Shape((2, latents), np.dtype(bool))
    arrays = {
      "x_t": Shape(real, _F32),
      "t": Shape((2,), _F32),
      "condition": Shape((2, latents, width), _F32),
      "speaker": Shape((2, c.speaker_dim), _F32),
      "prompt": Shape(real, _F32),
      "prompt_mask": flag,
      "mask": flag,
      "keep": Shape((2,), np.dtype(bool)),
    }
    if c.velocity == "mean":
      arrays["end"] = Shape((2,), _F32)
    yield f"velocity_{latents}", velocity, (w, arrays)


def _encoders(
  synthesizer: Synthesizer, w: Mapping[str, Any]
) -> Iterator[Exportable]:
  """Encoders of one wave: speaker vectors, audio tokens, posterior of z.

  And `text_log_probs` of audio tokens, which tell when words are heard.
  """
  generator, matching = synthesizer.generator, synthesizer.flow
  tokenizer, vae = synthesizer.tokenizer, synthesizer.vae

  def ar_speaker(w, wave, samples):
    tree = {"params": _tree(w)["params"]}
    mel = generator.encoder.mel
    return speaker_vectors.vectors(generator.model, mel, tree, wave, samples)

  def flow_speaker(w, wave, samples):
    mel = matching.speakers.mel
    return speaker_vectors.vectors(matching.model, mel, _tree(w), wave, samples)

  def tokens(w, wave, samples):
    return codecs.encode(
      tokenizer.model, tokenizer.mel, _tree(w), wave, samples
    )

  def text_log_probs(w, codes, mask):
    return codecs.ctc_log_probs(tokenizer.model, _tree(w), codes, mask)

  def posterior(w, wave, samples):
    return codecs.posterior(vae.model, _tree(w), wave, samples)

  (k,) = export.symbolic_shape("k", constraints=[f"k >= {UNIT}"])
  samples = synthesizer.rate // TOKENS_PER_SECOND
  wave = Shape((1, k * samples), _F32), Shape((1,), _I32)
  for function, model in (
    (ar_speaker, "ar"),
    (flow_speaker, "flow_matching"),
    (tokens, "audio_tokenizer"),
    (posterior, "flow_vae"),
  ):
    yield function.__name__, function, (w[model], *wave)
  codes = Shape((1, k), _I32), Shape((1, k), np.dtype(bool))
  yield "text_log_probs", text_log_probs, (w["audio_tokenizer"], *codes)


def lower(
  function: Callable[..., Any],
  arguments: Sequence[Any],
  platforms: Sequence[str],
) -> export.Exported:
  """Lowers a function for all platforms, the same on whichever this runs.

  Args:
    function: to be jitted.
    arguments: abstract ones.
    platforms: by `jax.export`'s names.
  """
  with sharding.any_platform():
    return export.export(jax.jit(function), platforms=platforms)(*arguments)
