"""Speed of synthesis, and how near it comes to the hardware.

The AR model alone against what memory allows; the whole chain in real-time
factor and time until the first sound. Everything is run once before, so that
nothing compiles while it is timed.
"""

import dataclasses
import time
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from s02jax import stages
from s02jax.core.errors import UserError
from s02jax.core.rates import TOKENS_PER_SECOND
from s02jax.models import ar
from s02jax.models.ar import ARTransformer
from s02jax.synthesis.decode import decoder
from s02jax.synthesis.decode.cache import BURST, Sampling
from s02jax.synthesis.decode.slots import ARPrompt, SlotDecoder
from s02jax.synthesis.request import Request
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Voice

PROMPT = 64  # ids in front of the tokens: some five seconds of text
COPIED = 2**28  # bytes of the array that measures the memory


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decoding:
  """Speed of the AR model for one number of streams."""

  streams: int  # requests at once
  tokens_per_second: float  # all streams together
  limit: float  # tokens a second that memory allows
  torch: float | None = None  # tokens a second of the same model in PyTorch


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chain:
  """Speed of the whole chain for one number of streams; medians."""

  streams: int  # requests at once
  seconds: float  # seconds of speech of one stream
  real_time_factor: float  # seconds of work per second of speech, all streams
  whole: float  # seconds until all is said
  first: float  # seconds until the first sound of the first stream


# ---------------------------------------------------------------- the AR model


def decode(
  config: ConfigDict, streams: list[int], tokens: int, torch: bool
) -> tuple[float, list[Decoding]]:
  """Bandwidth of memory in bytes a second, and the decoding by streams.

  Args:
    config: as `configs/ar.py` gives it; the weights are random.
    streams: numbers of requests at once.
    tokens: tokens of each request.
    torch: also time PyTorch.
  """
  config = stages.assume(config)
  stage: Any = stages.make(config)
  model, cfg = stage.model, stage.model_config
  variables = jax.jit(ar.init, static_argnums=0)(model, jax.random.key(0))
  weights = decoder.decode_weights(variables, jnp.dtype(cfg.dtype))
  bandwidth = memory_bandwidth()
  found = []
  for count in streams:
    speed = tokens_per_second(model, weights, count, tokens)
    read = step_bytes(weights, cfg, count, PROMPT + tokens // 2)
    beside = None
    if torch:
      beside = _torch_decoder(variables, cfg, count, tokens)
    found.append(
      Decoding(
        streams=count,
        tokens_per_second=speed,
        limit=count * bandwidth / read,
        torch=beside,
      )
    )
  return bandwidth, found


def tokens_per_second(
  model: ARTransformer, weights: decoder.Weights, streams: int, tokens: int
) -> float:
  """Tokens a second of all streams, after a first run of the same."""
  cfg = model.config
  random = np.random.default_rng(0)

  def run() -> float:
    slots = SlotDecoder(decoder.CompiledDecodeFunctions(model, weights))
    for ticket in range(streams):
      slots.admit(
        ticket,
        ARPrompt(
          ids=random.integers(cfg.text_size, size=PROMPT).astype(np.int32),
          cursor=np.arange(PROMPT, dtype=np.float32),
          rate=0.4,
          vector=np.zeros(cfg.speaker.features, np.float32),
          seed=ticket,
          limit=tokens,
          sampling=Sampling(),
          least=tokens,
        ),
      )
    slots.step(1, refill=False)  # so that the prompts are read
    said = 0
    began = time.perf_counter()
    while said < streams * (tokens - 1):
      drawn = slots.step(BURST, refill=False)
      said += sum(map(len, drawn.values()))
    return said / (time.perf_counter() - began)

  run()
  return max(run() for _ in range(2))


def step_bytes(
  weights: decoder.Weights, cfg: ar.ARConfig, streams: int, places: int
) -> float:
  """Bytes that every step reads: layers, head, the filled part of the cache.

  Args:
    weights: of the model, as decoding lays them out.
    cfg: its config.
    streams: requests at once.
    places: filled places of the cache of each.
  """
  size = jnp.dtype(cfg.dtype).itemsize
  laid = weights["layers"], weights["head"]
  read = sum(x.nbytes for x in jax.tree.leaves(laid))
  c = cfg.transformer
  cache = 2 * c.layers * streams * places * c.kv_heads * c.head_dim * size
  return read + cache


def memory_bandwidth() -> float:
  """Bytes a second that are read and written when a large array is negated.

  In place: fresh memory would have to be mapped first.
  """
  x = jnp.ones(COPIED // 4, jnp.float32)
  change = jax.jit(lambda x: -x, donate_argnums=0)
  times = []
  for _ in range(6):
    began = time.perf_counter()
    x = jax.block_until_ready(change(x))
    times.append(time.perf_counter() - began)
  return 2 * x.nbytes / min(times)


def _torch_decoder(
  variables: Any, cfg: ar.ARConfig, streams: int, tokens: int
) -> float:
  try:
    from s02jax.bench import torch_decoder
  except ModuleNotFoundError as error:
    raise UserError(
      "--torch needs PyTorch: pip install 's02jax[bench]'."
    ) from error
  if cfg.dtype != "float32":
    raise UserError(
      "the comparison with PyTorch is in float32: add "
      "--config.model.dtype=float32."
    )
  decoder = torch_decoder.Decoder(
    cfg, variables["params"], streams, PROMPT + tokens
  )
  return max(
    decoder.tokens_per_second(PROMPT, tokens, rate=0.4) for _ in range(2)
  )


# ----------------------------------------------------------------- the chain


def speak(
  synthesizer: Synthesizer,
  voice: Voice,
  text: str,
  language: str,
  streams: list[int],
) -> list[Chain]:
  """Speed of the whole chain by number of streams, each saying the text."""
  request = Request(text=text, language=language, voice=voice)
  return [_timed(synthesizer, request, count) for count in streams]


def _timed(synthesizer: Synthesizer, request: Request, count: int) -> Chain:
  runs = [_run(synthesizer, request, count) for _ in range(4)][1:]
  whole, first, spoken = (float(np.median(x)) for x in zip(*runs, strict=True))
  return Chain(
    streams=count,
    seconds=spoken / count,
    real_time_factor=whole / spoken,
    whole=whole,
    first=first,
  )


def _run(
  synthesizer: Synthesizer, request: Request, count: int
) -> tuple[float, float, float]:
  """Seconds until all is said, until the first sound, and of the speech."""
  engine = synthesizer.engine()
  began = time.perf_counter()
  first, samples = None, 0
  for _ in range(count):
    engine.submit(request)
  while engine.busy:
    for piece in engine.step():
      samples += len(piece.wave)
      if first is None and len(piece.wave):
        first = time.perf_counter() - began
  whole = time.perf_counter() - began
  return whole, first or whole, max(samples / synthesizer.rate, 1e-9)


# -------------------------------------------------------------- for people


def describe_decoding(
  name: str, bandwidth: float, found: list[Decoding], tokens: int
) -> str:
  """Measurements of `decode`, a line each."""
  lines = [
    f"{name} on {jax.devices()[0].device_kind}: {tokens} tokens a stream behind"
    f" a prompt of {PROMPT}; memory moves {bandwidth / 1e9:.1f} GB/s"
  ]
  for x in found:
    line = (
      f"{x.streams:>3} streams  {x.tokens_per_second:8.1f} tokens/s "
      f"({x.tokens_per_second / TOKENS_PER_SECOND:.1f} × real time), "
      f"{x.tokens_per_second / x.limit:.0%} of the memory's limit"
    )
    if x.torch:
      line += (
        f"; PyTorch {x.torch:.1f}, ratio {x.tokens_per_second / x.torch:.2f}"
      )
    lines.append(line)
  return "\n".join(lines)


def describe_chain(bundle: str, found: list[Chain]) -> str:
  """Measurements of `speak`, a line each."""
  lines = [f"{bundle} on {jax.devices()[0].device_kind}"]
  lines += [
    f"{x.streams:>3} streams of {x.seconds:.2f} s: real-time factor "
    f"{x.real_time_factor:.3f}, first sound after {x.first:.3f} s "
    f"({x.first / x.whole:.0%} of the whole)"
    for x in found
  ]
  return "\n".join(lines)
