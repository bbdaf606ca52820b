"""Bundle format: one folder that holds all that synthesis needs.

  config.json                  format_version, rate, the four resolved configs
  <model>.safetensors          parameters, keys joined by "/": float32, or fewer
                               bits as `core.tensors.pack` stores them
  text.model                   text vocabulary, as sentencepiece serialises it
  voices/                      named voices, one .safetensors each
  adapters/                    emotions and fine-tunes, one folder each
  voice_prior/                 model that designs voices, if there is one
  card.json                    data, steps, parameter counts, commit, metrics

No pickle: a bundle from a stranger is only numbers and text. A bundle may hold
the audio tokenizer and the Flow-VAE alone: it extracts features for the stages
that are trained next, and does not speak.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import logging
import pathlib
import shutil
from collections.abc import Generator, Iterable, Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from s02jax.core import files, languages, tensors
from s02jax.core.errors import UserError
from s02jax.core.trees import flatten, unflatten
from s02jax.text.front import Audience
from s02jax.text.tokenizer import TextModel

FORMAT_VERSION = 4
CODECS = ("audio_tokenizer", "flow_vae")
MODELS = (*CODECS, "ar", "flow_matching")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Bundle:
  """Bundle in memory, without its voices."""

  rate: int  # sample rate of every waveform in and out, Hz
  configs: Mapping[str, Mapping[str, Any]]  # model -> resolved config
  params: Mapping[str, Mapping[str, Any]]  # model -> nested numpy arrays
  text_model: bytes  # text vocabulary, as sentencepiece serialises it
  card: Mapping[str, Any]  # content of card.json

  @property
  def models(self) -> tuple[str, ...]:
    """Names of the models that are there: all of MODELS, or CODECS."""
    return tuple(name for name in MODELS if name in self.params)

  def stored(self, kind: str) -> "Bundle":
    """Bundle as it is read again from weights of a kind, see `tensors.pack`.

    What is trained on the features of rounded weights needs these very ones.
    """
    params = {}
    for name in self.models:
      packed = tensors.pack(flatten(self.params[name]), kind)
      params[name] = unflatten(tensors.restore(*packed))
    return dataclasses.replace(self, params=params)

  @functools.cached_property
  def text(self) -> TextModel:
    """Text vocabulary."""
    return TextModel(self.text_model)

  @functools.cached_property
  def audience(self) -> Audience:
    """Languages, capitals and characters of the models, for the front end."""
    return _audience(self.card, self.text)

  @functools.cached_property
  def fingerprint(self) -> str:
    """Hexadecimal digest of all parameters; voices name the bundle by it."""
    digest = hashlib.sha256()
    for name in self.models:
      for key, leaf in sorted(flatten(self.params[name]).items()):
        digest.update(f"{name}/{key}".encode())
        digest.update(leaf.tobytes())
    return digest.hexdigest()[:16]

  def write(self, out, kind: str = "float32") -> None:
    """Writes the bundle to the folder `out`, whole or not at all.

    Args:
      out: folder.
      kind: how weights are stored, see `tensors.pack`.

    An existing bundle there is replaced, but its voices and adapters stay; a
    warning names the voices made with other models.

    Raises:
      UserError: `out` is not a bundle, or cannot be written.
    """
    out = pathlib.Path(out)
    _check_replaceable(out)
    with (
      files.explain_errors(out, "the bundle"),
      files.atomic_folder(out) as temporary,
    ):
      self._write_files(temporary, kind)
      _keep_voices(out, temporary, self.stored(kind).fingerprint)

  def _write_files(self, folder: pathlib.Path, kind: str) -> None:
    """Writes all files into an empty folder."""
    config = {
      "format_version": FORMAT_VERSION,
      "rate": self.rate,
      "models": {name: self.configs[name] for name in self.models},
    }
    (folder / "config.json").write_text(_json(config))
    for name in self.models:
      arrays, notes = tensors.pack(flatten(self.params[name]), kind)
      # `save_file` would report a full disk as another kind of error.
      data = safetensors.numpy.save(arrays, notes)
      (folder / f"{name}.safetensors").write_bytes(data)
    (folder / "text.model").write_bytes(self.text_model)
    (folder / "voices").mkdir()
    (folder / "card.json").write_text(_json(self.card))

  @classmethod
  def load(cls, path, models: tuple[str, ...] = MODELS) -> "Bundle":
    """Reads a bundle from its folder.

    Args:
      path: folder.
      models: those that are needed.

    Raises:
      UserError: no bundle, one without these models, or of another version.
    """
    path = pathlib.Path(path)
    config = _read_config(path)
    missing = [name for name in models if name not in config.get("models", ())]
    if missing:
      raise UserError(
        f"{path}: the bundle holds no {' and no '.join(missing)}; give one that"
        " `s02 bundle` made with all stages."
      )
    with _explained(path):
      return cls(
        rate=config["rate"],
        configs={name: config["models"][name] for name in models},
        params={name: _read_params(path, name) for name in models},
        text_model=(path / "text.model").read_bytes(),
        card=_read_card(path),
      )


def load_audience(path) -> Audience:
  """Reads the audience of texts, a bundle's models, without their weights.

  It is a small part of the bundle: texts are checked before all is loaded.

  Raises:
    UserError: as `Bundle.load`.
  """
  path = pathlib.Path(path)
  _read_config(path)
  with _explained(path):
    card = _read_card(path)
    return _audience(card, TextModel((path / "text.model").read_bytes()))


def with_languages(
  card: Mapping[str, Any], codes: Iterable[str]
) -> dict[str, Any]:
  """Card of a bundle that has learnt more languages."""
  known = [*card["data"]["languages"]]
  known += [code for code in codes if code not in known]
  data = dict(card["data"]) | {"languages": known}
  if added := languages.rows(known):
    data["added_languages"] = added
  return dict(card) | {"data": data}


def _read_card(path: pathlib.Path) -> dict[str, Any]:
  """Content of card.json; its user's languages become known."""
  card = json.loads((path / "card.json").read_text())
  languages.add_rows(card["data"].get("added_languages", ()))
  return card


def _audience(card: Mapping[str, Any], text: TextModel) -> Audience:
  """Languages of a card, most heard first, and how its texts were written.

  Bundles made before capitals were folded say nothing of them: their
  vocabulary does.
  """
  data = card["data"]
  rules = data.get("texts", {})
  train = data.get("splits", {}).get("train", {}).get("languages", {})
  return Audience(
    languages=tuple(
      sorted(
        data["languages"],
        key=lambda code: -train.get(code, {}).get("seconds", 0.0),
      )
    ),
    folds=rules.get("capitals") == "folded" or not text.is_in_capitals,
    model=text,
    sounds=tuple(rules.get("sounds", "").split()),
  )


@contextlib.contextmanager
def _explained(path: pathlib.Path) -> Generator[None]:
  """Turns errors of reading the bundle at `path` into UserError."""
  try:
    yield
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
  """JSON text in the bundle's style."""
  return json.dumps(value, indent=1, sort_keys=True) + "\n"


def _read_config(path: pathlib.Path) -> dict[str, Any]:
  """Content of config.json; raises UserError unless it has this version."""
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
  """Parameters of one model as nested dicts."""
  file = path / f"{name}.safetensors"
  file.stat()  # a missing one is named as the others are
  arrays = tensors.read_weights(file)
  return unflatten({key: np.array(x) for key, x in arrays.items()})


def is_bundle(path: pathlib.Path) -> bool:
  """Whether `path` is a bundle of any version."""
  try:
    return "format_version" in json.loads((path / "config.json").read_text())
  except (OSError, ValueError, TypeError):
    return False


def _check_replaceable(out: pathlib.Path) -> None:
  """Raises UserError unless `out` is a bundle, an empty folder or nothing."""
  empty = out.is_dir() and not any(out.iterdir())
  if out.exists() and not empty and not is_bundle(out):
    raise UserError(
      f"{out}: exists and is not a bundle; give --out another name or remove"
      " it."
    )


def _keep_voices(
  old: pathlib.Path, new: pathlib.Path, fingerprint: str
) -> None:
  """Copies what `old`, if it is a bundle, has learnt, and warns of misfits.

  Args:
    old: folder of the bundle that is replaced, if any.
    new: folder of the bundle that replaces it.
    fingerprint: digest of the new bundle's parameters.
  """
  for name in ("adapters", "voice_prior"):
    if (old / name).is_dir():
      shutil.copytree(old / name, new / name)
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
