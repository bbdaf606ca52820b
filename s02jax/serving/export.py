"""Export writer: a folder that speaks where s02jax is not installed.

  card.json          version, sizes, platforms, SHA-256 of every other file
  weights/*.safetensors
  programs/*.bin     StableHLO, by jax.export, one for all platforms
  text.model, voices/, voice_prior/
  speak.py           and the code that it needs: with jax, numpy and
  s02_serving/       sentencepiece it runs as it is
  flatbuffers/       the library that jax.export reads StableHLO with

Weights that are stored in fewer bits than they had are widened on reading.
"""

import dataclasses
import importlib.util
import json
import logging
import pathlib
import shutil
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
import safetensors.numpy

from s02jax.bundle import Bundle
from s02jax.core import files, languages, tensors
from s02jax.core.errors import UserError
from s02jax.core.version import VERSION
from s02jax.serving.card import CARD, FORMAT_VERSION, digest
from s02jax.serving.functions import (
  exported_functions,
  exported_weights,
  lower,
)
from s02jax.serving.vendor import copy_code
from s02jax.synthesis import long_text
from s02jax.synthesis.store import adapter_store, voice_design
from s02jax.synthesis.synthesizer import Synthesizer

PLATFORMS = ("cpu", "cuda", "tpu")  # platforms to choose from


def sizes(bundle: Bundle, synthesizer: Synthesizer) -> dict[str, Any]:
  """Sizes and constants of the models that the runtime needs, for the card."""
  ar, matching = synthesizer.generator.config, synthesizer.flow.solver
  latents = bundle.configs["flow_matching"]["latents"]
  return {
    "rate": synthesizer.rate,
    "languages": list(synthesizer.languages),
    "added_languages": languages.rows(synthesizer.languages),
    "fingerprint": synthesizer.fingerprint,
    "emotions": list(synthesizer.emotions),
    "audience": {
      "languages": list(bundle.audience.languages),
      "folds": bundle.audience.folds,
      "sounds": list(bundle.audience.sounds),
    },
    "context": long_text.trained_context(bundle),
    "ar": {
      "text_size": ar.text_size,
      "end": ar.end,
      "cache": dataclasses.asdict(synthesizer.generator.decode_functions.shape),
      "rates": {code: ar.rate(code) for code in languages.BY_CODE},
    },
    "flow_matching": {
      "reach": list(matching.reach),
      "latents_per_token": matching.latents_per_token,
      "channels": matching.channels,
      "windows": list(matching.windows),
      "mean": np.asarray(latents["mean"]).tolist(),
      "std": np.asarray(latents["std"]).tolist(),
      "solver": {"steps": matching.steps, "guidance": matching.guidance},
    },
    "flow_vae": {
      "reach": list(synthesizer.vae.vocoder.reach),
      "hop": synthesizer.vae.vocoder.hop,
      "channels": synthesizer.vae.vocoder.channels,
    },
  }


def write(
  bundle: Bundle,
  source: pathlib.Path,
  out: pathlib.Path,
  *,
  platforms: Sequence[str] = PLATFORMS,
  kind: str = "float32",
) -> dict[str, Any]:
  """Writes the export `out` as a whole; returns its card.

  Args:
    bundle: to be exported.
    source: folder of the bundle, for its voices, adapters and voice prior.
    out: must not exist, or be an export.
    platforms: some of PLATFORMS.
    kind: how weights are stored, one of `tensors.KINDS`.

  Raises:
    UserError: `out` is something else or cannot be written, a package is
      missing, or the model has no speaker encoder of its own.
  """
  if out.exists() and not (out / CARD).is_file():
    raise UserError(
      f"{out} exists and is not an export; give --out another name."
    )
  if importlib.util.find_spec("flatbuffers") is None:
    raise UserError(
      "jax.export needs flatbuffers: pip install 's02jax[serve]'."
    )
  adapters = []
  if (source / "config.json").is_file():
    adapters = adapter_store.load_all(source, bundle.fingerprint)
  synthesizer = Synthesizer(bundle, adapters)
  if synthesizer.generator.config.speaker.kind != "encoder":
    raise UserError(
      "only a model with a speaker encoder of its own can be exported;"
      f" this one's voices are of kind"
      f" {synthesizer.generator.config.speaker.kind!r}."
    )
  with (
    files.explain_errors(out, "the export"),
    files.atomic_folder(out) as temporary,
  ):
    for folder in ("weights", "programs"):
      (temporary / folder).mkdir()
    return _fill(temporary, bundle, synthesizer, source, platforms, kind)


def _fill(folder, bundle, synthesizer, source, platforms, kind):
  """Writes the files of an export into an empty folder; returns the card."""
  arrays_of = exported_weights(synthesizer)
  for name, arrays in arrays_of.items():
    stored, notes = tensors.pack(arrays, kind)
    data = safetensors.numpy.save(stored, notes)
    (folder / "weights" / f"{name}.safetensors").write_bytes(data)
  names = []
  for name, function, arguments in exported_functions(synthesizer, arrays_of):
    logging.info("exporting %s", name)
    exported = lower(function, arguments, platforms)
    (folder / "programs" / f"{name}.bin").write_bytes(exported.serialize())
    names.append(name)
  (folder / "text.model").write_bytes(bundle.text_model)
  for part in ("voices", voice_design.FOLDER):
    if (source / part).is_dir():
      shutil.copytree(source / part, folder / part)
  copy_code(folder)
  files = sorted(p for p in folder.rglob("*") if p.is_file())
  card = {
    "format_version": FORMAT_VERSION,
    "s02jax": VERSION,
    "jax": jax.__version__,
    "platforms": list(platforms),
    "stored_as": kind,
    **sizes(bundle, synthesizer),
    "weights": {m: f"weights/{m}.safetensors" for m in arrays_of},
    "programs": {name: f"programs/{name}.bin" for name in names},
    "files": {str(p.relative_to(folder)): digest(p) for p in files},
  }
  text = json.dumps(card, indent=1) + "\n"
  (folder / CARD).write_text(text, encoding="utf-8")
  return card
