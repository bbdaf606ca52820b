"""A bundle of tiny models with random weights, for tests."""

import dataclasses
import functools
import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import soundfile

from configs import (
  ar,
  audio_tokenizer,
  distillation,
  flow_matching,
  flow_vae,
  text_to_voice,
)
from s02jax.bundle import Bundle
from s02jax.core.config import build
from s02jax.data import descriptions
from s02jax.data.voices import VoiceSpace, VoiceTable
from s02jax.models.ar import ARConfig, ARTransformer
from s02jax.models.ar import init as init_ar
from s02jax.models.audio_tokenizer import AudioTokenizer, AudioTokenizerConfig
from s02jax.models.audio_tokenizer import init as init_audio_tokenizer
from s02jax.models.flow_matching import (
  FlowMatching,
  FlowMatchingConfig,
)
from s02jax.models.flow_vae import FlowVAE, FlowVAEConfig
from s02jax.models.layers import lora
from s02jax.models.voice_prior import VoicePrior, VoicePriorConfig
from s02jax.synthesis.store import voice_design, voice_store
from s02jax.synthesis.store.adapter_store import Adapter
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Transcript
from s02jax.text.tokenizer import TextModel, train_text_model

RATE = 16000
SAMPLES = RATE // 25  # of a token
SENTENCES = (
  "The quick brown fox jumps over the lazy dog.",
  "Good morning, how are you today?",
  "El perro corre por la calle.",
)


def wave(seconds: float, seed: int = 0) -> np.ndarray:
  """Something like a voice: noise over a buzz, float32 [n]."""
  random = np.random.default_rng(seed)
  t = np.arange(int(seconds * RATE)) / RATE
  buzz = np.sin(2 * np.pi * (90 + 40 * seed) * t + 3 * np.sin(7 * t))
  noise = random.normal(size=len(t))
  return (0.2 * buzz + 0.05 * noise).astype(np.float32)


def text_model() -> bytes:
  """A serialised text model of the sentences above."""
  with tempfile.TemporaryDirectory() as folder:
    path = f"{folder}/text.model"
    train_text_model(SENTENCES, 384, path)
    with open(path, "rb") as file:
      return file.read()


def random_params(shapes, seed: int = 0):
  """numpy float32 arrays of the shapes, nothing left at zero.

  Made without compiling an initialiser: matrices keep the size of a vector,
  scales are near one and biases near zero.
  """
  random = np.random.default_rng(seed)

  def leaf(path, x):
    noise = random.normal(size=x.shape)
    name = jax.tree_util.keystr(path, simple=True)
    if name.endswith("codes"):
      return noise / np.linalg.norm(noise, axis=-1, keepdims=True)
    if name.endswith("embedding"):
      return noise
    if name.endswith(("kernel", "taps")):
      return noise * x.shape[-2] ** -0.5
    return 0.05 * noise + name.endswith("scale")

  return jax.tree_util.tree_map_with_path(
    lambda path, x: leaf(path, x).astype(np.float32), shapes
  )


@functools.cache
def stages() -> dict[str, tuple[dict, dict]]:
  """Resolved config and random parameters of the four stages."""
  text = TextModel(text_model())
  configs = {
    "audio_tokenizer": audio_tokenizer.get_config("test"),
    "flow_vae": flow_vae.get_config("test"),
    "ar": ar.get_config("test"),
    "flow_matching": flow_matching.get_config("test"),
  }
  codes = configs["audio_tokenizer"].model.num_codes
  channels = configs["flow_vae"].model.channels
  configs["audio_tokenizer"].model.vocab_size = text.size
  configs["flow_vae"].rate = RATE
  configs["ar"].model.update(
    text_size=text.size,
    speaker_id=text.speaker_id,
    text_rate=0.5,
    num_codes=codes,
  )
  configs["flow_matching"].model.update(
    num_codes=codes, channels=channels, latents_per_token=2
  )
  configs["flow_matching"].latents = dict(
    mean=[0.1] * channels, std=[0.8] * channels
  )
  params = {
    name: random_params(
      jax.eval_shape(_init(name, config.model), jax.random.key(1))
    )
    for name, config in configs.items()
  }
  return {
    name: (config.to_dict(), params[name]) for name, config in configs.items()
  }


def _init(name: str, model):
  """The function key -> variables of a model."""
  mask = jnp.ones((1, 4), bool)
  if name == "audio_tokenizer":
    module = AudioTokenizer(build(AudioTokenizerConfig, model))
    return lambda key: init_audio_tokenizer(module, key)
  if name == "flow_vae":
    module = FlowVAE(build(FlowVAEConfig, model))
    return lambda key: module.init(key, jnp.zeros((1, 1280)), key)
  if name == "ar":
    module = ARTransformer(build(ARConfig, model))
    return lambda key: init_ar(module, key)
  cfg = build(FlowMatchingConfig, model)
  module = FlowMatching(cfg)
  latents = jnp.zeros((1, 4, cfg.channels))
  return lambda key: module.init(
    key,
    tokens=jnp.zeros((1, 2), jnp.int32),
    mel=jnp.zeros((1, 4, cfg.mel_bins)),
    mel_mask=mask,
    x_t=latents,
    t=jnp.zeros(1),
    prompt_mask=mask,
    prompt=latents,
    mask=mask,
    keep=jnp.ones(1, bool),
  )


@functools.cache
def bundle() -> Bundle:
  """The four stages as a bundle in memory."""
  return Bundle(
    rate=RATE,
    configs={name: config for name, (config, _) in stages().items()},
    params={name: params for name, (_, params) in stages().items()},
    text_model=text_model(),
    card={"data": {"languages": ["en", "es"]}, "models": {}},
  )


@functools.cache
def student(kind: str) -> Bundle:
  """The bundle with a distilled flow matching of random parameters.

  Args:
    kind: of its velocity, "line" or "mean".
  """
  base = bundle().configs["flow_matching"]
  config = distillation.get_config("test")
  config.latents = base["latents"]
  config.model.update(base["model"] | {"velocity": kind})
  config.data.update(base["data"])
  shapes = jax.eval_shape(
    _init("flow_matching", config.model), jax.random.key(1)
  )
  models = {"flow_matching": random_params(shapes, seed=1)}
  configs = {"flow_matching": config.to_dict()}
  return dataclasses.replace(
    bundle(),
    configs=bundle().configs | configs,
    params=bundle().params | models,
  )


TARGETS = {
  "ar": r"stack/blocks/attention/(q|o)$",
  "flow_matching": r"attention/(q|v)$|upsample$|modulation$",
}


def adapter(name: str, seed: int, models=("ar", "flow_matching")) -> Adapter:
  """Adapter of random A and B, whose rank is that of its seed."""
  random = np.random.default_rng(seed)
  weights = {}
  for model in models:
    cfg = lora.LoraConfig(rank=1 + seed, targets=TARGETS[model])
    params = bundle().params[model]["params"]
    weights[model] = {}
    for path, kernel in lora.targets(params, cfg).items():
      *lead, i, o = kernel.shape
      down, up = (*lead, i, cfg.rank), (*lead, cfg.rank, o)
      weights[model][path] = {
        lora.DOWN: random.normal(size=down).astype(np.float32) * i**-0.5,
        lora.UP: random.normal(size=up).astype(np.float32),
      }
  return Adapter(
    name=name,
    kind="lora",
    base=bundle().fingerprint,
    weights=weights,
    scale=0.5,
  )


def add_voice_prior(folder: pathlib.Path) -> None:
  """Writes a voice prior of random parameters into the bundle in `folder`."""
  random = np.random.default_rng(0)
  voices = VoiceTable(
    ar=random.normal(size=(24, 32)).astype(np.float32),
    flow=random.normal(size=(24, 32)).astype(np.float32),
    tags=np.zeros((24, len(descriptions.SIZES)), np.int32),
  )
  space = VoiceSpace.fit(voices)
  config = text_to_voice.get_config("test").to_dict()
  config["model"] |= {
    "coordinates": space.axes.shape[0],
    "text_size": bundle().text.size,
    "tags": descriptions.SIZES,
  }
  model = VoicePrior(build(VoicePriorConfig, config["model"], "model"))
  ids = jnp.zeros((1, 4), jnp.int32)
  shapes = jax.eval_shape(
    model.init,
    jax.random.key(0),
    jnp.zeros((1, space.axes.shape[0])),
    jnp.zeros(1),
    ids,
    ids > 0,
    jnp.zeros((1, len(descriptions.SIZES)), jnp.int32),
    jnp.ones(1, bool),
  )
  params = random_params(shapes)["params"]
  voice_design.add(folder, bundle(), config, params, space, {})


def write_with_voices(folder: pathlib.Path) -> pathlib.Path:
  """Writes the bundle with two voices, and their recordings; returns `folder`.

  The bundle is in `bundle`; its voice anna is zero-shot, of the recordings
  0.wav and 1.wav, and ben one-shot, of 1.wav.
  """
  bundle().write(folder / "bundle")
  synthesizer = Synthesizer(bundle())
  for i, seconds in enumerate((0.8, 0.9)):
    soundfile.write(folder / f"{i}.wav", wave(seconds, i), RATE)
  said = Transcript(text="Good morning", language="en")
  for name, recordings, transcript in (
    ("anna", [folder / "0.wav", folder / "1.wav"], None),
    ("ben", [folder / "1.wav"], said),
  ):
    made, seconds = voice_store.recorded(synthesizer, recordings, transcript)
    voice_store.add(folder / "bundle", name, made, seconds)
  return folder
