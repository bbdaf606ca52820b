"""`s02 adapt`, `s02 adapter`: from recordings to what a bundle has learnt."""

import json

import numpy as np
import pytest
import soundfile

from s02jax.bundle import Bundle
from s02jax.cli.adapters import adapt, adapter
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.synthesis.store import adapter_store, voice_store
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny, user_languages

TEXTS = ("Good morning", "How are you", "The lazy dog", "The quick fox")


def write_manifest(folder, name, texts, emotions=("",), language="en"):
  """Writes clips of one speaker, and a manifest of them; returns its path."""
  lines = []
  for i, text in enumerate(texts):
    for emotion in emotions:
      path = f"{name}-{i}{emotion}.wav"
      soundfile.write(folder / path, tiny.wave(0.9 + 0.1 * i, i), tiny.RATE)
      lines.append(
        {
          "path": path,
          "text": text,
          "language": language,
          "speaker": name,
          "emotion": emotion,
        }
      )
  manifest = folder / f"{name}.jsonl"
  manifest.write_text("\n".join(map(json.dumps, lines)))
  return manifest


@pytest.fixture
def folder(tmp_path):
  """Folder with the tiny bundle."""
  tiny.bundle().write(tmp_path / "bundle")
  return tmp_path


def run(folder, kind, manifest, *more):
  return adapt.main(
    [
      kind,
      *("--bundle", str(folder / "bundle"), "--manifest", str(manifest)),
      *("--steps", "1", "--processes", "1", *more),
      *("--config.eval_batches=0", "--config.batch_size=2"),
    ]
  )


def test_recordings_become_emotions_and_then_a_merged_bundle(folder, capsys):
  manifest = write_manifest(folder, "ann", TEXTS, ("neutral", "sad"))
  assert run(folder, "emotion", manifest, "--licence", "mine") == 0
  told = capsys.readouterr().out
  assert "at least" in told and "GB of memory" in told
  assert "--emotion neutral" in told
  bundle = folder / "bundle"
  assert adapter_store.names(bundle) == ["neutral", "sad"]
  adapter.main(["list", "--bundle", str(bundle)])
  assert "sad      emotion  ar,flow_matching" in capsys.readouterr().out
  card = adapter_store.card(bundle, "sad")
  assert card["base"] == tiny.bundle().fingerprint
  assert card["licence"] == "mine" and card["data"]["clips"] > 4
  assert Synthesizer.load(bundle).emotions == ("neutral", "sad")
  with pytest.raises(UserError, match="already; give --replace"):
    run(folder, "emotion", manifest)
  with pytest.raises(UserError, match="no clip of the emotion 'sda'"):
    run(folder, "emotion", manifest, "--emotions", "sda")
  with pytest.raises(UserError, match="is the bundle itself"):
    adapter.main(
      ["merge", "sad", "--bundle", str(bundle), "--out", str(bundle)]
    )
  out = folder / "merged"
  adapter.main(["merge", "sad:0.5", "--bundle", str(bundle), "--out", str(out)])
  assert Bundle.load(out).card["merged"][0]["strength"] == 0.5
  adapter.main(["remove", "sad", "--bundle", str(bundle)])
  assert adapter_store.names(bundle) == ["neutral"]


def test_a_fitted_voice_leaves_everything_else_as_it_was(folder):
  bundle = folder / "bundle"
  manifest = write_manifest(folder, "ben", TEXTS)
  before = {p: p.read_bytes() for p in bundle.rglob("*") if p.is_file()}
  assert run(folder, "speaker", manifest, "--name", "ben") == 0
  after = {p: p.read_bytes() for p in bundle.rglob("*") if p.is_file()}
  assert {p.name for p in after.keys() - before.keys()} == {"ben.safetensors"}
  assert all(after[p] == before[p] for p in before)
  voice = voice_store.mixed(Synthesizer.load(bundle), bundle, {"ben": 1.0})
  np.testing.assert_allclose(np.mean(voice.ar_vector**2), 1.0, rtol=1e-4)
  np.testing.assert_allclose(np.mean(voice.flow_vector**2), 1.0, rtol=1e-4)


def test_a_language_brings_its_letters_and_the_old_ids_stay(folder):
  polish = ("Żółta łódź", "Łódź płynie", "Jezioro jest żółte", "Dzień dobry")
  manifest = write_manifest(folder, "pan", polish, language="pl")
  named = ("--name", "polish", "--pieces", "20")
  assert run(folder, "language", manifest, *named) == 0
  base, out = folder / "bundle", folder / "polish"
  adapter.main(["merge", "polish", "--bundle", str(base), "--out", str(out)])
  old, new = Bundle.load(base), Bundle.load(out)
  assert new.text.size > old.text.size
  assert "pl" in new.audience.languages and "pl" not in old.audience.languages
  assert new.configs["ar"]["model"]["text_size"] == new.text.size
  assert not new.text.unknown("łódź")
  assert Synthesizer.load(base).emotions == ()  # it speaks merged alone


def test_a_language_of_ones_own_is_known_wherever_the_bundle_goes(folder):
  file = folder / "own.toml"
  file.write_text('[xh]\nname = "Xhosa"\npoint = "nukta"\n')
  texts = ("Habari ya asubuhi", "Asante sana", "Karibu tena", "Kuku 3.5")
  named = ("--name", "swahili", "--language-file", str(file))
  with user_languages.kept():
    manifest = write_manifest(folder, "asha", texts, language="xh")
    assert run(folder, "language", manifest, *named) == 0
    base, out = folder / "bundle", folder / "swahili"
    merge = ["merge", "swahili", "--bundle", str(base), "--out", str(out)]
    adapter.main(merge)
  with user_languages.kept():
    assert "xh" not in languages.BY_CODE
    new = Bundle.load(out)
    assert "xh" in new.audience.languages
    assert new.text.language_id("xh") == Bundle.load(base).text.size
    assert dict(new.configs["ar"]["model"]["text_rates"])["xh"] > 0
    assert languages.BY_CODE["xh"].point == "nukta"


def test_a_single_clip_is_one_sentence(folder):
  manifest = write_manifest(folder, "one", TEXTS[:1])
  with pytest.raises(UserError, match="1 usable clip to train on; give at"):
    run(folder, "speaker", manifest, "--name", "one")
  with pytest.raises(UserError, match="no recording names its emotion"):
    run(folder, "emotion", write_manifest(folder, "mute", TEXTS))
  with pytest.raises(UserError, match="is no name"):
    run(folder, "speaker", write_manifest(folder, "x", TEXTS), "--name", "a/b")
