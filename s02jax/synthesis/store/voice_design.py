"""Voices designed from a description, by the voice prior of a bundle.

The prior is the bundle's folder voice_prior/: card.json, model.safetensors and
space.npz. The same description, tags and seed give the same voices; candidate i
does not depend on how many there are.

Shape letters: b batch, k coordinates, s text ids, a attributes.
"""

import functools
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors
import safetensors.numpy
from jaxtyping import Array, Bool, Float, Int, UInt

from s02jax.bundle import Bundle
from s02jax.core import files
from s02jax.core.config import build
from s02jax.core.errors import UserError
from s02jax.core.trees import flatten, unflatten
from s02jax.data import descriptions
from s02jax.data.voices import VoiceSpace
from s02jax.models import solver
from s02jax.models.voice_prior import VoicePrior, VoicePriorConfig
from s02jax.synthesis.batching import BATCH_SIZES
from s02jax.synthesis.voice import Voice
from s02jax.text.clean import clean
from s02jax.text.tokenizer import TextModel

FOLDER, CARD = "voice_prior", "card.json"
STEPS, GUIDANCE = 24, 2.0  # of the solver
MOST_SEED = 2**31  # of the first candidate
MOST_CANDIDATES = BATCH_SIZES[-1]


class VoiceDesigner:
  """Voice prior of a bundle."""

  def __init__(
    self,
    config: Mapping[str, Any],
    params: Mapping[str, Any],
    space: VoiceSpace,
    text: TextModel,
    fingerprint: str,
  ):
    """Builds the prior.

    Args:
      config: resolved, of the stage.
      params: nested arrays of the model.
      space: of the coordinates.
      text: text model of the bundle.
      fingerprint: of the bundle.
    """
    self._model = VoicePrior(build(VoicePriorConfig, config["model"], "model"))
    self._variables = {"params": params}
    self._longest = config["data"]["longest"]
    self._space, self._text, self._fingerprint = space, text, fingerprint

  @classmethod
  def load(cls, path, text: TextModel, fingerprint: str) -> "VoiceDesigner":
    """Loads the prior of the bundle or export at `path`.

    Args:
      path: folder of the bundle or export.
      text: its text model.
      fingerprint: of the bundle.

    Raises:
      UserError: there is none, it is damaged, or of another base.
    """
    folder = pathlib.Path(path) / FOLDER
    if not is_there(path):
      raise UserError(
        f"{path} has no voice prior; `s02 voice prior` trains one on a corpus."
      )
    card = files.read_json(folder / CARD, "s02 voice prior")
    if card["base"] != fingerprint:
      raise UserError(
        f"{folder}: the voice prior was trained on another base"
        f" ({card['base']}, this bundle is {fingerprint}); train it"
        " again with `s02 voice prior`."
      )
    try:
      data = (folder / "model.safetensors").read_bytes()
      params = unflatten(safetensors.numpy.load(data))
    except (OSError, safetensors.SafetensorError) as error:
      raise UserError(
        f"{folder}: damaged ({error}); train it again with `s02 voice prior`."
      ) from error
    space = VoiceSpace.load(folder)
    return cls(card["config"], params, space, text, fingerprint)

  def design(
    self,
    description: str,
    tags: tuple[int, ...] = descriptions.UNKNOWN,
    *,
    seed: int = 0,
    candidates: int = 5,
    guidance: float = GUIDANCE,
  ) -> list[Voice]:
    """Designs voices that fit a description.

    Args:
      description: in words; may be empty where there are tags.
      tags: attributes, by `descriptions.parse_tags`.
      seed: of the voices; candidate i has the seed `seed` + i.
      candidates: number of voices.
      guidance: towards the description; 1 is none.

    Raises:
      UserError: nothing to go by, letters that the text model never saw, or a
        seed or number of candidates out of range.
    """
    if not 0 <= seed <= MOST_SEED:
      raise UserError(f"seed is {seed}; it must be 0 to {MOST_SEED}.")
    if not 1 <= candidates <= MOST_CANDIDATES:
      raise UserError(
        f"candidates is {candidates}; it must be 1 to {MOST_CANDIDATES}."
      )
    ids = self._ids(description, any(tags))
    rows = next(size for size in BATCH_SIZES if size >= candidates)
    padded = np.zeros((rows, self._longest), np.int32)
    padded[:, : len(ids)] = ids
    mask = np.broadcast_to(np.arange(self._longest) < len(ids), padded.shape)
    codes = _solve(
      self._model,
      self._variables,
      padded,
      mask,
      np.tile(np.array([tags], np.int32), (rows, 1)),
      np.arange(seed, seed + rows).astype(np.uint32),
      np.float32(guidance),
    )[:candidates]
    return [
      Voice(
        ar_vector=ar,
        flow_vector=flow,
        prompt=None,
        fingerprint=self._fingerprint,
      )
      for ar, flow in zip(*self._space.vectors(np.asarray(codes)), strict=True)
    ]

  def _ids(self, description: str, tagged: bool) -> list[int]:
    """Text ids of a description that the model can make something of."""
    text = clean(description)
    letters = [c for c in text if c.isalpha()]
    if not letters and not tagged:
      raise UserError(
        f"the description {description[:40]!r} has no words; describe the"
        " voice, or give tags such as gender=male."
      )
    strange = self._text.unknown(text)
    if sum(c in strange for c in letters) * 2 > len(letters):
      raise UserError(
        f"the description {description[:40]!r} is in letters that the bundle's"
        f" text model never saw ({' '.join(strange[:10])}); write it in a"
        " language of the bundle, or give tags."
      )
    return self._text.pieces(text)[: self._longest]


def is_there(path) -> bool:
  """Whether the bundle or export at `path` has a voice prior."""
  return (pathlib.Path(path) / FOLDER / CARD).is_file()


def add(
  path,
  bundle: Bundle,
  config: Mapping[str, Any],
  params: Mapping[str, Any],
  space: VoiceSpace,
  notes: Mapping[str, Any],
) -> pathlib.Path:
  """Writes a voice prior into a bundle, whole or not at all; its folder.

  Args:
    path: folder of the bundle.
    bundle: read from there.
    config: resolved, of the stage.
    params: nested arrays of the model.
    space: of the coordinates.
    notes: further entries of the card.
  """
  out = pathlib.Path(path) / FOLDER
  card = dict(notes) | {
    "base": bundle.fingerprint,
    "config": {name: config[name] for name in ("model", "data")},
  }
  with (
    files.explain_errors(out, "the voice prior"),
    files.atomic_folder(out) as at,
  ):
    data = safetensors.numpy.save(flatten(params))
    (at / "model.safetensors").write_bytes(data)
    space.save(at)
    text = json.dumps(card, indent=1, sort_keys=True)
    (at / CARD).write_text(text + "\n", encoding="utf-8")
  return out


@functools.partial(jax.jit, static_argnames=("model",))
def _solve(
  model: VoicePrior,
  variables: Mapping[str, Any],
  ids: Int[Array, "b s"],
  mask: Bool[Array, "b s"],
  tags: Int[Array, "b a"],
  seeds: UInt[Array, "b"],
  guidance: Float[Array, ""],
) -> Float[Array, "b k"]:
  """Coordinates of one voice a seed."""
  k = model.config.coordinates
  twice = [jnp.concatenate([x, x]) for x in (ids, mask, tags)]

  def velocity(x, t, end, keep):
    del end
    return model.apply(variables, x[:, 0], t, *twice, keep)[:, None]

  keys = jax.vmap(jax.random.key)(seeds)
  noise = jax.vmap(lambda key: jax.random.normal(key, (1, k)))(keys)
  guided = solver.guide(velocity, guidance)
  return solver.euler(guided, noise, STEPS, 0.0)[:, 0]
