"""Trained stages: parameters, config and last figures read from a workdir."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import stages
from s02jax.bundle import Bundle, is_bundle
from s02jax.core import places
from s02jax.core.errors import UserError
from s02jax.training import checkpoint


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
  """Trained stage at its newest checkpoint, or as a bundle holds it."""

  stage: str
  step: int  # steps taken
  config: Mapping[str, Any]  # resolved config of the run
  params: Mapping[str, Any]  # inference variables, nested dicts of numpy arrays
  metrics: Mapping[str, float]  # figures of the last evaluation, "split/name"

  @classmethod
  def load(cls, workdir, stage: str) -> "Trained":
    """Reads the newest checkpoint of a run, or a stage of a bundle.

    Args:
      workdir: folder that `s02 train` or `s02 bundle` wrote.
      stage: name of the stage that it must hold, or of one that it stands for.

    Raises:
      UserError: no run, no checkpoint, or the run of another stage.
    """
    workdir = places.at(workdir)
    if is_bundle(workdir):
      return cls.of_bundle(Bundle.load(workdir, (stage,)), stage)
    config = _config(workdir)
    if stage not in (
      config["stage"],
      stages.STANDS_FOR.get(config["stage"]),
    ):
      raise UserError(
        f"{workdir}: a run of the stage {config['stage']}; give the workdir of"
        f" {stage}."
      )
    made = stages.make(ConfigDict(config))
    trained = stages.bound(made, stages.frozen_of(made))
    abstract = jax.eval_shape(trained.init_state, jax.random.key(0))
    config, state = checkpoint.load(workdir, abstract)
    return cls(
      stage=stage,
      step=int(state.step),
      config=config,
      params=jax.tree.map(np.asarray, trained.inference_params(state)),
      metrics=_last_evaluation(workdir / "metrics.jsonl"),
    )

  @classmethod
  def of_bundle(cls, bundle: Bundle, stage: str) -> "Trained":
    """Stage as a bundle holds it; steps and figures are those of its card."""
    card = bundle.card["models"].get(stage, {})
    return cls(
      stage=stage,
      step=card.get("steps", 0),
      config=bundle.configs[stage],
      params=bundle.params[stage],
      metrics=card.get("metrics", {}),
    )

  @property
  def fingerprint(self) -> str:
    """Hexadecimal digest of the parameters; names what they extracted."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(self.params)[0]:
      digest.update(jax.tree_util.keystr(path).encode())
      digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _config(workdir: pathlib.Path) -> dict[str, Any]:
  """Resolved config of the run in a folder."""
  try:
    return json.loads((workdir / "config.json").read_text())
  except FileNotFoundError as e:
    raise UserError(
      f"{workdir}: no run here; give a workdir of `s02 train`."
    ) from e
  except (OSError, ValueError) as e:
    raise UserError(f"{workdir}/config.json: cannot be read ({e}).") from e


def _last_evaluation(path: pathlib.Path) -> dict[str, float]:
  """Last value of every evaluation figure of a metrics.jsonl; {} without it."""
  found: dict[str, float] = {}
  if path.is_file():
    for line in path.read_text().splitlines():
      try:
        values = json.loads(line)
      except ValueError:
        continue  # a line cut short by a kill
      found |= {k: v for k, v in values.items() if "/" in k}
  return found
