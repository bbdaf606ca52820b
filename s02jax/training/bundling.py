"""Bundles made of four trained stages that fit together."""

import pathlib
import subprocess
from collections.abc import Mapping
from typing import Any

from s02jax.bundle import MODELS, Bundle
from s02jax.core import files, places
from s02jax.core.errors import UserError
from s02jax.core.trees import count_parameters
from s02jax.text.tokenizer import TextModel
from s02jax.training.trained import Trained


def gather(corpus, workdirs: Mapping[str, str]) -> Bundle:
  """Bundle of the newest checkpoints of the runs on one corpus.

  Args:
    corpus: folder of `s02 corpus`, with text model and, for all models,
      features.
    workdirs: model -> workdir of `s02 train`, or bundle; for all of MODELS, or
      for CODECS.

  Raises:
    UserError: a run that is not there, or runs that do not fit together.
  """
  runs = {name: Trained.load(place, name) for name, place in workdirs.items()}
  corpus = places.at(corpus)
  if set(runs) == set(MODELS):
    features = corpus / "features" / "card.json"
    check_match(
      configs={name: run.config for name, run in runs.items()},
      fingerprints={name: run.fingerprint for name, run in runs.items()},
      features=files.read_json(features, "s02 extract"),
      text_size=TextModel.load(corpus / "text.model").size,
    )
  data = files.read_json(corpus / "card.json", "s02 corpus")
  return Bundle(
    rate=runs["flow_vae"].config["rate"],
    configs={name: run.config for name, run in runs.items()},
    params={name: run.params for name, run in runs.items()},
    text_model=(corpus / "text.model").read_bytes(),
    card={
      # The list of speakers may be long, and is of no use here.
      "data": {k: v for k, v in data.items() if k != "speakers"},
      "commit": _commit(),
      "models": {
        name: {
          "steps": run.step,
          "parameters": count_parameters(run.params),
          "fingerprint": run.fingerprint,
          "metrics": dict(run.metrics),
          **_solver(run.config),
        }
        for name, run in runs.items()
      },
    },
  )


def _solver(config: Mapping[str, Any]) -> dict[str, Any]:
  """Entry of a card for a distilled model: how it is solved, by whom taught."""
  if "distillation" not in config:
    return {}
  taught = config["distillation"]
  return {
    "solver": {"steps": config["solver"]["steps"], "guidance": None},
    "distilled": {"velocity": config["model"]["velocity"]}
    | {name: taught[name] for name in ("teacher", "steps", "guidance")},
  }


def check_match(
  configs: Mapping[str, Mapping[str, Any]],
  fingerprints: Mapping[str, str],
  features: Mapping[str, Any],
  text_size: int,
) -> None:
  """Raises UserError unless the four runs were trained for one another.

  Args:
    configs: model -> its resolved config.
    fingerprints: model -> digest of its parameters.
    features: the corpus's features/card.json.
    text_size: ids of the corpus's text model.
  """
  for name in ("audio_tokenizer", "flow_vae"):
    if features["sources"][name]["fingerprint"] != fingerprints[name]:
      raise UserError(
        f"the features of the corpus come from another checkpoint of {name}:"
        " run `s02 extract` again, then train ar and flow_matching on them."
      )
  for name in ("ar", "flow_matching"):
    for source, fingerprint in configs[name].get("features", {}).items():
      if fingerprint != fingerprints[source]:
        raise UserError(
          f"{name} was trained on features of another checkpoint of {source}:"
          " train it again, in a new workdir."
        )
  latents = configs["flow_matching"]["latents"]
  if any(latents[k] != features[k] for k in ("mean", "std")):
    raise UserError(
      "flow_matching was trained on other features than the corpus has: train"
      " it again on these."
    )
  sizes = {
    "audio_tokenizer: model.vocab_size": (
      configs["audio_tokenizer"]["model"]["vocab_size"],
      text_size,
    ),
    "ar: model.text_size": (configs["ar"]["model"]["text_size"], text_size),
    "ar: model.num_codes": (
      configs["ar"]["model"]["num_codes"],
      features["num_codes"],
    ),
    "flow_matching: model.num_codes": (
      configs["flow_matching"]["model"]["num_codes"],
      features["num_codes"],
    ),
  }
  for name, (value, corpus_value) in sizes.items():
    if value != corpus_value:
      raise UserError(
        f"{name} is {value} and the corpus has {corpus_value}: train that"
        " stage again on this corpus."
      )


def _commit() -> str | None:
  """Git commit of this source tree; None where there is no git."""
  try:
    done = subprocess.run(
      ["git", "rev-parse", "HEAD"],
      cwd=pathlib.Path(__file__).parent,
      capture_output=True,
      text=True,
      check=True,
    )
  except (OSError, subprocess.CalledProcessError):
    return None
  return done.stdout.strip()
