"""Ablations: variants differ in what they should, and the table is whole."""

import concurrent.futures
import contextlib
import dataclasses
import json
import pathlib
import sys

import numpy as np
import pytest

from data_pipelines import extract
from launch import local
from s02jax import bundle
from s02jax.cli.experiments import ablate
from s02jax.core.errors import UserError
from s02jax.data.records import SPLITS, Corpus
from s02jax.evaluation.figure import Figure
from s02jax.evaluation.report import (
  judge,
  measures,
  recipes,
  resynthesis,
  workers,
)
from s02jax.evaluation.report import panel as panels
from s02jax.experiments import ablation as ablations
from s02jax.experiments import ablation_table, sweep
from s02jax.pretrained import signal
from s02jax.training import bundling
from s02jax.training.arguments import parse
from s02jax.training.trained import Trained
from tests import tiny

NAMES = tuple(ablations.names())
SIZES = ("test", "demo", "base")
each = pytest.mark.parametrize("name", NAMES)


def load(name, size="test"):
  return ablations.load(name.replace("-", "_"), size)


def job(name, out, size="test", **fields):
  return ablations.AblationJob(
    ablation=load(name, size),
    tools=ablations.Tools(
      launch=lambda argv: local.launch(None, argv),
      extract=extract.extract,
      extract_speakers=extract.extract_speaker_vectors,
      solve=print,
      tell=print,
    ),
    corpus=pathlib.Path("corpus"),
    out=out,
    **fields,
  )


def corpora(work):
  return dict.fromkeys(work.ablation.variants, work.corpus)


def finish(one: sweep.Run) -> None:
  (one.workdir / "checkpoints" / str(one.steps)).mkdir(parents=True)


# ------------------------------------------------------------------ variants


@each
@pytest.mark.parametrize("size", SIZES)
def test_variants_differ_in_what_they_should_alone(name, size, tmp_path):
  work = job(name, tmp_path, size, fields=["--config.seed=3"])
  budget = dict.fromkeys(work.ablation.budget, 7)
  work = dataclasses.replace(
    work, ablation=dataclasses.replace(work.ablation, budget=budget)
  )
  runs = ablations.plan(work, corpora(work))
  assert {one.workdir for one in runs} == {
    tmp_path / "runs" / variant for variant in work.ablation.variants
  }
  configs = [parse(list(one.argv)).config for one in runs]
  assert {config.seed for config in configs} == {3}
  assert {config.corpus for config in configs} == {"corpus"}
  for config, one in zip(configs, runs, strict=True):
    for field, value in (*one.overrides.items(), *work.ablation.budget.items()):
      node = config
      for part in field.split("."):
        node = node[part]
      assert node == value
      if field in one.overrides:  # what is varied is made the same
        parent = config
        *parts, last = field.split(".")
        for part in parts:
          parent = parent[part]
        parent[last] = None
  assert len({config.to_json_best_effort() for config in configs}) == 1


def test_the_autoencoders_differ_in_their_flow(tmp_path):
  layers = [
    variant["model.flow_layers"]
    for variant in load("resynthesis").variants.values()
  ]
  assert layers[0] == 0 < layers[1]


def test_the_latents_are_those_of_the_autoencoders():
  assert load("latents").variants.keys() == load("resynthesis").variants.keys()


# -------------------------------------------------------------------- resume


def test_what_is_finished_is_not_trained_again(tmp_path, monkeypatch):
  work = job("resynthesis", tmp_path)
  runs = ablations.plan(work, corpora(work))
  launched = []

  def launch(_, argv):
    launched.append(tuple(argv))
    finish(next(one for one in runs if one.argv == tuple(argv)))
    return 0

  monkeypatch.setattr(local, "launch", launch)
  finish(runs[0])
  ablations.train(work, corpora(work))
  assert launched == [runs[1].argv]
  ablations.train(work, corpora(work))
  assert len(launched) == 1


def test_a_training_that_fails_ends_the_command(tmp_path, monkeypatch):
  work = job("resynthesis", tmp_path)
  monkeypatch.setattr(local, "launch", lambda *_: 7)
  with pytest.raises(SystemExit) as stopped:
    ablations.train(work, corpora(work))
  assert stopped.value.code == 7


def test_a_folder_holds_one_ablation(tmp_path, monkeypatch):
  monkeypatch.setitem(ablations.SUBJECTS, "latents", pytest.fail)
  sweep.claim(tmp_path, "resynthesis.py:test")
  with pytest.raises(UserError, match=r"resynthesis\.py:test.*another folder"):
    ablate.main(["latents", "--corpus=c", f"--out={tmp_path}", "--size=test"])


@pytest.mark.parametrize(
  "argv, complaint",
  [
    (["--config.steps"], "config.steps=VALUE"),
    (["--cases=0"], "at least 1"),
    (["--size=huge"], "no size 'huge'"),
  ],
)
def test_wrong_arguments_are_one_sentence(argv, complaint, tmp_path):
  with pytest.raises(UserError, match=complaint):
    ablate.main(["resynthesis", "--corpus=c", f"--out={tmp_path}", *argv])


@pytest.mark.parametrize(
  "name", ["latents", "speaker-conditioning", "solver-steps"]
)
def test_other_stages_are_asked_for_before_anything_is_trained(
  name, tmp_path, monkeypatch
):
  monkeypatch.setattr(local, "launch", lambda *_: pytest.fail("trained"))
  with pytest.raises(UserError, match="--base"):
    ablate.main([name, "--corpus=c", f"--out={tmp_path}", "--size=test"])


def test_a_view_shares_all_but_the_features(tmp_path):
  corpus = tmp_path / "corpus"
  for folder in ("features", "index", "speech"):
    (corpus / folder).mkdir(parents=True)
    (corpus / folder / "x").write_text(folder)
  for _ in range(2):
    made = ablations.view(corpus, tmp_path / "out" / "vae")
  assert {p.name for p in made.iterdir()} == {"index", "speech"}
  assert (made / "index" / "x").read_text() == "index"


# --------------------------------------------------------------------- table


def invented(ablation):
  return {
    row.name: {
      column.measure: Figure(value=(i + 1) / 64, n=7)
      for column in ablation.columns
    }
    for i, row in enumerate(ablation.rows)
  }


@each
@pytest.mark.parametrize("size", SIZES)
def test_every_row_stands_beside_the_papers(name, size):
  ablation = load(name, size)
  assert len({row.name for row in ablation.rows}) == len(ablation.rows)
  base = {"emotion-reference": {"base"}, "solver-steps": {"teacher"}}
  assert {row.variant for row in ablation.rows} == {
    measures.GROUND_TRUTH,
    *ablation.variants,
    *base.get(name, ()),
  }
  known = {recipe.name for recipe in recipes.RECIPES} | {""}
  assert {row.recipe for row in ablation.rows} <= known
  table = ablation_table.to_json(
    ablation, dict.fromkeys(ablation.variants, 20), invented(ablation)
  )
  lines = ablation_table.to_markdown(table).splitlines()
  names = [n for column in ablation.columns for n in column.paper]
  for name in names:
    assert f"| paper: {name} |" in lines[0]
  for i, row in enumerate(ablation.rows):
    cells = lines[2 + i].strip("| ").split(" | ")
    assert cells[0] == row.label
    known = set(names) if row.variant != measures.GROUND_TRUTH else set()
    assert set(row.paper) == known
    rest = iter(cells[1:])
    for column in ablation.columns:
      scale = 100 if column.percent else 1
      assert next(rest) == f"{(i + 1) / 64 * scale:.3f}"
      for name in column.paper:
        told = row.paper.get(name)
        assert next(rest) == ("–" if told is None else f"{told:.3f}")
    assert not list(rest)
  assert ablation.source in lines[-1] and "20 steps" in lines[-1]


def test_what_was_not_measured_is_a_dash():
  ablation = load("latents")
  figures = invented(ablation)
  figures[measures.GROUND_TRUTH]["asr_cer"] = Figure(value=None, n=0)
  text = ablation_table.to_markdown(
    ablation_table.to_json(ablation, {}, figures)
  )
  assert "| – | – | – |" in text.splitlines()[2]


# -------------------------------------------------------------------- judges


@pytest.fixture(scope="module")
def panel():
  def case(i):
    return panels.Case(
      id=str(i),
      split="unseen",
      speaker=f"speaker {i}",
      language="en",
      text="a",
      candidates=("a", "b"),
      wave=tiny.wave(1.6, i),
      reference=tiny.wave(1.0, i),
      reference_text="b",
    )

  return panels.Panel(
    split="unseen",
    cases=(case(0), case(1)),
    enrolment={f"speaker {i}": tiny.wave(2.0, i) for i in range(2)},
    speakers_without_another_clip=0,
  )


@pytest.fixture
def pool():
  with concurrent.futures.ThreadPoolExecutor(1) as executor:
    yield executor


def test_a_worse_copy_is_judged_worse(panel, pool, random):
  waves = [case.wave for case in panel.cases]
  noises = [random.normal(size=w.shape).astype(np.float32) for w in waves]
  copies = {
    str(level): [w + level * n for w, n in zip(waves, noises, strict=True)]
    for level in (0.0, 0.02, 0.5)
  }
  found = resynthesis.judge(panel, copies, rate=tiny.RATE, pool=pool)
  values = {
    row: {name: figure.value for name, figure in figures.items()}
    for row, figures in found.items()
  }
  assert values["0.0"] == values[measures.GROUND_TRUTH]
  assert values["0.0"]["self_sim"] == pytest.approx(1.0, abs=1e-5)
  assert values["0.0"]["stft_loss"] == 0.0
  for column in load("resynthesis").columns:
    if column.measure in ("prompt_sim", "kl"):
      continue
    if "pesq" in column.measure and not signal.has_pesq():
      assert values["0.0"][column.measure] is None
      continue
    best, middle, worst = (
      values[row][column.measure] for row in ("0.0", "0.02", "0.5")
    )
    if column.better == "lower":
      best, middle, worst = -best, -middle, -worst
    assert best > middle > worst


# ---------------------------------------------------------------- whole runs


@pytest.fixture
def trained(monkeypatch, panel):
  """Replaces training, checkpoints and corpus by fakes with random models."""

  def launch(_, argv):
    config = parse(list(argv))
    folder = pathlib.Path(config.workdir) / "checkpoints"
    (folder / str(config.config.steps)).mkdir(parents=True)
    return 0

  def read(workdir, stage):
    config, params = tiny.stages()[stage]
    return Trained(
      stage=stage, step=20, config=config, params=params, metrics={}
    )

  @contextlib.contextmanager
  def pool(_):
    with concurrent.futures.ThreadPoolExecutor(1) as executor:
      yield executor

  class Split:
    def __init__(self, split):
      self.split = split

    def __len__(self):
      return 2

  monkeypatch.setattr(local, "launch", launch)
  monkeypatch.setattr(Trained, "load", read)
  monkeypatch.setattr(workers, "pool", pool)
  monkeypatch.setattr(Corpus, "open", lambda _, split: Split(split))
  monkeypatch.setattr(panels, "choose_panel", lambda *_, **__: panel)


def run(name, tmp_path, *more):
  ablate.main(
    [
      name,
      "--size=test",
      f"--corpus={tmp_path}",
      f"--out={tmp_path / 'out'}",
      f"--base={tmp_path / 'base'}",
      *more,
    ]
  )
  return json.loads((tmp_path / "out" / "table.json").read_text())


def test_resynthesis_from_the_command_to_the_table(
  trained, tmp_path, monkeypatch, capsys
):
  table = run("resynthesis", tmp_path)
  told = capsys.readouterr().out
  assert (tmp_path / "out" / "table.md").read_text() in told
  assert table["steps"] == {"vae": 20, "flow_vae": 20}
  truth, *copies = (row["ours"] for row in table["rows"])
  for copy in copies:  # by random weights
    assert copy["stft_loss"]["value"] > truth["stft_loss"]["value"] + 0.5
  # The same again judges nothing; another number of cases does.
  monkeypatch.setattr(resynthesis, "judge", lambda *_, **__: 1 / 0)
  assert run("resynthesis", tmp_path) == table
  with pytest.raises(ZeroDivisionError):
    run("resynthesis", tmp_path, "--cases=3")


@pytest.mark.parametrize("why", ["empty", "one clip each"])
def test_a_corpus_without_unseen_speakers_is_judged_on_seen(
  trained, panel, tmp_path, monkeypatch, why
):
  """As of LJSpeech, which has one speaker."""
  seen = dataclasses.replace(panel, split="seen")

  def choose(split, others, **_):
    assert {other.split for other in others} == {*SPLITS} - {split.split}
    if split.split == "unseen":
      raise panels.NoCases(f"{why}.")
    return seen

  monkeypatch.setattr(panels, "choose_panel", choose)
  table = run("resynthesis", tmp_path)
  assert "Judged on `seen`" in table["note"]


def test_a_corpus_that_holds_nothing_out_is_refused_before_training(
  trained, tmp_path, monkeypatch
):
  monkeypatch.setattr(local, "launch", lambda *_: 1 / 0)
  monkeypatch.setattr(Corpus, "open", lambda *_: [])
  with pytest.raises(UserError, match="holds out no clip"):
    run("resynthesis", tmp_path)


def test_without_its_package_pesq_has_no_column_and_the_note_says_so(
  trained, tmp_path, monkeypatch
):
  with pytest.MonkeyPatch.context() as missing:
    missing.setitem(sys.modules, "pesq", None)
    table = run("resynthesis", tmp_path)
  assert {c["measure"] for c in table["columns"]} == {
    *("self_sim", "prompt_sim", "stoi", "stft_loss", "kl")
  }
  assert signal.NO_PESQ in (tmp_path / "out" / "table.md").read_text()
  if signal.has_pesq():  # then this table is not what was asked for
    monkeypatch.setattr(resynthesis, "judge", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
      run("resynthesis", tmp_path)


class Speaker:
  """Synthesizer whose rows carry the name of the bundle they are made by."""

  rate = tiny.RATE

  def __init__(self, made):
    self.name = made.card["name"]

  def ctc_transcribe(self, waves):
    return [""] * len(waves)


@pytest.fixture
def speaking(trained, monkeypatch, tmp_path):
  """Replaces extraction, gathering and judges; returns what they were given."""
  seen = {"extracted": [], "gathered": [], "made": {}}

  def gather(corpus, workdirs):
    seen["gathered"].append((str(corpus), dict(workdirs)))
    folders = [pathlib.Path(w) for w in workdirs.values()]
    name = next(f.name for f in folders if f.is_relative_to(tmp_path / "out"))
    models = {stage: {"steps": 20} for stage in bundle.MODELS}
    return dataclasses.replace(
      tiny.bundle(), card={"name": name, "models": models}
    )

  def make_renditions(recipe, models, cases, settings):
    assert settings.temperature == 0.3
    waves = [case.wave for case in cases]
    seen["made"][models.name, recipe.name] = waves
    return judge.Renditions(waves=waves, aligned=False, transcripts=[""] * 2)

  def judged(panel, made, **_):
    share = Figure(value=0.75, n=4, low=0.3, high=0.9)
    names = ("dtw_top1", "sentence_choice", "wer", "similarity")
    return judge.Judgement(
      figures={row: dict.fromkeys(names, share) for row in made}, verdicts={}
    )

  monkeypatch.setattr(
    extract, "extract", lambda *paths: seen["extracted"].append(paths)
  )
  monkeypatch.setattr(
    extract,
    "extract_speaker_vectors",
    lambda corpus: seen["extracted"].append(corpus),
  )
  monkeypatch.setattr(bundling, "gather", gather)
  monkeypatch.setattr(ablations, "Synthesizer", Speaker)
  monkeypatch.setattr(recipes, "make_renditions", make_renditions)
  monkeypatch.setattr(judge, "judge", judged)
  return seen


def test_latents_from_the_command_to_the_table(speaking, tmp_path):
  table = run("latents", tmp_path)
  out, base = tmp_path / "out", tmp_path / "base"
  for variant, extracted, gathered in zip(
    ("vae", "flow_vae"), speaking["extracted"], speaking["gathered"],
    strict=True,
  ):  # fmt: skip
    corpus = str(out / "corpora" / variant)
    vae = str(out / "vaes" / "runs" / variant)
    assert extracted == (corpus, str(base / "audio_tokenizer"), vae)
    assert gathered == (
      corpus,
      {
        "audio_tokenizer": str(base / "audio_tokenizer"),
        "flow_vae": vae,
        "ar": str(base / "ar"),
        "flow_matching": str(out / "runs" / variant),
      },
    )
    assert {(variant, "zero_shot"), (variant, "one_shot")} <= set(
      speaking["made"]
    )
    assert (out / "bundles" / variant / "card.json").exists()
  wrong = table["rows"][1]["ours"]["wrong_text"]
  assert wrong == pytest.approx(dict(value=0.25, n=4, low=0.1, high=0.7))


def test_speaker_conditioning_from_the_command_to_the_table(speaking, tmp_path):
  table = run("speaker-conditioning", tmp_path)
  assert speaking["extracted"] == [str(tmp_path)]
  variants = ("encoder", "embedding", "prompt")
  for variant, (_, workdirs) in zip(
    variants, speaking["gathered"], strict=True
  ):
    assert workdirs == {
      stage: str(tmp_path / "base" / stage) for stage in bundle.MODELS
    } | {"ar": str(tmp_path / "out" / "runs" / variant)}
  assert ("prompt", "zero_shot") not in speaking["made"]
  assert ("prompt", "one_shot") in speaking["made"]
  assert "biased" in table["note"]
