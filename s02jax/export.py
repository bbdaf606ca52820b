"""`s02 export`: a folder that speaks where s02jax is not installed.

  s02 export --bundle DIR --out DIR [--platforms cpu,cuda,tpu]
    [--weights float32|bfloat16|int8] [--corpus DIR [--clips 32]]

  card.json          version, sizes, platforms, SHA-256 of every other file
  weights/*.safetensors
  programs/*.bin     StableHLO, by jax.export, one for all platforms
  text.model, voices/
  speak.py           and the code that it needs: with jax, numpy and
  s02_serving/       sentencepiece it runs as it is
  flatbuffers/       what jax.export reads programs with

Weights smaller than float32 are a matter of storage: they are widened when they
are read. With --corpus, what that costs is measured on held-out clips: nats
per token of the AR model, and how far the log-mel of speech from the
recordings' own tokens moves.
"""

import argparse
import ast
import dataclasses
import importlib.util
import json
import logging
import pathlib
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import safetensors.numpy
from jax import export

import s02jax
from s02jax import console, languages, sharding
from s02jax.audio import log_mel
from s02jax.bundle import Bundle, flatten, replace_folder, unflatten
from s02jax.data.records import Corpus
from s02jax.errors import UserError
from s02jax.serving import card as cards
from s02jax.serving import runtime as runtimes
from s02jax.serving import tensors
from s02jax.synthesis import codec, decoding, flow, speaker
from s02jax.synthesis.batching import (
  ROWS,
  TOKENS_PER_SECOND,
  UNIT,
  round_up,
)
from s02jax.synthesis.chunks import FEWEST, WINDOWS
from s02jax.synthesis.slots import LONGEST, PROMPT_UNIT, SLOTS
from s02jax.synthesis.slots import UNIT as PLACES
from s02jax.synthesis.state import WINDOW, Cache, Sampling, Slots
from s02jax.synthesis.synthesizer import Synthesizer

PLATFORMS = ("cpu", "cuda", "tpu")
KINDS = ("float32", "bfloat16", "int8")
CODE = "s02_serving"  # the package in the folder

Shape = jax.ShapeDtypeStruct
Program = tuple[str, Callable[..., Any], tuple[Any, ...]]
_I32, _F32 = np.dtype(np.int32), np.dtype(np.float32)


# -------------------------------------------------------------------- programs


def weights(synthesizer: Synthesizer) -> dict[str, dict[str, np.ndarray]]:
  """Arrays by name, by model, as the programs take them."""
  trees = {
    "ar": synthesizer.generator.decoding.weights,
    "flow_matching": synthesizer.flow.variables,
    "flow_vae": synthesizer.vae.variables,
    "audio_tokenizer": synthesizer.tokenizer.variables,
  }
  return {
    name: flatten(jax.tree.map(np.asarray, tree))
    for name, tree in trees.items()
  }


def _tree(flat: Mapping[str, Any]) -> dict[str, Any]:
  """The tree of `weights`."""
  tree = unflatten(flat)
  if "layers" in tree:
    layers = tree["layers"]
    tree["layers"] = tuple(layers[str(i)] for i in range(len(layers)))
  return tree


def programs(
  synthesizer: Synthesizer, stored: Mapping[str, Mapping[str, np.ndarray]]
) -> Iterator[Program]:
  """Name, function and abstract arguments of all that serving needs.

  Args:
    synthesizer: whose models they are.
    stored: what `weights` says of it.
  """
  abstract = {
    model: {name: Shape(x.shape, x.dtype) for name, x in arrays.items()}
    for model, arrays in stored.items()
  }
  yield from _decoding(synthesizer, abstract["ar"])
  yield from _sound(synthesizer, abstract)
  yield from _velocity(synthesizer, abstract["flow_matching"])
  yield from _encoders(synthesizer, abstract)


def _decoding(synthesizer: Synthesizer, w: Any) -> Iterator[Program]:
  model = synthesizer.generator.model
  shape = synthesizer.generator.decoding.shape

  def decode(w, cache, slots, steps, enough):
    slots = Slots(**slots | {"sampling": Sampling(**slots["sampling"])})
    cache = Cache(keys=cache[0], values=cache[1])
    cache, after, drawn = decoding.decode(
      model, _tree(w), cache, slots, steps, enough
    )
    changed = runtimes.as_dict(after)
    del changed["sampling"]
    return (cache.keys, cache.values), changed, drawn

  def prompt(w, ids, cursor, length, vector):
    cache = decoding.read_prompt(model, _tree(w), ids, cursor, length, vector)
    return cache.keys, cache.values

  whole = Shape((), _I32)
  for rows in SLOTS:
    (t,) = export.symbolic_shape("t", constraints=[f"t >= {PLACES}"])
    of = shape.layers * [Shape((rows, shape.kv_heads), shape.dtype)]
    cache = (
      tuple(Shape((*x.shape, shape.features, t), x.dtype) for x in of),
      tuple(Shape((*x.shape, t, shape.features), x.dtype) for x in of),
    )
    yield f"decode_{rows}", decode, (w, cache, _slots(rows), whole, whole)
  vector = Shape((synthesizer.generator.config.speaker.features,), _F32)
  size = PROMPT_UNIT
  while size <= LONGEST:
    ids, cursor = Shape((size,), _I32), Shape((size,), _F32)
    yield f"prompt_{size}", prompt, (w, ids, cursor, whole, vector)
    size = round_up(size + 1, PROMPT_UNIT)


def _slots(rows: int) -> dict[str, Any]:
  """`Slots` of so many rows, as programs take them."""
  whole, real = Shape((rows,), _I32), Shape((rows,), _F32)
  return {
    "active": Shape((rows,), np.dtype(bool)),
    "ids": whole,
    "start": whole,
    "count": whole,
    "cursor": real,
    "rate": real,
    "history": Shape((rows, WINDOW), _I32),
    "seed": Shape((rows,), np.dtype(np.uint32)),
    "limit": whole,
    "least": whole,
    "sampling": {
      "temperature": real,
      "top_k": whole,
      "top_p": real,
      "repetition_penalty": real,
    },
  }


def _sound(synthesizer: Synthesizer, w: Mapping[str, Any]) -> Iterator[Program]:
  matching, vae = synthesizer.flow.model, synthesizer.vae.model
  c = matching.config

  def solve(w, arrays, steps):
    return flow.flow_chunk(matching, _tree(w), **arrays, steps=steps)

  def vocode(w, z, mask):
    return codec.vocode_chunk(vae, _tree(w), z, mask)

  def vocode_whole(w, z, mask):
    return vae.apply(_tree(w), z, mask, method="decode")

  for rows in ROWS:
    for window in WINDOWS:
      places, latents = window + sum(c.reach), window * c.latents_per_token
      arrays = {
        "tokens": Shape((rows, places), _I32),
        "token_mask": Shape((rows, places), np.dtype(bool)),
        "speaker": Shape((rows, c.speaker_dim), _F32),
        "known": Shape((rows, latents, c.channels), _F32),
        "known_lengths": Shape((rows,), _I32),
        "lengths": Shape((rows,), _I32),
        "first": Shape((rows,), _I32),
        "seeds": Shape((rows,), np.dtype(np.uint32)),
        "guidance": Shape((rows,), _F32),
      }
      arguments = (w["flow_matching"], arrays, Shape((), _I32))
      yield f"flow_{rows}_{places}", solve, arguments
    (n,) = export.symbolic_shape("l", constraints=[f"l >= {FEWEST}"])
    left, right = vae.config.decoder_reach
    z = (rows, left + n + right, vae.config.channels)
    arguments = (
      w["flow_vae"],
      Shape(z, _F32),
      Shape(z[:2], np.dtype(bool)),
    )
    yield f"vocode_{rows}", vocode, arguments
  (n,) = export.symbolic_shape("l", constraints=[f"l >= {FEWEST}"])
  z = Shape((1, n, vae.config.channels), _F32)
  mask = Shape((1, n), np.dtype(bool))
  yield "vocode_whole", vocode_whole, (w["flow_vae"], z, mask)


def _velocity(synthesizer: Synthesizer, w: Any) -> Iterator[Program]:
  """Flow matching in parts, for another solver than ours.

  The conditions of a window, one row; the velocity of two rows, of which
  guidance needs one with its conditions and one without.
  """
  model = synthesizer.flow.model
  c = model.config
  for window in WINDOWS:
    places, latents = window + sum(c.reach), window * c.latents_per_token

    def condition(w, tokens, token_mask, vector, latents=latents):
      whole = model.apply(
        _tree(w), tokens, token_mask, vector, method="condition"
      )
      begin = c.reach[0] * c.latents_per_token
      return whole[:, begin : begin + latents]

    def velocity(w, arrays):
      return model.apply(_tree(w), **arrays, method="velocity")

    arguments = (
      w,
      Shape((1, places), _I32),
      Shape((1, places), np.dtype(bool)),
      Shape((1, c.speaker_dim), _F32),
    )
    yield f"condition_{places}", condition, arguments
    width = jax.eval_shape(condition, *arguments).shape[-1]
    real, flag = (2, latents, c.channels), Shape((2, latents), np.dtype(bool))
    arrays = {
      "x_t": Shape(real, _F32),
      "t": Shape((2,), _F32),
      "condition": Shape((2, latents, width), _F32),
      "speaker": Shape((2, c.speaker_dim), _F32),
      "prompt": Shape(real, _F32),
      "prompt_mask": flag,
      "mask": flag,
      "keep": Shape((2,), np.dtype(bool)),
    }
    yield f"velocity_{latents}", velocity, (w, arrays)


def _encoders(
  synthesizer: Synthesizer, w: Mapping[str, Any]
) -> Iterator[Program]:
  generator, matching = synthesizer.generator, synthesizer.flow
  tokenizer, vae = synthesizer.tokenizer, synthesizer.vae

  def ar_speaker(w, wave, samples):
    tree = {"params": _tree(w)["params"]}
    mel = generator.encoder.mel
    return speaker.vectors(generator.model, mel, tree, wave, samples)

  def flow_speaker(w, wave, samples):
    mel = matching.speakers.mel
    return speaker.vectors(matching.model, mel, _tree(w), wave, samples)

  def tokens(w, wave, samples):
    return codec.encode(tokenizer.model, tokenizer.mel, _tree(w), wave, samples)

  def posterior(w, wave, samples):
    return codec.posterior(vae.model, _tree(w), wave, samples)

  (k,) = export.symbolic_shape("k", constraints=[f"k >= {UNIT}"])
  samples = synthesizer.rate // TOKENS_PER_SECOND
  wave = Shape((1, k * samples), _F32), Shape((1,), _I32)
  for function, model in (
    (ar_speaker, "ar"),
    (flow_speaker, "flow_matching"),
    (tokens, "audio_tokenizer"),
    (posterior, "flow_vae"),
  ):
    yield function.__name__, function, (w[model], *wave)


def lowered(
  function: Callable[..., Any],
  arguments: Sequence[Any],
  platforms: Sequence[str],
) -> export.Exported:
  """One program for all platforms, the same on whichever it is written."""
  with sharding.any_platform():
    return export.export(jax.jit(function), platforms=platforms)(*arguments)


# ---------------------------------------------------------------------- folder


def sizes(bundle: Bundle, synthesizer: Synthesizer) -> dict[str, Any]:
  """What the runtime must know of the models."""
  ar, matching = synthesizer.generator.config, synthesizer.flow.solver
  latents = bundle.configs["flow_matching"]["latents"]
  return {
    "rate": synthesizer.rate,
    "languages": list(synthesizer.languages),
    "fingerprint": synthesizer.fingerprint,
    "ar": {
      "text_size": ar.text_size,
      "end": ar.end,
      "cache": dataclasses.asdict(synthesizer.generator.decoding.shape),
      "rates": {code: ar.rate(code) for code in languages.BY_CODE},
    },
    "flow_matching": {
      "reach": list(matching.reach),
      "latents_per_token": matching.latents_per_token,
      "channels": matching.channels,
      "mean": np.asarray(latents["mean"]).tolist(),
      "std": np.asarray(latents["std"]).tolist(),
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
  """Writes the folder `out` as a whole, and returns its card.

  Args:
    bundle: what speaks.
    source: its folder, for the voices.
    out: must not exist, or be an export.
    platforms: some of PLATFORMS.
    kind: one of KINDS.

  Raises:
    UserError: `out` is something else or cannot be written, a package is
      missing, or the model has no speaker encoder of its own.
  """
  if out.exists() and not (out / cards.NAME).is_file():
    raise UserError(
      f"{out} exists and is not an export; give --out another name."
    )
  if importlib.util.find_spec("flatbuffers") is None:
    raise UserError(
      "jax.export needs flatbuffers: pip install 's02jax[serve]'."
    )
  synthesizer = Synthesizer(bundle)
  if synthesizer.generator.config.speaker.kind != "encoder":
    raise UserError(
      "only a model with a speaker encoder of its own can be exported;"
      f" this one's voices are of kind"
      f" {synthesizer.generator.config.speaker.kind!r}."
    )
  temporary = out.with_name(f".{out.name}.part")
  try:
    shutil.rmtree(temporary, ignore_errors=True)
    for folder in ("weights", "programs"):
      (temporary / folder).mkdir(parents=True)
    card = _fill(temporary, bundle, synthesizer, source, platforms, kind)
    replace_folder(temporary, out)
  except OSError as error:
    shutil.rmtree(temporary, ignore_errors=True)
    raise UserError(
      f"{out}: cannot write the export ({error.strerror}); give --out a folder"
      " you may write to, with room for it."
    ) from error
  return card


def _fill(folder, bundle, synthesizer, source, platforms, kind):
  arrays_of = weights(synthesizer)
  for name, arrays in arrays_of.items():
    stored, notes = tensors.packed(arrays, kind)
    data = safetensors.numpy.save(stored, notes)
    (folder / "weights" / f"{name}.safetensors").write_bytes(data)
  names = []
  for name, function, arguments in programs(synthesizer, arrays_of):
    logging.info("program %s", name)
    found = lowered(function, arguments, platforms)
    (folder / "programs" / f"{name}.bin").write_bytes(found.serialize())
    names.append(name)
  (folder / "text.model").write_bytes(bundle.text_model)
  if (source / "voices").is_dir():
    shutil.copytree(source / "voices", folder / "voices")
  copy_code(folder)
  files = sorted(p for p in folder.rglob("*") if p.is_file())
  card = {
    "format_version": cards.FORMAT_VERSION,
    "s02jax": s02jax.__version__,
    "jax": jax.__version__,
    "platforms": list(platforms),
    "stored_as": kind,
    **sizes(bundle, synthesizer),
    "weights": {m: f"weights/{m}.safetensors" for m in arrays_of},
    "programs": {name: f"programs/{name}.bin" for name in names},
    "files": {str(p.relative_to(folder)): cards.digest(p) for p in files},
  }
  text = json.dumps(card, indent=1) + "\n"
  (folder / cards.NAME).write_text(text, encoding="utf-8")
  return card


# ------------------------------------------------------------------------ code


def modules(start: str) -> list[str]:
  """`start` and all modules of s02jax that importing it imports."""
  found: dict[str, None] = {}
  waiting = [start]
  while waiting:
    name = waiting.pop()
    if name in found:
      continue
    found[name] = None
    waiting += _imported(name)
    if "." in name:
      waiting.append(name.rpartition(".")[0])
  return sorted(found)


def _source(module: str) -> pathlib.Path:
  spec = importlib.util.find_spec(module)
  assert spec is not None and spec.origin is not None
  return pathlib.Path(spec.origin)


def _imported(module: str) -> list[str]:
  """Modules of s02jax that a module imports on top, not inside functions."""
  names = []
  for node in ast.parse(_source(module).read_text(encoding="utf-8")).body:
    if isinstance(node, ast.Import):
      names += [x.name for x in node.names]
    elif isinstance(node, ast.ImportFrom):
      names += [f"{node.module}.{x.name}" for x in node.names]
      names.append(str(node.module))
  ours = [name for name in names if name.split(".")[0] == "s02jax"]
  return [name for name in ours if _is_module(name)]


def _is_module(name: str) -> bool:
  try:
    return importlib.util.find_spec(name) is not None
  except ModuleNotFoundError:
    return False


def copy_code(folder: pathlib.Path) -> None:
  """Writes what the runtime imports as a package of its own, and speak.py."""
  root = _source("s02jax").parent
  for module in modules("s02jax.serving.speak"):
    path = _source(module)
    target = folder / CODE / path.relative_to(root)
    if module == "s02jax.serving.speak":
      target = folder / "speak.py"
    target.parent.mkdir(parents=True, exist_ok=True)
    text = path.read_text(encoding="utf-8")
    for word in ("from s02jax", "import s02jax"):
      text = text.replace(word, word.replace("s02jax", CODE))
    target.write_text(text, encoding="utf-8")
  # Licensed under Apache-2.0, as its files say.
  ignore = shutil.ignore_patterns("__pycache__")
  shutil.copytree(
    _source("flatbuffers").parent, folder / "flatbuffers", ignore=ignore
  )


# --------------------------------------------------------------------- quality


@dataclasses.dataclass(frozen=True, kw_only=True)
class Loss:
  """What smaller weights cost, on held-out clips."""

  clips: int
  nats: float  # per token of the AR model, of the whole weights
  nats_stored: float  # of the stored ones
  mel: float  # mean |log-mel| difference of speech from the clips' tokens


def loss(bundle: Bundle, kind: str, corpus: pathlib.Path, clips: int) -> Loss:
  """Measures `reduced` against the bundle on `clips` of the split `unseen`.

  Raises:
    UserError: no corpus, or one without such a split.
  """
  held_out = Corpus.open(corpus, "unseen")
  chosen = np.random.default_rng(0).permutation(len(held_out))[:clips]
  items, waves = [], []
  for i in chosen.tolist():
    code = held_out.languages[held_out.language[i]]
    wave = held_out.wave(i)
    items.append((held_out.text(i), code, wave, wave))
    waves.append(wave)
  nats, mels = [], []
  for one in (bundle, reduced(bundle, kind)):
    synthesizer = Synthesizer(one)
    nats.append(synthesizer.ar_cost(items))
    tokens = synthesizer.tokenize(waves)
    spoken = synthesizer.from_tokens(tokens, waves)
    mel = synthesizer.tokenizer.mel
    mels.append(
      [np.array(log_mel(jnp.asarray(x)[None], mel))[0] for x in spoken]
    )
  gaps = [
    np.abs(a - b).mean() for a, b in zip(*mels, strict=True) if len(a) == len(b)
  ]
  return Loss(
    clips=len(waves),
    nats=nats[0],
    nats_stored=nats[1],
    mel=float(np.mean(gaps)),
  )


def reduced(bundle: Bundle, kind: str) -> Bundle:
  """The bundle, with the weights that its export in this kind would have."""

  def again(x: np.ndarray) -> np.ndarray:
    stored, notes = tensors.packed({"x": x}, kind)
    return tensors.restored(stored, notes)["x"]

  def narrow(path, x):
    # Decoding has every layer by itself, see `decoding.serving`.
    if jax.tree_util.keystr(path, simple=True, separator="/").startswith(
      "params/stack/blocks"
    ):
      return np.stack([again(layer) for layer in x])
    return again(x)

  params = dict(bundle.params)
  params["ar"] = jax.tree_util.tree_map_with_path(narrow, params["ar"])
  for name in ("flow_matching", "flow_vae", "audio_tokenizer"):
    params[name] = jax.tree.map(again, params[name])
  return dataclasses.replace(bundle, params=params)


# ------------------------------------------------------------------------ door


def main(argv: list[str]) -> None:
  """`s02 export`."""
  parser = argparse.ArgumentParser(
    prog="s02 export",
    description=__doc__,
    formatter_class=argparse.RawDescriptionHelpFormatter,
  )
  add = parser.add_argument
  add("--bundle", required=True, type=pathlib.Path, help="that speaks")
  add("--out", required=True, type=pathlib.Path, help="folder to write")
  add("--platforms", default=",".join(PLATFORMS), help="separated by commas")
  add("--weights", default="float32", choices=KINDS, help="as stored")
  add("--corpus", type=pathlib.Path, help="measure smaller weights on it")
  add("--clips", type=int, default=32, help="of the corpus (32)")
  args = parser.parse_args(argv)
  console.set_up()
  platforms = tuple(args.platforms.split(","))
  for name in platforms:
    if name not in PLATFORMS:
      raise UserError(
        f"--platforms {args.platforms}: {name!r} is none of"
        f" {', '.join(PLATFORMS)}."
      )
  bundle = Bundle.load(args.bundle)
  card = write(
    bundle,
    args.bundle,
    args.out,
    platforms=platforms,
    kind=args.weights,
  )
  stored, code = (
    sum((args.out / name).stat().st_size for name in card[part].values())
    for part in ("weights", "programs")
  )
  print(
    f"Wrote {args.out}: {stored / 2**20:.1f} MiB of weights, and"
    f" {len(card['programs'])} programs for {', '.join(platforms)} in"
    f" {code / 2**20:.1f} MiB."
  )
  if args.corpus is not None:
    found = loss(bundle, args.weights, args.corpus, args.clips)
    print(
      f"{args.weights} on {found.clips} held-out clips: {found.nats_stored:.4f}"
      f" nats a token, float32 {found.nats:.4f}; log-mel of speech from their"
      f" own tokens differs by {found.mel:.4f} nepers"
    )
