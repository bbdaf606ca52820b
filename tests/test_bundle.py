"""Bundles: exact round trips, and one sentence for every fault."""

import dataclasses
import json
import shutil

import jax
import numpy as np
import pytest
import safetensors.numpy

from s02jax.bundle import CODECS, MODELS, Bundle, load_audience
from s02jax.cli import bundle, run
from s02jax.core import tensors
from s02jax.core.errors import UserError
from s02jax.core.trees import flatten, unflatten
from s02jax.text import front
from s02jax.text.tokenizer import train_text_model
from s02jax.training.bundling import check_match
from s02jax.training.trained import Trained
from tests import tiny


@pytest.fixture(scope="module")
def written(tmp_path_factory):
  """Folder of a tiny bundle, which no test changes."""
  path = tmp_path_factory.mktemp("bundle") / "tiny"
  tiny.bundle().write(path)
  return path


def copy(written, tmp_path):
  """Copy of the tiny bundle to damage."""
  return shutil.copytree(written, tmp_path / "copy")


def test_round_trip_is_exact(written):
  made, loaded = tiny.bundle(), Bundle.load(written)
  assert jax.tree.structure(made.params) == jax.tree.structure(loaded.params)
  jax.tree.map(np.testing.assert_array_equal, made.params, loaded.params)
  assert loaded.text_model == made.text_model
  assert loaded.text.decode(loaded.text.pieces("Hé, 你")) == "Hé, 你"
  assert loaded.rate == made.rate
  assert loaded.card == made.card
  # Tuples became lists; nothing else may differ.
  assert json.loads(json.dumps(made.configs)) == loaded.configs


def test_what_the_front_end_needs_is_read_without_the_models(written, tmp_path):
  path = copy(written, tmp_path)
  (path / "ar.safetensors").unlink()
  audience = load_audience(path)
  assert audience.languages == ("en", "es")
  assert audience.folds  # the vocabulary is in small letters
  assert audience.model is not None
  assert audience.model.unknown("fox Ж") == ["Ж"]
  (path / "card.json").unlink()
  with pytest.raises(UserError, match="lacks card.json"):
    load_audience(path)


@pytest.mark.parametrize(
  ("change", "texts", "folds"),
  [
    (str.lower, {}, True),  # made before capitals were folded
    (str.upper, {}, False),
    (str.upper, front.RULES, True),
  ],
)
def test_a_card_or_a_vocabulary_says_whether_capitals_are_folded(
  tmp_path, change, texts, folds
):
  sentences = map(change, tiny.SENTENCES)
  train_text_model(sentences, 384, tmp_path / "text.model")
  counts = {"es": {"seconds": 2.0}, "en": {"seconds": 1.0}}
  data = {
    "languages": ["en", "es", "de"],
    "splits": {"train": {"languages": counts}},
    "texts": texts,
  }
  made = dataclasses.replace(
    tiny.bundle(),
    card={"data": data},
    text_model=(tmp_path / "text.model").read_bytes(),
  )
  assert made.audience.folds == folds
  assert made.audience.languages == ("es", "en", "de")  # most heard first


def test_flatten_joins_keys_and_back():
  tree = {"params": {"a": {"kernel": np.ones((2, 3))}, "b": np.zeros(4)}}
  flat = flatten(tree)
  assert sorted(flat) == ["params/a/kernel", "params/b"]
  jax.tree.map(np.testing.assert_array_equal, unflatten(flat), tree)


def test_files_hold_no_pickle_and_no_leftovers(written):
  names = sorted(p.name for p in written.iterdir())
  models = [f"{name}.safetensors" for name in MODELS]
  assert names == sorted(
    ["card.json", "config.json", "text.model", "voices", *models]
  )
  assert [p.name for p in written.parent.iterdir()] == ["tiny"]


def test_writing_again_replaces_a_bundle(written, tmp_path):
  path = copy(written, tmp_path)
  other = dataclasses.replace(tiny.bundle(), card={"data": {"languages": []}})
  (path / "stray").write_text("of the former bundle")
  other.write(path)
  assert Bundle.load(path).card == other.card
  assert not (path / "stray").exists()
  assert [p.name for p in tmp_path.iterdir()] == ["copy"]


def test_what_is_not_a_bundle_is_not_replaced(tmp_path):
  folder, file = tmp_path / "folder", tmp_path / "file"
  folder.mkdir()
  (folder / "thesis.txt").write_text("mine")
  file.write_text("mine")
  for path in (folder, file):
    with pytest.raises(UserError, match="not a bundle"):
      tiny.bundle().write(path)
  assert (folder / "thesis.txt").read_text() == "mine"
  assert file.read_text() == "mine"


def test_a_failed_write_leaves_nothing(tmp_path, monkeypatch):
  def full(*_):
    raise OSError(28, "No space left on device")

  monkeypatch.setattr(safetensors.numpy, "save", full)
  with pytest.raises(UserError, match="No space left"):
    tiny.bundle().write(tmp_path / "out")
  assert list(tmp_path.iterdir()) == []


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(UserError, match="cannot write the bundle"):
    tiny.bundle().write(tmp_path / "file" / "bundle")


def test_another_version_is_one_sentence(written, tmp_path):
  path = copy(written, tmp_path)
  config = json.loads((path / "config.json").read_text())
  (path / "config.json").write_text(json.dumps(config | {"format_version": 9}))
  with pytest.raises(UserError, match="another version .*9") as error:
    Bundle.load(path)
  assert str(error.value).count(". ") == 0


@pytest.mark.parametrize("name", ["ar.safetensors", "text.model", "card.json"])
def test_a_missing_file_is_named(written, tmp_path, name):
  path = copy(written, tmp_path)
  (path / name).unlink()
  with pytest.raises(UserError, match=name):
    Bundle.load(path)


def test_damage_is_named(written, tmp_path):
  path = copy(written, tmp_path)
  data = (path / "ar.safetensors").read_bytes()
  (path / "ar.safetensors").write_bytes(data[: len(data) // 2])
  with pytest.raises(UserError, match="ar.safetensors is damaged"):
    Bundle.load(path)


@pytest.mark.parametrize("content", [None, "{", "[]", "{}"])
def test_no_bundle_is_one_sentence(tmp_path, content):
  if content is not None:
    (tmp_path / "config.json").write_text(content)
  with pytest.raises(UserError, match="not a bundle"):
    Bundle.load(tmp_path)


# ------------------------------------------------------- runs that fit together


def fitting():
  """Arguments of `check_match` for four stages that fit together."""
  configs = {name: config for name, (config, _) in tiny.stages().items()}
  latents = configs["flow_matching"]["latents"]
  return {
    "configs": configs,
    "fingerprints": {"audio_tokenizer": "a", "flow_vae": "b"},
    "features": {
      "sources": {
        "audio_tokenizer": {"fingerprint": "a"},
        "flow_vae": {"fingerprint": "b"},
      },
      "num_codes": configs["ar"]["model"]["num_codes"],
      "mean": list(latents["mean"]),
      "std": list(latents["std"]),
    },
    "text_size": configs["ar"]["model"]["text_size"],
  }


def test_fitting_runs_pass():
  check_match(**fitting())


def test_another_tokenizer_is_found():
  runs = fitting()
  runs["fingerprints"]["audio_tokenizer"] = "later"
  with pytest.raises(UserError, match="audio_tokenizer.*s02 extract"):
    check_match(**runs)


@pytest.mark.parametrize("name", ["ar", "flow_matching"])
def test_features_of_another_tokenizer_are_found(name):
  runs = fitting()
  config = dict(runs["configs"][name])
  runs["configs"] = runs["configs"] | {name: config}
  config["features"] = {"audio_tokenizer": "a"}
  check_match(**runs)
  config["features"] = {"audio_tokenizer": "older"}
  with pytest.raises(UserError, match=f"{name} was trained on features"):
    check_match(**runs)


def test_other_latents_are_found():
  runs = fitting()
  runs["features"]["mean"][3] += 1e-3
  with pytest.raises(UserError, match="flow_matching"):
    check_match(**runs)


def test_another_vocabulary_is_found():
  with pytest.raises(UserError, match="vocab_size is 384 .* 385"):
    check_match(**fitting() | {"text_size": 385})


def test_another_codebook_is_found():
  runs = fitting()
  runs["features"]["num_codes"] += 1
  with pytest.raises(UserError, match="ar: model.num_codes"):
    check_match(**runs)


def test_the_verb_names_a_workdir_without_a_run(tmp_path, capsys):
  flags = [f"--{name}={tmp_path}" for name in MODELS]
  argv = [f"--corpus={tmp_path}", f"--out={tmp_path}/out", *flags]
  assert run(bundle.main, argv) == 2
  assert "no run here" in capsys.readouterr().err
  assert list(tmp_path.iterdir()) == []


def test_stored_in_fewer_bits_it_is_smaller_and_known_by_what_is_read(
  tmp_path,
):
  made = tiny.bundle()
  sizes = {}
  for kind in tensors.KINDS:
    made.write(tmp_path / kind, kind)
    loaded = Bundle.load(tmp_path / kind)
    assert loaded.fingerprint == made.stored(kind).fingerprint
    # Gathered anew with other stages, these weights are still the same.
    assert loaded.stored(kind).fingerprint == loaded.fingerprint
    for leaf in jax.tree.leaves(loaded.params):
      assert leaf.dtype == np.float32
    files = (tmp_path / kind).glob("*.safetensors")
    sizes[kind] = sum(file.stat().st_size for file in files)
  assert sizes["int8"] < sizes["bfloat16"] < sizes["float32"]


def test_codecs_alone_are_a_bundle_that_extracts_but_does_not_speak(tmp_path):
  made = tiny.bundle()
  codecs = dataclasses.replace(
    made,
    configs={name: made.configs[name] for name in CODECS},
    params={name: made.params[name] for name in CODECS},
  )
  codecs.write(tmp_path / "codecs")
  with pytest.raises(UserError, match="holds no ar and no flow_matching"):
    Bundle.load(tmp_path / "codecs")
  trained = Trained.load(tmp_path / "codecs", "flow_vae")
  jax.tree.map(
    np.testing.assert_array_equal, trained.params, made.params["flow_vae"]
  )
  with pytest.raises(UserError, match="holds no ar"):
    Trained.load(tmp_path / "codecs", "ar")


def test_half_of_the_generating_stages_is_one_sentence():
  argv = ["bundle", "--corpus=c", "--audio_tokenizer=a", "--flow_vae=f"]
  with pytest.raises(UserError, match="both --ar and --flow_matching"):
    bundle.main([*argv[1:], "--ar=x", "--out=o"])
