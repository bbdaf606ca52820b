"""Configs and arguments: wrong input gives one sentence that names it."""

import dataclasses
import importlib
import pathlib
from typing import Literal

import pytest
from ml_collections import ConfigDict, config_dict

from s02jax import cli, stages
from s02jax.cli import train
from s02jax.core import errors
from s02jax.core.config import build
from s02jax.core.version import VERSION
from s02jax.models.layers.transformer import TransformerConfig
from s02jax.training import loop
from s02jax.training.arguments import parse, parse_config
from tests import toy_config
from tests.toy_stage import ToyStage

ROOT = pathlib.Path(__file__).parents[2]
TOY = f"--config={ROOT}/tests/toy_config.py"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Inner:
  """Config nested in another."""

  width: int
  share: float = 0.5


@dataclasses.dataclass(frozen=True, kw_only=True)
class Outer:
  """Config with a field of every kind."""

  inner: Inner
  sizes: tuple[int, ...] = (1,)
  pair: tuple[int, float] = (1, 2.0)
  kind: Literal["a", "b"] = "a"
  name: str | None = None


GOOD = {
  "inner": {"width": 3, "share": 1},
  "sizes": [1, 2],
  "pair": (3, 4),
  "kind": "b",
  "name": "x",
}


@pytest.mark.parametrize("mapping", [GOOD, ConfigDict(GOOD)])
def test_build(mapping):
  built = build(Outer, mapping)
  assert built == Outer(
    inner=Inner(width=3, share=1.0),
    sizes=(1, 2),
    pair=(3, 4.0),
    kind="b",
    name="x",
  )
  assert isinstance(built.inner.share, float)
  assert hash(built) == hash(build(Outer, mapping))


@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"colour": 1}, r"model\.colour is not a field of Outer.*inner, kind"),
    ({"inner": {"width": 3, "hight": 1}}, r"model\.inner\.hight"),
    ({"iner": {"width": 3}}, r"of Outer \(did you mean inner\?\); the fields"),
    ({"inner": {}}, r"model\.inner\.width is missing"),
    ({"inner": {"width": "3"}}, r"model\.inner\.width is '3'; it must be int"),
    ({"inner": {"width": True}}, "must be int"),
    ({"inner": {"width": 2.5}}, "must be int"),
    ({"inner": {"width": None}}, r"model\.inner\.width has no value"),
    ({"inner": 3}, "must be a mapping"),
    ({"sizes": 3}, "must be a sequence"),
    ({"sizes": (1, "x")}, r"model\.sizes\[1\]"),
    ({"pair": (1,)}, "a sequence of 2"),
    ({"kind": "c"}, "one of a, b"),
    ({"name": 3}, "must be str"),
  ],
)
def test_build_names_the_field(change, message):
  with pytest.raises(errors.UserError, match=message):
    build(Outer, GOOD | change)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Holder:
  """Config that holds a model's config."""

  transformer: TransformerConfig


SMALL = dict(width=32, layers=2, heads=2, kv_heads=1, hidden=64)


@pytest.mark.parametrize("where", ["model", "config.model"])
@pytest.mark.parametrize(
  ("change", "message"),
  [
    ({"remat": "foo"}, "remat 'foo' is none of none, full"),
    ({"heads": 5}, "width 32 must be an even multiple of heads 5"),
    ({"unroll": 3}, "unroll 3 must divide layers 2"),
    ({"kv_heads": 0}, "a divisor in it is 0"),
  ],
)
def test_what_a_dataclass_refuses_names_it(where, change, message):
  with pytest.raises(errors.UserError) as caught:
    build(Holder, {"transformer": SMALL | change}, where)
  assert str(caught.value).startswith(f"config.model.transformer: {message}")
  assert str(caught.value).endswith(".")


COMMANDS = (
  ([TOY], "needs --workdir"),
  (["--workdir=w"], "needs --config"),
  (["--config.corpus=c", "--workdir=w"], "`s02 train` needs --config"),
  (["--colour=red"], "`s02 train` needs --config"),
  ([TOY, "--workdir"], "--workdir"),
  (
    [TOY, "--workdir=w", "--config.modle.hidden=3"],
    "config.modle.hidden is not a field (did you mean config.model.hidden?)",
  ),
  (
    [TOY, "--workdir=w", "--config.step=3"],
    "config.step is not a field (did you mean config.steps?)",
  ),
  ([TOY, "--wrokdir=w"], "`s02 train` (did you mean --workdir?)"),
  ([TOY, "--workdir=w", "--config.model.hiden=3"], "config.model has hidden"),
  ([TOY, "--workdir=w", "--config.steps=many"], "--config.steps=many"),
  ([TOY, "--workdir=w", "--config.steps.more=1"], "config.steps has none"),
  ([TOY, "--workdir=w", "--colour=red"], "--colour is not a flag"),
  ([TOY, "--workdir=w", "stray"], "'stray' is not an argument"),
  (["--config=configs/no.py", "--workdir=w"], "no config file configs/no.py"),
  (["--config", "configs/ar.py:huge", "--workdir", "w"], "no size 'huge'"),
  (["--config=configs/ar.py:test", "--workdir=w"], "config.corpus has no"),
)


@pytest.mark.parametrize(("argv", "message"), COMMANDS)
def test_wrong_commands_are_one_sentence(argv, message, capsys, monkeypatch):
  monkeypatch.setattr(train, "set_up", lambda _: pytest.fail("went on"))
  assert cli.run(train.main, argv) == 2
  out = capsys.readouterr()
  assert out.err.startswith("s02: ") and message in out.err
  assert out.err.count("\n") == 1 and not out.out


@pytest.mark.parametrize(
  ("argv", "message"),
  [
    ([], "`s02 fly` needs --config=configs/STAGE.py:SIZE."),
    (["--config.steps=3"], "`s02 fly` needs --config=configs/STAGE.py:SIZE."),
    ([TOY, "--colour=red"], "--colour is not a flag of `s02 fly`."),
    ([TOY, "--workdir=w"], "--workdir is not a flag of `s02 fly`."),
    ([TOY, "--process_id=1"], "--process_id is not a flag of `s02 fly`."),
    (["stray", TOY], "'stray' is not an argument of `s02 fly`."),
  ],
)
def test_a_program_complains_in_its_own_name(argv, message):
  with pytest.raises(errors.UserError) as caught:
    parse_config(argv, "`s02 fly`")
  assert str(caught.value) == message


@pytest.mark.parametrize(
  "words",
  [["--config", "configs/ar.py:demo"], ["-config=configs/ar.py:demo"]],
)
def test_an_experiment_has_its_name(words, monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  name, config = parse_config([*words, "--config.steps=7"], "it")
  assert name == "configs/ar.py:demo"
  assert (config.model.transformer.width, config.steps) == (192, 7)


def test_overrides_reach_the_config(monkeypatch, tmp_path):
  monkeypatch.chdir(tmp_path)
  arguments = parse(
    [
      *("--config", "configs/flow_vae.py:test", "--workdir", "w"),
      *("--config.corpus=c", "--config.optimizer.learning_rate=0.5"),
      "--config.steps=7",
    ]
  )
  config = arguments.config
  assert (config.corpus, config.steps) == ("c", 7)
  assert config.optimizer.learning_rate == 0.5
  assert arguments.workdir == "w" and arguments.coordinator is None


def test_a_field_of_another_stage_cannot_be_added():
  config = parse([TOY, "--workdir=w"]).config
  with pytest.raises(AttributeError):
    config.colour = 1


def test_unwritable_workdir_is_one_sentence(tmp_path):
  (tmp_path / "file").write_text("")
  with pytest.raises(errors.UserError, match="cannot write to --workdir"):
    loop.train(toy_config.get_config(), tmp_path / "file" / "run")


@pytest.mark.parametrize(
  ("changes", "message"),
  [
    ({"stage": "poetry"}, "must be one of audio_tokenizer"),
    ({"stage": "s02jax.poetry:Stage"}, "no module s02jax.poetry"),
    ({"mesh.data": 3}, "does not cover"),
    ({"batch_size": 6}, "multiple of 8"),
    ({"optimizer.warmup": 1.5}, "warmup"),
  ],
)
def test_wrong_configs_are_one_sentence(tmp_path, changes, message):
  config = toy_config.get_config()
  with config.ignore_type():
    config.update_from_flattened_dict(changes)
  with pytest.raises(errors.UserError, match=message):
    loop.train(config, tmp_path)


def test_make_and_resolve():
  config = toy_config.get_config()
  config.lock()
  resolved = stages.resolve(config)
  assert resolved == config and resolved is not config
  assert isinstance(stages.make(resolved), ToyStage)


def test_every_stage_of_the_registry_exists():
  for name in stages.STAGES:
    module, cls = stages.STAGES[name].split(":")
    assert getattr(importlib.import_module(module), cls).name == name


def test_placeholders_are_named():
  config = ConfigDict({"width": config_dict.placeholder(int)})
  with pytest.raises(errors.UserError, match=r"model\.width has no value"):
    build(Inner, config)


@pytest.mark.parametrize(
  ("argv", "code", "text"),
  [
    ([], 2, "a verb is missing"),
    (["fly"], 2, "'fly' is not a verb; see `s02 --help`"),
    (["sythesize"], 2, "not a verb (did you mean synthesize?)"),
    (["bench", "stpe"], 2, "no benchmark 'stpe' (did you mean step?)"),
    (["voice", "add", "a", "--bundel=b"], 2, "(did you mean --bundle?)"),
    (["export", "--weigths", "int8"], 2, "export` (did you mean --weights?)"),
    (
      ["compile-check", "--topology=v5p:2x2x1", TOY, "--fats"],
      2,
      "`s02 compile-check` (did you mean --fast?)",
    ),
    (["--version"], 0, f"s02jax {VERSION} (jax "),
    (["--help"], 0, "usage: s02 VERB"),
    (["train", "--help"], 0, "s02 train"),
  ],
)
def test_cli(argv, code, text, monkeypatch, capsys):
  monkeypatch.setattr("sys.argv", ["s02", *argv])
  with pytest.raises(SystemExit) as stop:
    cli.main()
  out = capsys.readouterr()
  assert stop.value.code == code and text in out.out + out.err
