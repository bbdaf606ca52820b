"""Flow matching at inference: tokens and a voice to latents, by chunks.

A chunk is solved behind known latents: the voice's prompt, then the chunks
solved before, as many as its window has room for. Its conditions are exactly
those of the whole utterance, since it brings all the tokens that their
convolutions reach; its noise is a function of the frame's number. An utterance
that is not streamed is one chunk, as far as the longest window has room.

Shape letters: b batch, i tokens of the conditions' reach and the window, s
tokens of the window, r latents per token, l = s · r latents, c latent channels,
e speaker vector, or adapters.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from s02jax.core.config import build
from s02jax.core.rates import tokens
from s02jax.models import solver
from s02jax.models.flow_matching import FlowMatching, FlowMatchingConfig
from s02jax.models.layers import lora
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.synthesis.render.chunks import (
  GUIDANCE,
  STEPS,
  FlowSolver,
  windows,
)
from s02jax.synthesis.speaker_vectors import SpeakerVectors


@functools.partial(jax.jit, static_argnames=("model",))
def flow_chunk(
  model: FlowMatching,
  variables,
  tokens: Int[Array, "b i"],
  token_mask: Bool[Array, "b i"],
  speaker: Float[Array, "b e"],
  known: Float[Array, "b l c"],
  known_lengths: Int[Array, "b"],
  lengths: Int[Array, "b"],
  first: Int[Array, "b"],
  seeds: Int[Array, "b"],
  guidance: Float[Array, "b"],
  strengths: Float[Array, "b e"],
  steps: Int[Array, ""],
) -> Float[Array, "b l c"]:
  """Solves standardised latents of windows, the known ones included.

  Args:
    model: whose `config.reach` is (left, right).
    variables: of the model.
    tokens: left + s + right of them, the window in the middle.
    token_mask: tokens that exist.
    speaker: vectors of the speakers.
    known: latents of the context, anything behind them.
    known_lengths: how many are known.
    lengths: latents of each window, the known ones included.
    first: frame number of each window's first latent.
    seeds: uint32, of the noise.
    guidance: of each window; 1 is none. A model that was distilled does not
      look at it.
    strengths: of each window's adapters.
    steps: of the Euler solver.
  """
  c = model.config
  left = c.reach[0] * c.latents_per_token
  with lora.mixing(strengths):
    condition = model.apply(
      variables, tokens, token_mask, speaker, method="condition"
    )[:, left : left + known.shape[1]]
  mask = lengths_to_mask(lengths, known.shape[1])
  known_mask = lengths_to_mask(known_lengths, known.shape[1])
  keys = jax.vmap(jax.random.key)(seeds)
  noise = solver.start_noise(keys, first, *known.shape[1:])

  def velocity(x, t, end, keep, **conditions):
    mixed = jnp.concatenate([strengths] * (len(x) // len(strengths)))
    with lora.mixing(mixed):
      return model.apply(
        variables, x, t, end=end, keep=keep, **conditions, method="velocity"
      )

  # In training x_t of the prompt lies on the straight line from its noise to
  # its latents, and its velocity is not learned: the solver keeps it there.
  conditions = dict(condition=condition, speaker=speaker, mask=mask)
  conditions |= dict(prompt=known, prompt_mask=known_mask)
  path = solver.path(
    velocity, conditions, noise, guidance if c.guided else None
  )
  return solver.euler(path, noise, steps)


class FlowDecoder:
  """Flow-matching model of a bundle; latents are standardised."""

  def __init__(
    self,
    config: Mapping[str, Any],
    variables: Mapping[str, Any],
    changes: Sequence[lora.Change] = (),
  ):
    """Builds the model.

    Args:
      config: resolved, of the stage.
      variables: inference parameters of the stage.
      changes: of every adapter.
    """
    self.config = build(FlowMatchingConfig, config["model"], "model")
    self.variables = jax.device_put(
      {"params": lora.attach(variables["params"], changes)}
    )
    self.model = FlowMatching(self.config)
    self.speakers = SpeakerVectors(self.model, self.variables, config["mel"])
    self.solver = FlowSolver(
      reach=self.config.reach,
      latents_per_token=self.config.latents_per_token,
      channels=self.config.channels,
      windows=windows(tokens(config["data"]["buckets"][-1])),
      run=functools.partial(flow_chunk, self.model, self.variables),
      adapters=len(changes),
      **solver_settings(config),
    )


def solver_settings(config: Mapping[str, Any]) -> dict[str, Any]:
  """Steps and guidance that a model is solved with unless told otherwise.

  Args:
    config: resolved, of the stage. That of a distilled model says how many
      steps; its guidance is None: it was trained to need none.
  """
  if "solver" not in config:
    return {"steps": STEPS, "guidance": GUIDANCE}
  return {"steps": config["solver"]["steps"], "guidance": None}
