"""Texts and voices to audio tokens: the AR Transformer at inference.

Shape letters: b batch, p positions, c codes and END, e speaker vector.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from s02jax.core.config import build
from s02jax.models.ar import ARConfig, ARTransformer
from s02jax.models.layers.convnext import lengths_to_mask
from s02jax.pretrained import ge2e
from s02jax.synthesis.batching import counts, pad, plan, stack
from s02jax.synthesis.decode.decoder import Decoding, serving
from s02jax.synthesis.decode.prompts import Drafter
from s02jax.synthesis.decode.slots import PROMPT_UNIT
from s02jax.synthesis.speaker_vectors import SpeakerVectors
from s02jax.text import sequence
from s02jax.text.tokenizer import TextModel

BUDGET = 16 * 1024  # positions of a batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recorded:
  """A text and the tokens of a recording of it."""

  text: str
  language: str
  vector: np.ndarray  # float32 [e], the AR model's, of the speaker
  tokens: np.ndarray  # int32 [s]


@functools.partial(jax.jit, static_argnames=("model",))
def _target_nats(
  model: ARTransformer,
  variables,
  ids: Int[Array, "b p"],
  cursor: Float[Array, "b p"],
  lengths: Int[Array, "b"],
  starts: Int[Array, "b"],
  vectors: Float[Array, "b e"],
) -> Float[Array, ""]:
  """Summed cost of what follows [start] in zero-shot sequences."""
  mask = lengths_to_mask(lengths, ids.shape[1])
  position = jnp.broadcast_to(jnp.arange(ids.shape[1]), ids.shape)
  logits = model.apply(
    variables,
    ids,
    mask.astype(jnp.int32),
    position,
    cursor,
    vectors[:, None],
  )
  last = position == lengths[:, None] - 1
  codes = jnp.roll(ids, -1, axis=1) - model.config.text_size
  target = jnp.where(last, model.config.end, codes)
  in_target = mask & (position >= starts[:, None] - 1)
  chosen = jnp.take_along_axis(
    jax.nn.log_softmax(logits),
    jnp.where(in_target, target, 0)[..., None],
    axis=-1,
  )[..., 0]
  return -jnp.sum(jnp.where(in_target, chosen, 0.0))


class TokenGenerator:
  """The AR Transformer of a bundle."""

  def __init__(
    self,
    config: Mapping[str, Any],
    variables: Mapping[str, Any],
    text: TextModel,
  ):
    """Takes the stage's resolved config and its inference parameters."""
    self.config = build(ARConfig, config["model"], "model")
    self._text = text
    self.variables = jax.tree.map(jnp.asarray, variables)
    self.model = ARTransformer(self.config)
    self.decoding = Decoding(
      self.model, serving(self.variables, jnp.dtype(self.config.dtype))
    )
    self.drafter = Drafter(text, self.config.rate)
    self.encoder = SpeakerVectors(self.model, self.variables, config["mel"])
    self._rate = config["mel"]["rate"]

  def speakers(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The model's vector float32 [e] of each wave float32 [n]."""
    if self.config.speaker.kind == "embedding":
      return ge2e.speaker_vectors(waves, self._rate)
    if self.config.speaker.kind == "none":
      return [np.zeros(0, np.float32)] * len(waves)
    return self.encoder(waves)

  def cost(self, recordings: Sequence[Recorded]) -> float:
    """Mean nats per target token, END included, over all recordings."""
    sequences = [
      sequence.sequence(
        self._text,
        r.language,
        [self._text.pieces(r.text)],
        [r.tokens],
        self.config.rate(r.language),
      )
      for r in recordings
    ]
    ids, cursors = zip(*sequences, strict=True)
    starts = [
      len(row) - len(r.tokens) for row, r in zip(ids, recordings, strict=True)
    ]
    nats = 0.0
    for indices, rows, length in plan(
      [len(row) for row in ids], PROMPT_UNIT, BUDGET
    ):
      chosen = [ids[i] for i in indices]
      nats += float(
        _target_nats(
          self.model,
          self.variables,
          pad(chosen, rows, length),
          pad([cursors[i] for i in indices], rows, length),
          counts(chosen, rows),
          stack([np.int32(starts[i]) for i in indices], rows),
          stack([recordings[i].vector for i in indices], rows),
        )
      )
    return nats / sum(len(r.tokens) + 1 for r in recordings)
