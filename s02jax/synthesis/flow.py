"""Tokens and voices to latents: flow matching at inference.

Shape letters: b batch, n samples, s tokens, r latents per token, l = s · r
latents, c latent channels, e speaker vector.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from s02jax.config import build
from s02jax.models.convnext import lengths_to_mask
from s02jax.models.flow_matching import FlowMatching, FlowMatchingConfig
from s02jax.synthesis import solver
from s02jax.synthesis.batching import counts, pad, plan, stack
from s02jax.synthesis.speaker import SpeakerVectors
from s02jax.synthesis.voice import Voice

UNIT = 64  # least padded length, in tokens
BUDGET = 4 * 1024  # tokens of a batch: attention is quadratic in a row's length


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line:
  """Tokens to be sounded by a voice, after its prompt if it has one."""

  tokens: np.ndarray  # int32 [s], without the prompt's
  voice: Voice
  seed: int  # 32 bits, of this row's noise alone


@functools.partial(jax.jit, static_argnames=("model",))
def _trajectory(
  model: FlowMatching,
  variables,
  tokens: Int[Array, "b s"],
  lengths: Int[Array, "b"],
  speaker: Float[Array, "b e"],
  prompt: Float[Array, "b l c"],
  prompt_lengths: Int[Array, "b"],
  seeds: Int[Array, "b"],
  steps: Int[Array, ""],
  guidance: Float[Array, ""],
) -> Float[Array, "b l c"]:
  """Noise to latents; static in the shapes alone."""
  token_mask = lengths_to_mask(lengths, tokens.shape[1])
  condition = model.apply(
    variables, tokens, token_mask, speaker, method="condition"
  )
  mask = jnp.repeat(token_mask, model.config.latents_per_token, axis=1)
  prompt_mask = lengths_to_mask(prompt_lengths, prompt.shape[1])
  noise = solver.start_noise(jax.vmap(jax.random.key)(seeds), *prompt.shape[1:])
  twice = jax.tree.map(
    lambda x: jnp.concatenate([x, x]),
    {
      "condition": condition,
      "speaker": speaker,
      "prompt": prompt,
      "prompt_mask": prompt_mask,
      "mask": mask,
    },
  )

  def velocity(x, t, keep):
    return model.apply(variables, x, t, keep=keep, **twice, method="velocity")

  # In training x_t of the prompt lies on the straight line from its noise to
  # its latents, and its velocity is not learned: the solver keeps it there.
  path = solver.follow(
    solver.guide(velocity, guidance), noise, prompt, prompt_mask
  )
  latents = solver.euler(path, noise, steps)
  return jnp.where(prompt_mask[..., None], prompt, latents)


class FlowDecoder:
  """The flow-matching model of a bundle; latents are standardised."""

  def __init__(self, config: Mapping[str, Any], variables: Mapping[str, Any]):
    """Takes the stage's resolved config and its inference parameters."""
    self.config = build(FlowMatchingConfig, config["model"], "model")
    self._variables = jax.tree.map(jnp.asarray, variables)
    self._model = FlowMatching(self.config)
    self.speakers = SpeakerVectors(self._model, self._variables, config["mel"])

  def __call__(
    self,
    lines: Sequence[Line],
    *,
    steps: int,
    guidance: float,
  ) -> list[np.ndarray]:
    """Latents float32 [l, c] of each line, its prompt's own in front."""
    results: list[Any] = [None] * len(lines)
    tokens = [self._with_prompt(line) for line in lines]
    for indices, rows, length in plan([len(t) for t in tokens], UNIT, BUDGET):
      chosen = [lines[i] for i in indices]
      solved = _trajectory(
        self._model,
        self._variables,
        **self._arrays(chosen, [tokens[i] for i in indices], rows, length),
        steps=np.int32(steps),
        guidance=np.float32(guidance),
      )
      for i, row in zip(indices, np.array(solved), strict=False):
        results[i] = row[: len(tokens[i]) * self.config.latents_per_token]
    return results

  def _with_prompt(self, line: Line) -> np.ndarray:
    prompt = line.voice.prompt
    front = prompt.tokens if prompt else np.zeros(0, np.int32)
    return np.concatenate([front, line.tokens]).astype(np.int32)

  def _arrays(self, lines, tokens, rows, length) -> dict[str, np.ndarray]:
    """The batch of `lines`, padded to [rows, length]."""
    c = self.config
    prompts = [
      line.voice.prompt.latents
      if line.voice.prompt
      else np.zeros((0, c.channels), np.float32)
      for line in lines
    ]
    return {
      "tokens": pad(tokens, rows, length),
      "lengths": counts(tokens, rows),
      "speaker": stack([line.voice.flow_vector for line in lines], rows),
      "prompt": pad(prompts, rows, length * c.latents_per_token),
      "prompt_lengths": counts(prompts, rows),
      "seeds": stack([np.uint32(line.seed) for line in lines], rows),
    }
