"""Adapters of a bundle: one folder each in its folder adapters/.

  adapters/NAME/card.json                kind, base, scale, data, steps, licence
  adapters/NAME/<model>.safetensors      A and B by path, or all parameters
  adapters/NAME/text.model               of a language with pieces of its own

The kind `lora` changes models at the moment of speaking, in any mixture; `full`
replaces them, and speaks once it is merged into a bundle of its own.
"""

import dataclasses
import datetime
import json
import logging
import pathlib
import re
import shutil
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy

from s02jax.bundle import Bundle, with_languages
from s02jax.core import files, inputs, languages
from s02jax.core.errors import UserError
from s02jax.core.trees import flatten, unflatten
from s02jax.models.layers import lora

MODELS = ("ar", "flow_matching")
KINDS = ("lora", "full")
FORMAT_VERSION = 1
FOLDER, CARD, TEXT = "adapters", "card.json", "text.model"
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Adapter:
  """Adapter in memory."""

  name: str  # letters, digits, - and _
  kind: str  # one of KINDS
  base: str  # fingerprint of the bundle it was trained on
  # Model -> arrays by path: A and B of `lora`, or nested parameters.
  weights: Mapping[str, Mapping[str, Any]]
  scale: float = 1.0  # of A B
  text_model: bytes | None = None  # replaces that of the bundle
  notes: Mapping[str, Any] = dataclasses.field(default_factory=dict)

  def change(self, model: str) -> lora.Change:
    """Change of a model; nothing where the adapter leaves it alone."""
    return self.weights.get(model, {}), self.scale


# ------------------------------------------------------------------- the folder


def folder(bundle) -> pathlib.Path:
  """Folder of a bundle's adapters, which need not exist.

  Raises:
    UserError: `bundle` is no bundle.
  """
  if not (pathlib.Path(bundle) / "config.json").is_file():
    raise UserError(
      f"{bundle}: not a bundle; give the folder that `s02 bundle` wrote."
    )
  return pathlib.Path(bundle) / FOLDER


def names(bundle) -> list[str]:
  """Names of all adapters of the bundle at `bundle`, sorted."""
  cards = folder(bundle).glob(f"*/{CARD}")
  return sorted(p.parent.name for p in cards if _NAME.fullmatch(p.parent.name))


def check_name(name: str) -> None:
  """Raises UserError for what is no name of an adapter."""
  if not _NAME.fullmatch(name):
    raise UserError(
      f"{name!r} is no name for an adapter: use at most 64 letters a-z, digits,"
      " - and _."
    )


def check_free(bundle, name: str, replace: bool) -> None:
  """Raises UserError if the name is none, or is taken."""
  check_name(name)
  if name in names(bundle) and not replace:
    raise UserError(
      f"{bundle} has an adapter {name!r} already; give --replace or another"
      " name."
    )


def card(bundle, name: str) -> dict[str, Any]:
  """Content of an adapter's card.

  Raises:
    UserError: there is none of this name, or it is damaged.
  """
  path = folder(bundle) / name / CARD
  if not _NAME.fullmatch(name) or not path.is_file():
    known = names(bundle)
    held = ", ".join(known) or "none yet: `s02 adapt` trains some"
    raise UserError(
      f"{bundle} has no adapter {name!r}{inputs.hint(name, known)}; it has"
      f" {held}."
    )
  found = files.read_json(path, "s02 adapt")
  if found.get("adapter_version") != FORMAT_VERSION:
    raise UserError(
      f"{path.parent}: not an adapter of this version; train it again with"
      " `s02 adapt`."
    )
  return found


def remove(bundle, name: str) -> None:
  """Removes an adapter; raises UserError if there is none of this name."""
  card(bundle, name)
  shutil.rmtree(folder(bundle) / name)


# ------------------------------------------------------------- reading, writing


def add(bundle, adapter: Adapter, replace: bool = False) -> pathlib.Path:
  """Writes an adapter into a bundle, whole or not at all; returns its folder.

  Raises:
    UserError: the name is none or is taken, or it cannot be written.
  """
  check_free(bundle, adapter.name, replace)
  out = folder(bundle) / adapter.name
  now = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
  values = dict(adapter.notes) | {
    "adapter_version": FORMAT_VERSION,
    "kind": adapter.kind,
    "base": adapter.base,
    "scale": adapter.scale,
    "models": sorted(adapter.weights),
    "made": now,
  }
  with files.explain_errors(out, "the adapter"), files.atomic_folder(out) as at:
    for model, tree in adapter.weights.items():
      data = safetensors.numpy.save(flatten(tree))
      (at / f"{model}.safetensors").write_bytes(data)
    if adapter.text_model is not None:
      (at / TEXT).write_bytes(adapter.text_model)
    text = json.dumps(values, indent=1, sort_keys=True, ensure_ascii=False)
    (at / CARD).write_text(text + "\n", encoding="utf-8")
  return out


def load(bundle, name: str, fingerprint: str) -> Adapter:
  """Reads an adapter.

  Args:
    bundle: folder of the bundle.
    name: of the adapter.
    fingerprint: of the bundle that is to speak with it.

  Raises:
    UserError: none of this name, a damaged one, or one of another base.
  """
  values = card(bundle, name)
  at = folder(bundle) / name
  if values["base"] != fingerprint:
    raise UserError(_stranger(bundle, name, values, fingerprint))
  text = at / TEXT
  return Adapter(
    name=name,
    kind=values["kind"],
    base=values["base"],
    scale=values["scale"],
    weights={
      model: _weights(at / f"{model}.safetensors", values["kind"])
      for model in values["models"]
    },
    text_model=text.read_bytes() if text.is_file() else None,
    notes=values,
  )


def load_all(bundle, fingerprint: str) -> list[Adapter]:
  """Reads all adapters that speak in mixtures, sorted by name.

  Those of another base are left out, and a warning names each: a bundle that
  was made again speaks on without them.

  Raises:
    UserError: a damaged adapter.
  """
  found = []
  for name in names(bundle):
    values = card(bundle, name)
    if values["base"] != fingerprint:
      logging.warning("%s", _stranger(bundle, name, values, fingerprint))
    elif values["kind"] == "lora":
      found.append(load(bundle, name, fingerprint))
  return found


def _stranger(bundle, name: str, values, fingerprint: str) -> str:
  """Sentence on an adapter of another base."""
  return (
    f"{folder(bundle) / name}: the adapter was trained on another base"
    f" ({values['base']}, this bundle is {fingerprint}); train it again with"
    f" `s02 adapt`, or remove it with `s02 adapter remove {name}`."
  )


def _weights(path: pathlib.Path, kind: str) -> dict[str, Any]:
  """Weights of one model: A and B by path, or nested parameters."""
  try:
    flat = safetensors.numpy.load(path.read_bytes())
  except (OSError, safetensors.SafetensorError) as error:
    raise UserError(
      f"{path}: damaged weights ({error}); train the adapter again with"
      " `s02 adapt`."
    ) from error
  if kind != "lora":
    return unflatten(flat)
  pairs: dict[str, dict[str, np.ndarray]] = {}
  for name, leaf in flat.items():
    kernel, _, part = name.rpartition("/")
    pairs.setdefault(kernel, {})[part] = leaf
  return pairs


# --------------------------------------------------------------------- merging


def merged(
  bundle: Bundle, adapters: Sequence[Adapter], strengths: Sequence[float]
) -> Bundle:
  """Bundle whose models have taken adapters in for good.

  Args:
    bundle: the adapters' base.
    adapters: changes, of which at most one is `full`.
    strengths: of each; a `full` one replaces and has none but 1.

  Raises:
    UserError: several adapters that replace the models, or part of one.
  """
  whole = [a for a in adapters if a.kind == "full"]
  if len(whole) > 1 or any(
    strength != 1 and adapter.kind == "full"
    for adapter, strength in zip(adapters, strengths, strict=True)
  ):
    raise UserError(
      "an adapter that holds all parameters is merged whole and alone of its"
      " kind; give one of them, at strength 1."
    )
  params, configs = dict(bundle.params), dict(bundle.configs)
  text = bundle.text_model
  for adapter in whole:
    for model, tree in adapter.weights.items():
      params[model] = {"params": tree}
    text = adapter.text_model or text
  for adapter, strength in zip(adapters, strengths, strict=True):
    if adapter.kind == "lora":
      for model, pairs in adapter.weights.items():
        scale = strength * adapter.scale
        changed = lora.change(params[model]["params"], pairs, scale)
        params[model] = {"params": _arrays(changed)}
  if text != bundle.text_model:
    size = len(params["ar"]["params"]["embed"]["embedding"])
    model = configs["ar"]["model"]
    grown = dict(model) | {"text_size": size - model["num_codes"]}
    for adapter in whole:
      rates = adapter.notes.get("text_rates", [])
      grown["text_rates"] = [*(dict(rates) | dict(grown["text_rates"])).items()]
    configs["ar"] = dict(configs["ar"]) | {"model": grown}
  taken = [
    {"name": a.name, "strength": s, "base": a.base}
    for a, s in zip(adapters, strengths, strict=True)
  ]
  card = bundle.card
  for adapter in whole:
    languages.add_rows(adapter.notes.get("added_languages", ()))
    card = with_languages(card, adapter.notes.get("languages", ()))
  return dataclasses.replace(
    bundle,
    params=params,
    configs=configs,
    text_model=text,
    card=dict(card) | {"merged": [*bundle.card.get("merged", []), *taken]},
  )


def _arrays(tree: Mapping[str, Any]) -> dict[str, Any]:
  """Nested dicts with NumPy arrays as leaves."""
  return unflatten({k: np.asarray(v) for k, v in flatten(tree).items()})
