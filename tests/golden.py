"""Golden files: resolved configs and the sharding of every parameter.

  .venv/bin/python -m tests.golden

writes tests/golden/*.json anew. Do so when a config, a model's parameters or
the sharding table were meant to change, and read the difference.
"""

import importlib
import json
import pathlib
from typing import Any

import jax
from jax.sharding import AbstractMesh, AxisType
from ml_collections import ConfigDict

from configs import common
from s02jax import sharding, stages

FOLDER = pathlib.Path(__file__).parent / "golden"
# What a corpus would fill in.
RESOLVED = {
  "audio_tokenizer": {"model.vocab_size": 512},
  "flow_vae": {"rate": 16000},
  "ar": {
    "model.text_size": 512,
    "model.speaker_id": 1,
    "model.text_rate": 0.5,
    "model.num_codes": 512,
  },
  "flow_matching": {
    "model.num_codes": 512,
    "model.channels": 64,
    "model.latents_per_token": 2,
  },
}
RESOLVED["distillation"] = RESOLVED["flow_matching"] | {
  "model.velocity": "mean"
}


def config(stage: str, size: str) -> ConfigDict:
  """A config as if resolved on a corpus."""
  out = importlib.import_module(f"configs.{stage}").get_config(size)
  out.update_from_flattened_dict(RESOLVED[stage])
  out.corpus = "corpus"
  return out


def configs() -> dict[str, Any]:
  """Every config there is, by stage and size."""
  return {
    f"{stage}:{size}": json.loads(config(stage, size).to_json_best_effort())
    for stage in RESOLVED
    for size in (*common.SIZES, *(["xl"] if stage == "ar" else []))
  }


def shardings(stage: str) -> dict[str, str]:
  """Path -> shape and spec of the parameters, size demo, on 2 × 2 × 2."""
  mesh = AbstractMesh((2, 2, 1, 2), sharding.AXES, (AxisType.Auto,) * 4)
  program = stages.make(config(stage, "demo"))
  state = jax.eval_shape(program.init_state, jax.random.key(0))
  out = {}
  for path, leaf in jax.tree_util.tree_flatten_with_path(state)[0]:
    name = jax.tree_util.keystr(path, simple=True, separator="/")
    spec = sharding.parameter_spec(name, leaf.shape, mesh)
    out[name] = f"{leaf.shape} {tuple(spec)}"
  return out


def files() -> dict[str, Any]:
  """The content of every golden file."""
  return {"configs": configs()} | {
    f"shardings_{stage}": shardings(stage) for stage in RESOLVED
  }


def only_parameters(specs: dict[str, str]) -> dict[str, str]:
  """Specs without moments and averages, which follow the parameters."""
  return {
    name: spec
    for name, spec in specs.items()
    if "opt_state/" not in name and "ema/" not in name
  }


def write() -> None:
  """Writes the files."""
  FOLDER.mkdir(exist_ok=True)
  for name, content in files().items():
    if name != "configs":
      content = only_parameters(content)
    text = json.dumps(content, indent=1, sort_keys=True) + "\n"
    (FOLDER / f"{name}.json").write_text(text)
    print(f"wrote {name}.json")


if __name__ == "__main__":
  write()
