"""What a run has learned: its newest checkpoint, ready for inference."""

import dataclasses
import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from s02jax import checkpoint, stages
from s02jax.errors import UserError


@dataclasses.dataclass(frozen=True, kw_only=True)
class Trained:
  """One stage at its newest checkpoint."""

  stage: str
  step: int  # steps taken
  config: Mapping[str, Any]  # resolved
  params: Mapping[str, Any]  # of inference, nested dicts of numpy arrays
  metrics: Mapping[str, float]  # of the last evaluation, "split/name"

  @classmethod
  def load(cls, workdir, stage: str) -> "Trained":
    """Reads the workdir of `s02 train` for `stage`.

    Raises:
      UserError: no run, no checkpoint, or the run of another stage.
    """
    workdir = pathlib.Path(workdir)
    config = _config(workdir)
    if config["stage"] != stage:
      raise UserError(
        f"{workdir}: a run of the stage {config['stage']}; give the workdir of"
        f" {stage}."
      )
    program = stages.make(ConfigDict(config))
    abstract = jax.eval_shape(program.init_state, jax.random.key(0))
    config, state = checkpoint.load(workdir, abstract)
    return cls(
      stage=stage,
      step=int(state.step),
      config=config,
      params=jax.tree.map(np.asarray, program.inference_params(state)),
      metrics=_last_evaluation(workdir / "metrics.jsonl"),
    )

  @property
  def fingerprint(self) -> str:
    """Hexadecimal digest of the parameters."""
    digest = hashlib.sha256()
    for path, leaf in jax.tree_util.tree_flatten_with_path(self.params)[0]:
      digest.update(jax.tree_util.keystr(path).encode())
      digest.update(np.ascontiguousarray(leaf).tobytes())
    return digest.hexdigest()[:16]


def _config(workdir: pathlib.Path) -> dict[str, Any]:
  try:
    return json.loads((workdir / "config.json").read_text())
  except FileNotFoundError as e:
    raise UserError(
      f"{workdir}: no run here; give a workdir of `s02 train`."
    ) from e
  except (OSError, ValueError) as e:
    raise UserError(f"{workdir}/config.json: cannot be read ({e}).") from e


def _last_evaluation(path: pathlib.Path) -> dict[str, float]:
  """Keys with a split of the last lines that have them; {} without a file."""
  found: dict[str, float] = {}
  if path.is_file():
    for line in path.read_text().splitlines():
      try:
        values = json.loads(line)
      except ValueError:
        continue  # a line cut short by a kill
      found |= {k: v for k, v in values.items() if "/" in k}
  return found
