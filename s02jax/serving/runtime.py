"""Runtime of an export, with jax, numpy and sentencepiece alone.

  runtime = Runtime.load("exported")
  voice = runtime.stored("anna")
  for wave in runtime.stream(Request(text="Yes.", language="en", voice=voice)):
    ...

The engine is that of a bundle (`synthesis/engine.py`); its models are functions
written by `jax.export`, compiled for this machine when they are first called
and kept in JAX's compilation cache. Nothing here imports the models:
`s02 export` copies this module, with the few it needs, into the folder.

Shape letters: n samples, e vector, s tokens, l latents, c latent channels,
v text ids.
"""

import dataclasses
import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import export

from s02jax.core import tensors
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, whole_tokens
from s02jax.serving.card import read_card
from s02jax.synthesis.batching import UNIT, round_up
from s02jax.synthesis.decode.cache import Cache, CacheShape, Slots, place
from s02jax.synthesis.decode.prompts import PromptBuilder
from s02jax.synthesis.pipeline import Parts, Pipeline, Waves
from s02jax.synthesis.render.chunks import STREAMED, ChunkVocoder, FlowSolver
from s02jax.synthesis.render.streams import Renderer
from s02jax.synthesis.voice import Voice
from s02jax.text.tokenizer import TextModel

Weights = Mapping[str, Any]  # arrays by name
PLATFORMS = {"gpu": "cuda"}  # JAX backend -> its name in jax.export


class ExportedFunctions:
  """Functions of an export by name, read when they are first called."""

  def __init__(self, folder: pathlib.Path, card: Mapping[str, Any]):
    """Stores where the functions lie.

    Args:
      folder: of the export.
      card: of the export.
    """
    self._folder, self._paths = folder, card["programs"]
    self._ready: dict[str, Callable[..., Any]] = {}

  def __contains__(self, name: str) -> bool:
    return name in self._paths

  def __call__(self, name: str, *args: Any, donated: int | None = None) -> Any:
    """Calls a function.

    Args:
      name: of the function.
      *args: its arguments.
      donated: number of the argument whose memory is reused.
    """
    if name not in self._ready:
      path = self._folder / self._paths[name]
      exported = export.deserialize(bytearray(path.read_bytes()))
      self._ready[name] = jax.jit(
        exported.call, donate_argnums=() if donated is None else donated
      )
    return self._ready[name](*args)


class ExportedDecodeFunctions:
  """Decode functions of an export; see `DecodeFunctions`."""

  def __init__(
    self, card: Mapping[str, Any], functions: ExportedFunctions, w: Weights
  ):
    """Stores the functions and the AR model's weights.

    Args:
      card: of the export.
      functions: of the export.
      w: weights of the AR model.
    """
    self.text_size = card["ar"]["text_size"]
    self.shape = CacheShape(**card["ar"]["cache"])
    self.adapters = len(_emotions(card))
    self._functions, self._weights = functions, w

  def prefill(
    self, cache: Cache, ids, cursor, length, speaker, strengths, slot
  ) -> Cache:
    """Reads a prompt into a slot of `cache`, which is donated."""
    arguments = (ids, cursor, length, speaker)
    if self.adapters:
      arguments = (*arguments, strengths)
    keys, values = self._functions(
      f"prompt_{len(ids)}", self._weights, *arguments
    )
    return place(cache, Cache(keys=tuple(keys), values=tuple(values)), slot)

  def decode(
    self, cache: Cache, slots: Slots, steps, enough
  ) -> tuple[Cache, Slots, Any]:
    """Draws tokens for all active slots; see `decode/decoder.py:decode`."""
    (keys, values), after, drawn = self._functions(
      f"decode_{cache.slots}",
      self._weights,
      (cache.keys, cache.values),
      slots.to_dict(),
      steps,
      enough,
      donated=1,
    )
    cache = Cache(keys=tuple(keys), values=tuple(values))
    return cache, dataclasses.replace(slots, **after), drawn


class Runtime(Pipeline):
  """Pipeline with the functions and weights of an export.

  Attributes:
    functions: all of the export, also those that the engine does not call:
      `condition_…`, `velocity_…` and `vocode_whole`.
    weights: arrays by name, by model; the first argument of every function.
  """

  def __init__(self, folder: pathlib.Path, card: Mapping[str, Any]):
    """Loads the weights.

    Args:
      folder: of the export.
      card: of the export, by `read_card`.
    """
    self._folder = folder
    w = {
      name: jax.device_put(tensors.read_weights(folder / file))
      for name, file in card["weights"].items()
    }
    functions = ExportedFunctions(folder, card)
    self.functions, self.weights = functions, w
    rate, ar = card["rate"], card["ar"]
    encoder = functools.partial(_encoder, functions, w, rate)
    super().__init__(
      Parts(
        rate=rate,
        languages=tuple(card["languages"]),
        fingerprint=card["fingerprint"],
        end=ar["end"],
        prompt_builder=PromptBuilder(
          TextModel.load(folder / "text.model"), ar["rates"].__getitem__
        ),
        decode_functions=ExportedDecodeFunctions(card, functions, w["ar"]),
        renderer=_renderer(card, functions, w),
        ar_vectors=encoder("ar_speaker", "ar"),
        flow_vectors=encoder("flow_speaker", "flow_matching"),
        tokens=encoder("tokens", "audio_tokenizer", rate // TOKENS_PER_SECOND),
        posterior=encoder("posterior", "flow_vae", card["flow_vae"]["hop"]),
        emotions=_emotions(card),
      )
    )

  @classmethod
  def load(cls, folder, compilation_cache=None) -> "Runtime":
    """Loads an export after checking its files.

    Args:
      folder: of the export.
      compilation_cache: folder of compiled programs; None takes JAX's, and
        where none is set `.cache` in the export.

    Raises:
      UserError: see `read_card`; or an export for other platforms.
    """
    folder = pathlib.Path(folder)
    card = read_card(folder)
    backend = jax.default_backend()
    platform = PLATFORMS.get(backend, backend)
    if platform not in card["platforms"]:
      raise UserError(
        f"{folder} was exported for {', '.join(card['platforms'])}, and this"
        f" machine's platform is {platform}; export it with"
        f" --platforms {platform}."
      )
    set_already = getattr(jax.config, "jax_compilation_cache_dir", None)
    cache = compilation_cache or set_already
    cache = str(cache or folder / ".cache")
    jax.config.update("jax_compilation_cache_dir", cache)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", -1)
    return cls(folder, card)

  @property
  def tells_times(self) -> bool:
    """Whether `text_log_probs` is there; older exports lack it."""
    return "text_log_probs" in self.functions

  def text_log_probs(self, codes: np.ndarray) -> np.ndarray:
    """CTC log-probabilities of text ids for audio tokens.

    Args:
      codes: int32 [s].

    Returns:
      float32 [s, v + 1]; the last class is the blank.
    """
    count = len(codes)
    row = np.zeros((1, round_up(count, UNIT)), np.int32)
    row[0, :count] = codes
    mask = np.arange(row.shape[1])[None] < count
    w = self.weights["audio_tokenizer"]
    return np.array(self.functions("text_log_probs", w, row, mask))[0, :count]

  def stored(self, name: str) -> Voice:
    """Voice that the bundle kept under a name.

    Raises:
      UserError: there is none of this name.
    """
    path = self._folder / "voices" / f"{name}.safetensors"
    if not path.is_file():
      known = ", ".join(self.names()) or "none"
      raise UserError(f"there is no voice {name!r} here; there is {known}.")
    arrays, notes = tensors.read(path)
    return Voice.from_arrays(path, notes, arrays, self.fingerprint)

  def names(self) -> list[str]:
    """Names of all stored voices, sorted."""
    return sorted(p.stem for p in (self._folder / "voices").glob("*.saf*"))


def _renderer(
  card: Mapping[str, Any],
  functions: ExportedFunctions,
  weights: Mapping[str, Weights],
) -> Renderer:
  """Flow matching and vocoder of an export."""
  flow, vocoder = card["flow_matching"], card["flow_vae"]
  mixed = len(_emotions(card))

  def solve(*, steps: Any, **arrays: Any) -> Any:
    if not mixed:
      del arrays["strengths"]
    rows, places = arrays["tokens"].shape
    name = f"flow_{rows}_{places}"
    return functions(name, weights["flow_matching"], arrays, steps)

  def vocode(z: Any, mask: Any) -> Any:
    return functions(f"vocode_{len(z)}", weights["flow_vae"], z, mask)

  return Renderer(
    flow=FlowSolver(
      reach=tuple(flow["reach"]),
      latents_per_token=flow["latents_per_token"],
      channels=flow["channels"],
      # Exports of the first kind have functions for streaming alone.
      windows=tuple(flow.get("windows", STREAMED)),
      run=solve,
      adapters=mixed,
      **flow.get("solver", {}),
    ),
    vocoder=ChunkVocoder(
      reach=tuple(vocoder["reach"]),
      hop=vocoder["hop"],
      channels=vocoder["channels"],
      run=vocode,
    ),
    mean=np.asarray(flow["mean"], np.float32),
    std=np.asarray(flow["std"], np.float32),
  )


def _emotions(card: Mapping[str, Any]) -> tuple[str, ...]:
  """Names of the adapters of an export; older ones have none."""
  return tuple(card.get("emotions", ()))


def _encoder(
  functions: ExportedFunctions,
  weights: Mapping[str, Weights],
  rate: int,
  name: str,
  model: str,
  hop: int | None = None,
) -> Callable[[Waves], list[Any]]:
  """Encoder of waves by an exported function.

  Args:
    functions: of the export.
    weights: by model; those of an encoder that nobody calls may be missing.
    rate: of the waves, Hz.
    name: of the function.
    model: whose weights it takes.
    hop: samples of a frame; None for one vector a wave.
  """

  def encode(wave: np.ndarray) -> Any:
    call = functools.partial(functions, name, weights[model])
    return _encode(call, wave, rate, hop)

  return lambda waves: [encode(wave) for wave in waves]


def _encode(
  function: Callable[..., Any], wave: np.ndarray, rate: int, hop: int | None
) -> Any:
  """Encodes one wave and cuts the padding's frames off."""
  wave = whole_tokens(wave, rate)
  row = np.zeros(
    (1, round_up(len(wave), UNIT * (rate // TOKENS_PER_SECOND))), np.float32
  )
  row[0, : len(wave)] = wave
  found = function(row, np.array([len(wave)], np.int32))
  frames = slice(None) if hop is None else slice(len(wave) // hop)
  return jax.tree.map(lambda x: np.array(x)[0][frames], found)
