"""Exports: the same tokens and sound as the bundle, without s02jax."""

import json
import os
import pathlib
import platform
import shutil
import subprocess
import sys
import tarfile
import wave

import jax
import ml_dtypes
import numpy as np
import pytest

from s02jax import sharding
from s02jax.cli import export as verb
from s02jax.compiler import tpu
from s02jax.core import tensors
from s02jax.core.errors import UserError
from s02jax.models import solver
from s02jax.models.layers import attention
from s02jax.serving import (
  export,
  functions,
  speak,
  vendor,
  weight_loss,
)
from s02jax.serving.card import FORMAT_VERSION, read_card
from s02jax.serving.exported_system import ExportedSystem
from s02jax.serving.runtime import Runtime
from s02jax.synthesis.render.chunks import FlowChunk
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.store import adapter_store
from s02jax.synthesis.synthesizer import Synthesizer
from s02jax.synthesis.voice import Transcript
from s02jax.synthesis.voice_system import VoiceSystem
from tests import tiny
from tests.serving import keep_export

HERE = pathlib.Path(__file__).parent
SETTINGS = Settings(steps=2, temperature=0.9, top_k=20)
PROMPT = Transcript(text="Good morning", language="en")


@pytest.fixture(scope="module")
def synthesizer():
  return Synthesizer(tiny.bundle())


@pytest.fixture(scope="module")
def references():
  return [tiny.wave(0.8, seed) for seed in (3, 4)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory, synthesizer, references):
  """Export with one stored voice."""
  root = tmp_path_factory.mktemp("export")
  source = root / "bundle"
  (source / "voices").mkdir(parents=True)
  (voice,) = synthesizer.voices(references[:1], [PROMPT])
  voice.save(source / "voices" / "anna.safetensors")
  with pytest.MonkeyPatch.context() as patch:
    patch.setattr(functions, "SLOTS", (1, 2, 4))
    patch.setattr(functions, "LONGEST", 200)
    export.write(tiny.bundle(), source, root / "out")
  return root / "out"


@pytest.fixture(scope="module")
def runtime(folder):
  """Runtime of the export that leaves the tests' compilation cache alone."""
  return Runtime(folder, read_card(folder))


def test_voices_are_those_of_the_bundle(synthesizer, runtime, references):
  texts = [PROMPT, None]
  for live, served in zip(
    synthesizer.voices(references, texts),
    runtime.voices(references, texts),
    strict=True,
  ):
    for name in ("ar_vector", "flow_vector"):
      np.testing.assert_allclose(
        getattr(served, name), getattr(live, name), atol=1e-5
      )
    assert served.fingerprint == live.fingerprint
    if live.prompt is not None:
      np.testing.assert_array_equal(served.prompt.tokens, live.prompt.tokens)
      np.testing.assert_allclose(
        served.prompt.latents, live.prompt.latents, atol=1e-5
      )
  assert runtime.names() == ["anna"]
  np.testing.assert_array_equal(
    runtime.stored("anna").prompt.tokens,
    runtime.voices(references[:1], [PROMPT])[0].prompt.tokens,
  )


def test_an_export_is_a_voice_system(folder, tmp_path):
  exported = ExportedSystem(folder)
  shutil.copytree(folder / "voices", tmp_path / "voices")
  (tmp_path / "config.json").write_text("{}")
  bundled = VoiceSystem(tmp_path, tiny.bundle())
  assert exported.voices == ["anna"]
  assert exported.languages == bundled.languages
  said = {"language": "en", "steps": 1, "speed": 1.2, "rate": 24000}
  sounds = [
    system.say("2 dogs. <#0.2#> No.", "anna", **said).samples
    for system in (exported, bundled)
  ]
  np.testing.assert_allclose(*sounds, atol=1e-3)
  timed = [
    heard_words(system, "Yes, good dogs. <#0.2#> No.")
    for system in (exported, bundled)
  ]
  assert timed[0] == timed[1]
  assert [word.text for word in timed[0]] == ["yes,", "good", "dogs.", "no."]
  assert not exported.designs


def heard_words(system, text):
  """Words of a text with the times at which a system says them."""
  words = []
  voice, read = system.voice("anna"), system.read(text, "en")
  settings = Settings(steps=1)
  list(system.speak(read, voice, settings=settings, timed=words.extend))
  return words


def test_an_export_without_a_ctc_head_says_so(folder, tmp_path):
  shutil.copytree(folder, tmp_path / "old")
  card = json.loads((folder / "card.json").read_text())
  del card["programs"]["text_log_probs"]
  (tmp_path / "old" / "card.json").write_text(json.dumps(card))
  old = ExportedSystem(tmp_path / "old")
  assert not old.tells_times
  with pytest.raises(UserError, match="without the CTC head; export it again"):
    old.speak(old.read("Yes.", "en"), old.voice("anna"), timed=print)


def test_tokens_are_equal_and_sound_within_a_ten_thousandth(
  synthesizer, runtime, references
):
  """Several requests at once need more slots than the first cache has."""
  voices = synthesizer.voices(references, [PROMPT, None])
  requests = [
    Request(text=text, language="en", voice=voices[i % 2])
    for i, text in enumerate(("Yes.", "Oh no!", "The quick brown fox jumps."))
  ]
  live = synthesizer.synthesize(requests, **vars(SETTINGS))
  served = runtime.synthesize(requests, **vars(SETTINGS))
  for one, other in zip(live, served, strict=True):
    np.testing.assert_array_equal(other.tokens, one.tokens)
    assert other.ended == one.ended
    np.testing.assert_allclose(other.wave, one.wave, atol=1e-4)
  assert len({len(x.tokens) for x in live}) > 1
  served, streamed = (
    np.concatenate(list(models.stream(requests[0], **vars(SETTINGS))))
    for models in (runtime, synthesizer)
  )
  np.testing.assert_allclose(served, streamed, atol=1e-4)


def test_steps_guidance_and_sampling_are_inputs(runtime):
  request = Request(text="Yes.", language="en", voice=runtime.stored("anna"))

  def spoken(**changes):
    (said,) = runtime.synthesize([request], **(vars(SETTINGS) | changes))
    return said

  base = spoken()
  assert np.abs(spoken(steps=3).wave - base.wave).max() > 1e-4
  assert np.abs(spoken(guidance=3.0).wave - base.wave).max() > 1e-4
  assert not np.array_equal(spoken(seed=1).tokens, base.tokens)
  greedy = spoken(temperature=0.0).tokens
  np.testing.assert_array_equal(spoken(top_k=1).tokens, greedy)


def test_the_velocity_solves_to_what_the_solver_gives(synthesizer, runtime):
  """The exported velocity gives the solver's latents, guided and prompted."""
  flow, weights = synthesizer.flow.solver, runtime.weights["flow_matching"]
  random = np.random.default_rng(0)
  r, (left, _) = flow.latents_per_token, flow.reach
  chunk = FlowChunk(
    tokens=random.integers(0, 16, 18 + sum(flow.reach)).astype(np.int32),
    before=left,
    size=14,
    known=random.normal(size=(4 * r, flow.channels)).astype(np.float32),
    first=3,
    vector=random.normal(size=synthesizer.flow.config.speaker_dim).astype("f4"),
    seed=5,
    steps=3,
    guidance=2.0,
  )
  (expected,) = flow([chunk])
  ones = np.ones((1, len(chunk.tokens)), bool)
  condition = runtime.functions(
    f"condition_{ones.size}", weights, chunk.tokens[None], ones,
    chunk.vector[None],
  )  # fmt: skip
  latents = 18 * r
  prompt = np.zeros((1, latents, flow.channels), np.float32)
  prompt[0, : 4 * r] = chunk.known
  given = np.arange(latents)[None] < 4 * r
  twice = {
    "condition": np.repeat(condition, 2, 0),
    "speaker": np.repeat(chunk.vector[None], 2, 0),
    "prompt": np.repeat(prompt, 2, 0),
    "prompt_mask": np.repeat(given, 2, 0),
    "mask": np.ones((2, latents), bool),
  }

  def velocity(x, t, end, keep):
    del end
    arrays = {"x_t": x, "t": t, "keep": keep, **twice}
    return runtime.functions(f"velocity_{latents}", weights, arrays)

  keys = jax.vmap(jax.random.key)(np.array([chunk.seed], np.uint32))
  noise = solver.start_noise(
    keys, np.array([chunk.first]), latents, flow.channels
  )
  path = solver.follow(
    solver.guide(velocity, chunk.guidance), noise, prompt, given
  )
  found = solver.euler(path, noise, chunk.steps)
  np.testing.assert_allclose(found[0, 4 * r :], expected, atol=1e-4)


def test_the_whole_vocoder_is_that_of_the_bundle(synthesizer, runtime):
  z = np.random.default_rng(0).normal(size=(1, 70, 4)).astype(np.float32)
  z = np.resize(z, (1, 70, synthesizer.vae.config.channels))
  (expected,) = synthesizer.vae.decode([z[0]])
  found = runtime.functions(
    "vocode_whole", runtime.weights["flow_vae"], z, np.ones((1, 70), bool)
  )
  np.testing.assert_allclose(found[0], expected, atol=1e-5)


ALONE = """
import importlib.metadata, sys
allowed = {"jax", "jaxlib", "numpy", "ml_dtypes", "opt_einsum", "scipy"}
allowed |= {"sentencepiece", "_sentencepiece"}
refused = set(importlib.metadata.packages_distributions()) - allowed
class Bar:
  def find_spec(self, name, path=None, target=None):
    if name.split(".")[0] in refused and path is None and not here(name):
      raise ModuleNotFoundError(name)
folder, *argv = sys.argv[1:]
sys.path[0] = folder
import pathlib
here = lambda name: pathlib.Path(folder, name).exists()
sys.meta_path.insert(0, Bar())
import speak
speak.main(argv, pathlib.Path(folder))
for name in ("s02jax", "flax", "safetensors", "jaxtyping", "soundfile"):
  assert name not in sys.modules and name in refused, name
assert sys.modules["flatbuffers"].__file__.startswith(folder)
"""


def test_the_folder_speaks_with_nothing_else(folder, tmp_path, references):
  out, reference = tmp_path / "out.wav", tmp_path / "reference.wav"
  speak.write(reference, references[1], tiny.RATE)
  argv = ["--text=Yes.", "--language=en", f"--reference={reference}"]
  argv += [f"--out={out}", "--steps=2"]
  cache = jax.config.jax_compilation_cache_dir
  done = subprocess.run(
    [sys.executable, "-c", ALONE, str(folder), *argv],
    capture_output=True,
    text=True,
    cwd=tmp_path,
    env=os.environ
    | {
      "JAX_COMPILATION_CACHE_DIR": str(cache),
      # The very programs that the tests above compiled.
      "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
    },
  )
  assert done.returncode == 0, done.stderr
  assert f"Wrote {out}" in done.stdout
  with wave.open(str(out)) as file:
    assert file.getframerate() == tiny.RATE
    assert file.getnframes() % tiny.SAMPLES == 0 and file.getnframes() > 0


def test_what_the_runtime_imports_is_small():
  names = vendor.modules("s02jax.serving.speak")
  assert "s02jax.synthesis.engine" in names
  assert not [n for n in names if n.split(".")[1:2] == ["models"]]


def test_damage_is_named(folder, tmp_path):
  copy = shutil.copytree(folder, tmp_path / "copy")
  path = copy / "programs" / "decode_1.bin"
  path.write_bytes(path.read_bytes()[:-1] + b"?")
  with pytest.raises(UserError, match=r"decode_1\.bin is not what was"):
    read_card(copy)
  path.unlink()
  with pytest.raises(UserError, match=r"decode_1\.bin is missing"):
    read_card(copy)
  card = copy / "card.json"
  whole = json.loads(card.read_text())
  for version in (FORMAT_VERSION - 1, FORMAT_VERSION + 1):
    card.write_text(json.dumps(whole | {"format_version": version}))
    with pytest.raises(
      UserError, match="another version .* code in the folder"
    ):
      read_card(copy)
  card.write_text("{}")
  with pytest.raises(UserError, match="not an export"):
    read_card(copy)


def test_an_export_of_this_version_still_speaks(tmp_path):
  """`keep_export` kept one of the format's version; its code may be older."""
  archive = HERE / f"export_v{FORMAT_VERSION}.tar.xz"
  with tarfile.open(archive) as file:
    file.extractall(tmp_path, filter="data")
  card = read_card(tmp_path)
  assert card["format_version"] == FORMAT_VERSION
  utterance = keep_export.speak(Runtime(tmp_path, card))
  said = keep_export.said_by(utterance)
  then = json.loads((tmp_path / "said.json").read_text())
  assert said["tokens"] == then["tokens"]
  assert said["samples"] == then["samples"]
  np.testing.assert_allclose(said["rms"], then["rms"], rtol=1e-3)


def test_another_platform_is_one_sentence(folder, tmp_path):
  copy = shutil.copytree(folder, tmp_path / "copy")
  card = json.loads((copy / "card.json").read_text())
  card["platforms"] = ["tpu"]
  (copy / "card.json").write_text(json.dumps(card))
  with pytest.raises(UserError, match="exported for tpu.*--platforms cpu"):
    Runtime.load(copy)


def test_functions_are_lowered_for_every_platform(folder):
  for path in (folder / "programs").iterdir():
    exported = jax.export.deserialize(bytearray(path.read_bytes()))
    assert exported.platforms == export.PLATFORMS


def test_a_gpu_lowers_functions_for_every_platform(monkeypatch):
  """A GPU would use cuDNN's attention for bfloat16 of this length."""
  monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
  assert sharding.platform() == "gpu"

  def attend(x, segment):
    mask = attention.row_mask(segment, segment, 1, x.shape[3])
    return attention.attention(x, x, x, mask)

  x = jax.ShapeDtypeStruct((1, 128, 2, 64), ml_dtypes.bfloat16)
  segment = jax.ShapeDtypeStruct((1, 128), np.int32)
  exported = functions.lower(attend, (x, segment), export.PLATFORMS)
  assert exported.platforms == export.PLATFORMS


def test_what_is_no_export_is_not_replaced(tmp_path):
  (tmp_path / "mine").mkdir()
  with pytest.raises(UserError, match="is not an export"):
    export.write(tiny.bundle(), tmp_path, tmp_path / "mine")
  argv = ["--bundle=x", "--out=y", "--platforms=cpu,rocm"]
  with pytest.raises(UserError, match="'rocm' is none of cpu, cuda, tpu"):
    verb.main(argv)


def test_less_exact_weights_cost_little_and_more_the_fewer_bits():
  bundle = tiny.bundle()
  tokens = np.arange(40, dtype=np.int32) % 16
  reference = tiny.wave(0.8, 3)

  def made(one):
    (said,) = Synthesizer(one).from_tokens([tokens], [reference], steps=2)
    return said

  whole = made(bundle)
  errors = [
    np.abs(made(weight_loss.reduced(bundle, kind)) - whole).mean()
    for kind in tensors.KINDS
  ]
  assert errors[0] == 0
  assert errors[1] > 0 and 0 < errors[2] < np.abs(whole).mean()


@pytest.mark.skipif(
  (sys.platform, platform.machine()) != ("linux", "x86_64"),
  reason="the TPU compiler comes for Linux on x86-64 only",
)
@pytest.mark.usefixtures("nothing_is_kept")
@pytest.mark.parametrize("name", ["decode_2", "prompt_64"])
def test_the_tpu_compiler_takes_the_functions(folder, name):
  device = np.ravel(tpu.devices("v5e:2x2", 1))[0]
  placed = jax.sharding.SingleDeviceSharding(device)
  exported = jax.export.deserialize(
    bytearray((folder / "programs" / f"{name}.bin").read_bytes())
  )

  def fixed(x):
    sizes = {"t": 256}
    shape = [n if isinstance(n, int) else eval(str(n), sizes) for n in x.shape]
    return jax.ShapeDtypeStruct(tuple(shape), x.dtype, sharding=placed)

  args, named = jax.tree.unflatten(
    exported.in_tree, [fixed(x) for x in exported.in_avals]
  )
  assert jax.jit(exported.call).lower(*args, **named).compile().as_text()


def test_an_export_speaks_in_the_bundles_emotions(tmp_path, monkeypatch):
  """As the bundle does, in any mixture; what is unknown is one sentence."""
  source, bundle = tmp_path / "bundle", tiny.bundle()
  bundle.write(source)
  adapters = [
    tiny.adapter(name, number) for number, name in enumerate(("low", "sad"))
  ]
  for one in adapters:
    adapter_store.add(source, one)
  live = Synthesizer(bundle, adapters)
  (voice,) = live.voices([tiny.wave(0.8, 3)], [None])
  monkeypatch.setattr(functions, "SLOTS", (1,))
  monkeypatch.setattr(functions, "LONGEST", functions.PROMPT_UNIT)
  monkeypatch.setattr(functions, "_velocity", lambda *_: ())
  monkeypatch.setattr(functions, "_encoders", lambda *_: ())
  monkeypatch.setattr(functions, "BATCH_SIZES", (1,))
  export.write(bundle, source, tmp_path / "out", platforms=["cpu"])
  served = Runtime(tmp_path / "out", read_card(tmp_path / "out"))
  assert served.emotions == ("low", "sad")
  said = []
  for emotion in (None, "sad:0.7,low:0.3"):
    request = Request(text="Yes.", language="en", voice=voice, emotion=emotion)
    (one,) = live.synthesize([request], steps=2)
    (other,) = served.synthesize([request], steps=2)
    np.testing.assert_array_equal(other.tokens, one.tokens)
    np.testing.assert_allclose(other.wave, one.wave, atol=1e-4)
    said.append(one.tokens.tobytes())
  assert said[0] != said[1]
  request = Request(text="Yes.", language="en", voice=voice, emotion="glad")
  with pytest.raises(UserError, match="no emotion 'glad' here"):
    served.synthesize([request])
