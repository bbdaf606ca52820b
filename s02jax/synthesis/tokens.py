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

from s02jax import layout, verification
from s02jax.config import build
from s02jax.errors import UserError
from s02jax.models.ar import ARConfig, ARTransformer
from s02jax.models.convnext import lengths_to_mask
from s02jax.synthesis.batching import counts, pad, plan, stack
from s02jax.synthesis.decoding import serving
from s02jax.synthesis.request import token_limit
from s02jax.synthesis.sampling import Sampling
from s02jax.synthesis.slots import LONGEST, PROMPT_UNIT, Draft, SlotDecoder
from s02jax.synthesis.speaker import SpeakerVectors
from s02jax.synthesis.voice import Voice
from s02jax.text import TextModel

BUDGET = 16 * 1024  # positions of a batch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Script:
  """A text for a voice to speak."""

  text: str
  language: str
  voice: Voice
  seed: int  # 32 bits, of this request alone
  sampling: Sampling  # numbers


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
    self._variables = jax.tree.map(jnp.asarray, variables)
    self._model = ARTransformer(self.config)
    self._serving = serving(self._variables, jnp.dtype(self.config.dtype))
    self._encoder = SpeakerVectors(self._model, self._variables, config["mel"])
    self._rate = config["mel"]["rate"]

  def speakers(self, waves: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The model's vector float32 [e] of each wave float32 [n]."""
    if self.config.speaker.kind == "embedding":
      return verification.vectors(waves, self._rate)
    if self.config.speaker.kind == "none":
      return [np.zeros(0, np.float32)] * len(waves)
    return self._encoder(waves)

  def slots(self) -> SlotDecoder:
    """Fresh slots to decode in."""
    return SlotDecoder(self._model, self._serving)

  def draft(self, script: Script) -> Draft:
    """What a slot needs to know of a script.

    Raises:
      UserError: a text too long to be spoken in one go.
    """
    ids, cursor = self._prompt(script)
    limit = token_limit(script.text)
    if len(ids) + limit > LONGEST:
      raise UserError(
        f"the text {script.text[:40]!r} has {len(ids)} pieces, too many to be"
        " spoken in one go; give it sentence by sentence."
      )
    return Draft(
      ids=ids,
      cursor=cursor,
      rate=self.config.rate(script.language),
      vector=script.voice.ar_vector,
      seed=script.seed,
      limit=limit,
      sampling=script.sampling,
    )

  def _prompt(self, script: Script) -> tuple[np.ndarray, np.ndarray]:
    """Ids and cursor of what the tokens are to follow."""
    pieces, codes = [self._text.pieces(script.text)], []
    if script.voice.prompt is not None:
      pieces.insert(0, self._text.pieces(script.voice.prompt.text))
      codes = [script.voice.prompt.tokens]
    return layout.sequence(
      self._text,
      script.language,
      pieces,
      codes,
      self.config.rate(script.language),
    )

  def cost(self, recordings: Sequence[Recorded]) -> float:
    """Mean nats per target token, END included, over all recordings."""
    sequences = [
      layout.sequence(
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
          self._model,
          self._variables,
          pad(chosen, rows, length),
          pad([cursors[i] for i in indices], rows, length),
          counts(chosen, rows),
          stack([np.int32(starts[i]) for i in indices], rows),
          stack([recordings[i].vector for i in indices], rows),
        )
      )
    return nats / sum(len(r.tokens) + 1 for r in recordings)
