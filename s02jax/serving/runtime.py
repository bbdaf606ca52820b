"""An exported folder that speaks, with jax, numpy and sentencepiece alone.

  runtime = Runtime.load("exported")
  voice = runtime.stored("anna")
  for wave in runtime.stream(Request(text="Yes.", language="en", voice=voice)):
    ...

The engine is that of training (`synthesis/engine.py`); its models are programs
of `jax.export`, compiled for this machine when they are first called and kept
in JAX's compilation cache. Nothing here imports the models: `s02 export` copies
this module, with the few it needs, into the folder.

Shape letters: n samples, e vector, s tokens, l latents, c latent channels.
"""

import functools
import pathlib
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np
from jax import export

from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND, whole_tokens
from s02jax.serving import card as cards
from s02jax.serving import tensors
from s02jax.synthesis.batching import UNIT, round_up
from s02jax.synthesis.decode.cache import Cache, CacheShape, Slots, place
from s02jax.synthesis.decode.prompts import Drafter
from s02jax.synthesis.pipeline import Parts, Speaker
from s02jax.synthesis.render.chunks import FlowSolver, Vocoder
from s02jax.synthesis.render.streams import Models
from s02jax.synthesis.voice import Voice
from s02jax.text.tokenizer import TextModel

Weights = Mapping[str, Any]  # arrays by name
PLATFORMS = {"gpu": "cuda"}  # what jax.export calls JAX's backends otherwise


class Programs:
  """The programs of a folder, read when they are first called."""

  def __init__(self, folder: pathlib.Path, card: Mapping[str, Any]):
    self._folder, self._names = folder, card["programs"]
    self._ready: dict[str, Callable[..., Any]] = {}

  def __call__(self, name: str, *args: Any, donated: int | None = None) -> Any:
    """Runs a program.

    Args:
      name: of the program.
      *args: its arguments.
      donated: number of the argument whose memory is reused.
    """
    if name not in self._ready:
      path = self._folder / self._names[name]
      exported = export.deserialize(bytearray(path.read_bytes()))
      self._ready[name] = jax.jit(
        exported.call, donate_argnums=() if donated is None else donated
      )
    return self._ready[name](*args)


class Decoding:
  """What `SlotDecoder` calls."""

  def __init__(self, card: Mapping[str, Any], programs: Programs, w: Weights):
    """Takes the weights of the AR model."""
    self.text_size = card["ar"]["text_size"]
    self.shape = CacheShape(**card["ar"]["cache"])
    self._programs, self._weights = programs, w

  def prefill(self, cache: Cache, ids, cursor, length, speaker, slot) -> Cache:
    """See `synthesis/decode/decoder.py`."""
    keys, values = self._programs(
      f"prompt_{len(ids)}", self._weights, ids, cursor, length, speaker
    )
    return place(cache, Cache(keys=tuple(keys), values=tuple(values)), slot)

  def decode(self, cache: Cache, slots: Slots, steps, enough):
    """See `synthesis/decode/decoder.py`."""
    (keys, values), after, drawn = self._programs(
      f"decode_{cache.slots}",
      self._weights,
      (cache.keys, cache.values),
      as_dict(slots),
      steps,
      enough,
      donated=1,
    )
    cache = Cache(keys=tuple(keys), values=tuple(values))
    return cache, Slots(**after, sampling=slots.sampling), drawn


def as_dict(slots: Slots) -> dict[str, Any]:
  """Arrays by name, as programs take them."""
  plain = dict(vars(slots))
  return plain | {"sampling": dict(vars(slots.sampling))}


class Runtime(Speaker):
  """Speaks; see `synthesis/pipeline.py` for what it can be asked.

  Attributes:
    programs: all of the folder, also those that the engine does not call:
      `condition_…`, `velocity_…` and `vocode_whole`.
    weights: arrays by name, by model; the first argument of every program.
  """

  def __init__(self, folder: pathlib.Path, card: Mapping[str, Any]):
    """Takes a checked folder and its card."""
    self._folder = folder
    w = {
      name: jax.device_put(tensors.weights(folder / file))
      for name, file in card["weights"].items()
    }
    programs = Programs(folder, card)
    self.programs, self.weights = programs, w
    rate = card["rate"]

    def encoder(program: str, model: str, hop: int | None = None):
      """Of waves; `hop` samples give a frame, or all of them a vector."""
      return lambda waves: [
        _encoded(functools.partial(programs, program, w[model]), x, rate, hop)
        for x in waves
      ]

    ar, flow, vocoder = card["ar"], card["flow_matching"], card["flow_vae"]
    super().__init__(
      Parts(
        rate=rate,
        languages=tuple(card["languages"]),
        fingerprint=card["fingerprint"],
        end=ar["end"],
        drafter=Drafter(
          TextModel.load(folder / "text.model"), ar["rates"].__getitem__
        ),
        decoding=Decoding(card, programs, w["ar"]),
        sound=Models(
          flow=FlowSolver(
            reach=tuple(flow["reach"]),
            latents_per_token=flow["latents_per_token"],
            channels=flow["channels"],
            run=lambda **arrays: _solved(programs, w["flow_matching"], arrays),
          ),
          vocoder=Vocoder(
            reach=tuple(vocoder["reach"]),
            hop=vocoder["hop"],
            channels=vocoder["channels"],
            run=lambda z, mask: programs(
              f"vocode_{len(z)}", w["flow_vae"], z, mask
            ),
          ),
          mean=np.asarray(flow["mean"], np.float32),
          std=np.asarray(flow["std"], np.float32),
        ),
        ar_vectors=encoder("ar_speaker", "ar"),
        flow_vectors=encoder("flow_speaker", "flow_matching"),
        tokens=encoder("tokens", "audio_tokenizer", rate // TOKENS_PER_SECOND),
        posterior=encoder("posterior", "flow_vae", vocoder["hop"]),
      )
    )

  @classmethod
  def load(cls, folder, compilation_cache=None) -> "Runtime":
    """Reads and checks what `s02 export` wrote.

    Args:
      folder: of the export.
      compilation_cache: folder of compiled programs; None takes JAX's, and
        where none is set `.cache` in the export.

    Raises:
      UserError: see `card.read`; or an export for other platforms.
    """
    folder = pathlib.Path(folder)
    card = cards.read(folder)
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

  def stored(self, name: str) -> Voice:
    """A voice that the bundle kept.

    Raises:
      UserError: there is none of this name.
    """
    path = self._folder / "voices" / f"{name}.safetensors"
    if not path.is_file():
      known = ", ".join(self.names()) or "none"
      raise UserError(f"there is no voice {name!r} here; there is {known}.")
    arrays, notes = tensors.read(path)
    return Voice.of(path, notes, arrays, self.fingerprint)

  def names(self) -> list[str]:
    """Of all stored voices."""
    return sorted(p.stem for p in (self._folder / "voices").glob("*.saf*"))


def _solved(programs: Programs, weights: Weights, arrays: dict) -> Any:
  """Flow matching of a batch; its program goes by rows and places."""
  steps = arrays.pop("steps")
  rows, places = arrays["tokens"].shape
  return programs(f"flow_{rows}_{places}", weights, arrays, steps)


def _encoded(
  program: Callable[..., Any], wave: np.ndarray, rate: int, hop: int | None
) -> Any:
  """What a program says of one wave, its padding cut off."""
  wave = whole_tokens(wave, rate)
  row = np.zeros(
    (1, round_up(len(wave), UNIT * (rate // TOKENS_PER_SECOND))), np.float32
  )
  row[0, : len(wave)] = wave
  found = program(row, np.array([len(wave)], np.int32))
  frames = slice(None) if hop is None else slice(len(wave) // hop)
  return jax.tree.map(lambda x: np.array(x)[0][frames], found)
