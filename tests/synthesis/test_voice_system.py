"""`s02jax.load`: voices of any kind, texts as people write them, one sentence.

The bundle is tiny and random; what it says is noise.
"""

import asyncio
import dataclasses
import pathlib
import subprocess
import sys
import typing

import numpy as np
import pytest
import soundfile

import s02jax
from s02jax.audio import loudness
from s02jax.audio.effects import Changes
from s02jax.audio.sound import Sound
from s02jax.cli import run, synthesize
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.synthesis.request import Request, Settings
from s02jax.synthesis.voice_system import Options, VoiceSystem
from tests import tiny

FAST = {"language": "en", "steps": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
  """Folder of a bundle with two voices, and of a reference at 44.1 kHz."""
  path = tiny.write_with_voices(tmp_path_factory.mktemp("api"))
  wave = loudness.resample(tiny.wave(0.8, 2), tiny.RATE, 44100)
  soundfile.write(path / "ref.wav", wave, 44100, subtype="FLOAT")
  return path


@pytest.fixture(scope="module")
def system(folder) -> VoiceSystem:
  return s02jax.load(folder / "bundle")


def test_what_is_said_is_what_the_command_line_says(
  system, folder, tmp_path, monkeypatch
):
  monkeypatch.setattr(startup, "set_up", lambda: None)
  by_command, by_call = tmp_path / "a.wav", tmp_path / "b.wav"
  for words, settings in (
    (["--reference", str(folder / "ref.wav")], {}),
    (
      ["--reference", str(folder / "ref.wav"), "--reference-text", "Yes 2."],
      {"reference_text": "Yes 2."},
    ),
  ):
    argv = ["--bundle", str(folder / "bundle"), "--text", "Yes. <#0.2#> No."]
    argv += ["--steps=1", "--seed=3", "--language=en", "--speed=1.2", *words]
    assert run(synthesize.main, [*argv, "--out", str(by_command)]) == 0
    sound = system.say(
      "Yes. <#0.2#> No.",
      voice=folder / "ref.wav",
      seed=3,
      speed=1.2,
      **FAST,
      **settings,
    )
    assert sound.save(by_call) == by_call
    assert by_call.read_bytes() == by_command.read_bytes()


def test_a_recording_is_the_same_in_every_form(system, folder):
  path = folder / "ref.wav"
  samples, rate = soundfile.read(path, dtype="float32")
  whole = np.round(samples * 2**31).astype(np.int64).clip(-(2**31), 2**31 - 1)
  forms = {
    "path": path,
    "string": str(path),
    "bytes": path.read_bytes(),
    "samples": (samples, rate),
    "numpy's rate": (samples, np.int64(rate)),
    "stereo": (np.stack([samples, samples], axis=1), rate),
    "integers": (whole.astype(np.int32), rate),
    "a list": [path],
    "bytearray": bytearray(path.read_bytes()),
  }
  made = {name: system.voice(form) for name, form in forms.items()}
  for name, voice in made.items():
    np.testing.assert_allclose(
      voice.ar_vector, made["path"].ar_vector, atol=1e-4, err_msg=name
    )
  # Level and rate make no difference; another speaker does.
  quiet = (0.1 * loudness.resample(samples, rate, 16000), 16000)
  near, far = (system.voice(x).ar_vector for x in (quiet, folder / "1.wav"))
  distance = np.linalg.norm(near - made["path"].ar_vector)
  assert distance < 0.1 * np.linalg.norm(far - made["path"].ar_vector)


def test_voices_by_name_mixture_and_file(system, folder, tmp_path):
  assert system.voices == ["anna", "ben"]
  anna, ben = system.voice("anna"), system.voice({"ben": 1})
  assert anna.prompt is None and ben.prompt.text == "Good morning"
  mixed = system.voice({"anna": 3, "ben": 1})
  # A mixture has the direction of the mean and the power of the voices.
  mean = 0.75 * anna.ar_vector + 0.25 * ben.ar_vector
  cosine = mean @ mixed.ar_vector
  cosine /= np.linalg.norm(mean) * np.linalg.norm(mixed.ar_vector)
  assert cosine == pytest.approx(1, abs=1e-5)
  assert system.voice(anna) is anna
  anna.save(tmp_path / "c.safetensors")
  again = system.voice(tmp_path / "c.safetensors")
  np.testing.assert_array_equal(again.ar_vector, anna.ar_vector)
  several = system.voice([folder / "0.wav", folder / "1.wav"])
  np.testing.assert_allclose(several.ar_vector, anna.ar_vector, atol=1e-5)
  one_shot = system.voice(folder / "ref.wav", reference_text="2 dogs")
  assert one_shot.prompt.text == "two dogs"


def test_a_stream_says_the_same_block_by_block(system):
  blocks = list(system.stream("Yes, yes, yes.", "anna", **FAST))
  assert len(blocks) > 1 and all(len(block) for block in blocks)
  sound = system.say("Yes, yes, yes.", "anna", **FAST)
  assert sound.samples.dtype == np.float32 and sound.rate == tiny.RATE
  # The words are the same, made in other windows.
  streamed = np.concatenate(blocks)
  assert streamed.shape == sound.samples.shape
  assert np.corrcoef(streamed, sound.samples)[0, 1] > 0.5
  other = system.say("Yes, yes, yes.", "anna", rate=24000, **FAST)
  assert other.rate == 24000
  assert other.seconds == pytest.approx(sound.seconds, abs=0.01)


@pytest.mark.parametrize(
  ("settings", "message"),
  [
    ({"temprature": 1}, r"'temprature' .* \(did you mean temperature\?\)"),
    ({"refrence_text": "a"}, r"did you mean reference_text\?"),
    ({"voise": "anna"}, r"did you mean voice\?"),
    ({"colour": 1}, r"'colour' is not a setting of speech; there are seed,"),
    ({"voice": None}, r"whose voice\? Give voice=the name .*anna, ben"),
    ({"voice": "ana"}, r"neither a file nor a voice .*did you mean anna\?"),
    ({"voice": {"ana": 1}}, "has no voice 'ana'"),
    ({"voice": pathlib.Path("none.wav")}, "none.wav: the file does not exist"),
    ({"voice": b"RIFF"}, "not audio"),
    ({"voice": b""}, "empty"),
    ({"voice": []}, "no recording"),
    ({"voice": np.zeros(9)}, r"a ndarray is no recording.*\(samples, rate\)"),
    ({"voice": (16000, np.zeros(9))}, r"a tuple is no recording"),
    ({"voice": (np.zeros(9), 44.1)}, "44"),
    ({"voice": "anna", "reference_text": "a"}, "brings its own"),
    ({"steps": 0}, "steps is 0"),
    ({"steps": "many"}, "steps is 'many'; it must be a whole number"),
    ({"steps": 2.5}, "steps is 2.5; it must be a whole number"),
    ({"top_p": True}, "top_p is True; it must be a number"),
    ({"speed": "fast"}, "speed is 'fast'; it must be a number"),
    ({"rate": 44.1}, "rate is 44.1; it must be a whole number"),
    ({"language": "xx"}, "xx"),
    ({"markup": "html"}, "markup 'html'"),
    ({"pronunciation": "none.tsv"}, "none.tsv"),
  ],
)
@pytest.mark.parametrize("method", ["say", "stream"])
def test_faults_are_one_sentence_at_once(system, settings, message, method):
  given = {"voice": "anna"} | FAST | settings
  with pytest.raises(UserError, match=message) as caught:
    getattr(system, method)("Yes.", **given)
  assert len(str(caught.value)) < 400 and "\n" not in str(caught.value)


def test_a_text_is_a_string(system):
  with pytest.raises(UserError, match=r"a PosixPath; give a string"):
    system.say(pathlib.Path("book.txt"), "anna")


def test_the_models_say_how_a_recording_is_given(system, folder):
  """Below, samples have the bundle's rate; nothing there could know another."""
  for reference in (str(folder / "ref.wav"), folder / "ref.wav", b"RIFF"):
    request = Request(text="Yes.", language="en", reference=reference)
    with pytest.raises(UserError, match=r"read by `s02jax.load"):
      system.synthesizer.synthesize([request])
  request = Request(text="Yes.", language="en", voice=system.voice("anna"))
  with pytest.raises(UserError, match=r"did you mean steps\?"):
    system.synthesizer.stream(request, step=3)


def test_settings_have_one_list():
  fields = {f.name for k in (Settings, Changes) for f in dataclasses.fields(k)}
  more = {"reference_text", "reference_language", "pronunciation", "markup"}
  more.add("emotion")
  assert set(typing.get_type_hints(Options)) == fields | more


def test_a_sound_is_played_in_a_notebook(tmp_path):
  sound = Sound(samples=np.zeros(800, np.float32), rate=8000)
  assert repr(sound) == "Sound(0.10 s at 8000 Hz)"
  assert sound._repr_html_().startswith('<audio controls src="data:audio/wav')
  with pytest.raises(UserError, match="suffix"):
    sound.save(tmp_path / "a.txt")


def test_importing_the_package_is_light():
  told = subprocess.run(
    [
      sys.executable,
      "-c",
      "import sys, s02jax; print('jax' in sys.modules, 'numpy' in sys.modules,"
      " callable(s02jax.load), s02jax.__version__)",
    ],
    capture_output=True,
    text=True,
    check=True,
  )
  assert told.stdout == f"False False True {s02jax.__version__}\n"


# --------------------------------------------------------- asynchronous tasks


def test_tasks_are_spoken_side_by_side_as_each_would_be_alone(system):
  texts = ["Yes, yes, yes.", "Oh no! <#0.2#> Why?"]

  async def tasks():
    spoken = asyncio.gather(*(system.asay(t, "anna", **FAST) for t in texts))
    streamed = [b async for b in system.astream(texts[0], "anna", **FAST)]
    return await spoken, np.concatenate(streamed)

  spoken, streamed = asyncio.run(tasks())
  for sound, text in zip(spoken, texts, strict=True):
    alone = system.say(text, "anna", **FAST)
    assert sound.rate == alone.rate
    np.testing.assert_allclose(sound.samples, alone.samples, atol=2e-4)
  alone = np.concatenate(list(system.stream(texts[0], "anna", **FAST)))
  np.testing.assert_allclose(streamed, alone, atol=2e-4)
  assert not system.shared.slots_in_use


def test_a_task_that_is_cancelled_or_wrong_leaves_the_engine(system):
  async def leave():
    with pytest.raises(UserError, match="did you mean steps"):
      await system.asay("Yes.", "anna", step=1)
    blocks = system.astream("Yes, yes, yes. " * 20, "anna", **FAST)
    await anext(blocks)
    await blocks.aclose()
    task = asyncio.create_task(
      system.asay("Yes, yes, yes. " * 20, "anna", **FAST)
    )
    while not system.shared.slots_in_use:
      await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
      await task
    while system.shared.slots_in_use:
      await asyncio.sleep(0.01)

  asyncio.run(asyncio.wait_for(leave(), 120))
