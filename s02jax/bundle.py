"""The bundle: one folder that holds all that synthesis needs.

  config.json                  format_version, rate, the four resolved configs
  <model>.safetensors          float32 parameters, keys joined by "/"
  text.model                   the text vocabulary
  voices/                      named voices
  card.json                    data, steps, parameter counts, commit, metrics

No pickle: a bundle from a stranger is only numbers and text.
"""

import argparse
import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
import shutil
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np
import safetensors
import safetensors.numpy

from s02jax.errors import UserError
from s02jax.text import TextModel

FORMAT_VERSION = 3
MODELS = ("audio_tokenizer", "flow_vae", "ar", "flow_matching")


# -------------------------------------------------------------- parameters


def flatten(params: Mapping[str, Any]) -> dict[str, np.ndarray]:
  """Nested dicts of arrays to one dict whose keys are joined by "/"."""
  leaves = jax.tree_util.tree_flatten_with_path(params)[0]
  return {
    jax.tree_util.keystr(path, simple=True, separator="/"): (
      np.ascontiguousarray(leaf)
    )
    for path, leaf in leaves
  }


def unflatten(flat: Mapping[str, np.ndarray]) -> dict[str, Any]:
  """Inverse of `flatten`."""
  tree: dict[str, Any] = {}
  for path, leaf in flat.items():
    *folders, name = path.split("/")
    node = tree
    for folder in folders:
      node = node.setdefault(folder, {})
    node[name] = leaf
  return tree


def count_parameters(params: Mapping[str, Any]) -> int:
  """Numbers in a tree of arrays."""
  return sum(int(np.size(leaf)) for leaf in jax.tree.leaves(params))


# ------------------------------------------------------------------ bundle


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
  """A bundle in memory."""

  rate: int  # Hz of every waveform in and out
  configs: Mapping[str, Mapping[str, Any]]  # model -> its stage's config
  params: Mapping[str, Mapping[str, Any]]  # model -> nested numpy arrays
  text_model: bytes  # as sentencepiece serialises it
  card: Mapping[str, Any]

  @functools.cached_property
  def text(self) -> TextModel:
    """The text vocabulary."""
    return TextModel(self.text_model)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hexadecimal digest of all parameters."""
    digest = hashlib.sha256()
    for name in MODELS:
      for key, leaf in sorted(flatten(self.params[name]).items()):
        digest.update(f"{name}/{key}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()[:16]

  def write(self, out) -> None:
    """Writes the folder `out`; there is never half a bundle at that name.

    An existing bundle at `out` is replaced, but for its voices: they stay, and
    those made with other models are named in a warning.

    Raises:
      UserError: `out` is something else than a bundle, or cannot be written.
    """
    out = pathlib.Path(out)
    _check_replaceable(out)
    temporary = out.with_name(f".{out.name}.part")
    try:
      out.parent.mkdir(parents=True, exist_ok=True)
      shutil.rmtree(temporary, ignore_errors=True)
      temporary.mkdir()
      self._write_files(temporary)
      _keep_voices(out, temporary, self.fingerprint)
      replace_folder(temporary, out)
    except OSError as e:
      shutil.rmtree(temporary, ignore_errors=True)
      raise UserError(
        f"{out}: cannot write the bundle ({e.strerror}); give --out a folder"
        " you may write to, with room for it."
      ) from e

  def _write_files(self, folder: pathlib.Path) -> None:
    config = {
      "format_version": FORMAT_VERSION,
      "rate": self.rate,
      "models": {name: self.configs[name] for name in MODELS},
    }
    (folder / "config.json").write_text(_json(config))
    for name in MODELS:
      # Not save_file: that reports a full disk as an error of its own kind.
      data = safetensors.numpy.save(flatten(self.params[name]))
      (folder / f"{name}.safetensors").write_bytes(data)
    (folder / "text.model").write_bytes(self.text_model)
    (folder / "voices").mkdir()
    (folder / "card.json").write_text(_json(self.card))

  @classmethod
  def load(cls, path) -> "Bundle":
    """Reads a bundle.

    Raises:
      UserError: no bundle, an incomplete one, or one of another version.
    """
    path = pathlib.Path(path)
    config = _read_config(path)
    try:
      return cls(
        rate=config["rate"],
        configs=config["models"],
        params={name: _read_params(path, name) for name in MODELS},
        text_model=(path / "text.model").read_bytes(),
        card=json.loads((path / "card.json").read_text()),
      )
    except FileNotFoundError as e:
      raise UserError(
        f"{path}: the bundle lacks {pathlib.Path(e.filename).name}; make it"
        " again with `s02 bundle`."
      ) from e
    except (KeyError, ValueError) as e:
      raise UserError(
        f"{path}: config.json or card.json is damaged ({e}); make the bundle"
        " again with `s02 bundle`."
      ) from e


def _json(value) -> str:
  return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _read_config(path: pathlib.Path) -> dict[str, Any]:
  """config.json of a bundle of this version."""
  try:
    config = json.loads((path / "config.json").read_text())
    version = config["format_version"]
  except (OSError, ValueError, KeyError, TypeError) as e:
    raise UserError(
      f"{path}: not a bundle; give the folder that `s02 bundle` wrote."
    ) from e
  if version != FORMAT_VERSION:
    raise UserError(
      f"{path}: bundle from another version (format {version}, this s02jax"
      f" reads {FORMAT_VERSION}); make it again with `s02 bundle`."
    )
  return config


def _read_params(path: pathlib.Path, name: str) -> dict[str, Any]:
  file = path / f"{name}.safetensors"
  data = file.read_bytes()
  try:
    return unflatten(safetensors.numpy.load(data))
  except safetensors.SafetensorError as e:
    raise UserError(
      f"{file}: damaged weights ({e}); make the bundle again with `s02 bundle`."
    ) from e


def _is_bundle(path: pathlib.Path) -> bool:
  """Whether `path` is a bundle of any version, which may be replaced."""
  try:
    return "format_version" in json.loads((path / "config.json").read_text())
  except (OSError, ValueError, TypeError):
    return False


def _check_replaceable(out: pathlib.Path) -> None:
  empty = out.is_dir() and not any(out.iterdir())
  if out.exists() and not empty and not _is_bundle(out):
    raise UserError(
      f"{out}: exists and is not a bundle; give --out another name or remove"
      " it."
    )


def _keep_voices(
  old: pathlib.Path, new: pathlib.Path, fingerprint: str
) -> None:
  """Copies the voices of the bundle `old`, if it is one, to `new`."""
  strangers = []
  for file in sorted((old / "voices").glob("*.safetensors")):
    shutil.copy2(file, new / "voices" / file.name)
    try:
      with safetensors.safe_open(file, "np") as opened:
        header = opened.metadata() or {}
    except safetensors.SafetensorError:
      header = {}
    if header.get("bundle") != fingerprint:
      strangers.append(file.stem)
  if strangers:
    logging.warning(
      "%s: these voices are kept, but were made with other models; add them"
      " again with --replace: %s",
      old,
      ", ".join(strangers),
    )


def replace_folder(new: pathlib.Path, out: pathlib.Path) -> None:
  """Moves `new` to `out`, whose former content goes."""
  if not out.exists():
    new.rename(out)
    return
  old = out.with_name(f".{out.name}.old")
  shutil.rmtree(old, ignore_errors=True)
  out.rename(old)
  new.rename(out)
  shutil.rmtree(old)


# -------------------------------------------------------------------- door


def gather(corpus, workdirs: Mapping[str, str]) -> Bundle:
  """A bundle of the newest checkpoints of four runs on one corpus.

  Args:
    corpus: folder of `s02 corpus`, with text model and features.
    workdirs: model -> workdir of `s02 train`.

  Raises:
    UserError: a run that is not there, or runs that do not fit together.
  """
  # The door's view, from above the floor of bundles.
  from s02jax.stages.trained import Trained

  runs = {name: Trained.load(workdirs[name], name) for name in MODELS}
  corpus = pathlib.Path(corpus)
  check_match(
    configs={name: run.config for name, run in runs.items()},
    fingerprints={name: run.fingerprint for name, run in runs.items()},
    features=_read_card(corpus / "features" / "card.json", "s02 extract"),
    text_size=TextModel.load(corpus / "text.model").size,
  )
  data = _read_card(corpus / "card.json", "s02 corpus")
  return Bundle(
    rate=runs["flow_vae"].config["rate"],
    configs={name: run.config for name, run in runs.items()},
    params={name: run.params for name, run in runs.items()},
    text_model=(corpus / "text.model").read_bytes(),
    card={
      # Names of speakers are of no use here, and may be long.
      "data": {k: v for k, v in data.items() if k != "speakers"},
      "commit": _commit(),
      "models": {
        name: {
          "steps": run.step,
          "parameters": count_parameters(run.params),
          "fingerprint": run.fingerprint,
          "metrics": dict(run.metrics),
        }
        for name, run in runs.items()
      },
    },
  )


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


def _read_card(path: pathlib.Path, verb: str) -> dict[str, Any]:
  try:
    return json.loads(path.read_text())
  except (OSError, ValueError) as e:
    raise UserError(f"{path}: cannot be read ({e}); `{verb}` writes it.") from e


def _commit() -> str | None:
  """The commit of this source tree; None where there is no git."""
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


def main(argv: list[str]) -> None:
  """`s02 bundle`."""
  parser = argparse.ArgumentParser(
    prog="s02 bundle", description="Gather trained stages into one folder."
  )
  parser.add_argument("--corpus", required=True, help="folder of `s02 corpus`")
  for name in MODELS:
    parser.add_argument(
      f"--{name}", required=True, help="workdir of `s02 train`"
    )
  parser.add_argument("--out", required=True, help="folder to write")
  args = parser.parse_args(argv)
  print(f"Gathering {', '.join(MODELS)} into {args.out}.", flush=True)
  bundle = gather(args.corpus, {name: getattr(args, name) for name in MODELS})
  bundle.write(args.out)
  parameters = sum(m["parameters"] for m in bundle.card["models"].values())
  print(f"Wrote {args.out}: {parameters / 1e6:.1f} million parameters.")


if __name__ == "__main__":
  from s02jax.cli import run

  sys.exit(run(main))
