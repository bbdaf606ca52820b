"""Command line of `s02 train`, and of other verbs that take its --config.

`--config=configs/STAGE.py:SIZE`, `--config.field=value` for any field of it,
and the flags of a run. Every error is one sentence.
"""

import dataclasses
import pathlib
import runpy
import warnings
from collections.abc import Iterator, Sequence

from absl import flags
from ml_collections import ConfigDict, config_flags

import configs
from s02jax.core import inputs, places
from s02jax.core.errors import UserError

# Schemes that Orbax writes checkpoints to; none is a path's.
CHECKPOINTED = ("", "gs", "s3")
# Spellings of the flag.
_CONFIG = ("--config", "-config")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Arguments:
  """Arguments of `s02 train`."""

  config: ConfigDict  # unresolved
  workdir: str
  # host:port of process 0, where the cluster's environment has it not
  coordinator: str | None
  num_processes: int | None  # processes of the job, for that case
  process_id: int | None  # number of this process, for that case


def parse(argv: list[str]) -> Arguments:
  """Reads the command line of `s02 train`.

  Raises:
    UserError: an unknown flag or field, a missing file, an ill-typed value.
  """
  values = flags.FlagValues()
  string = dict(default=None, flag_values=values)
  flags.DEFINE_string("workdir", help="folder of the run", **string)
  flags.DEFINE_string("coordinator", help="host:port of process 0", **string)
  flags.DEFINE_integer("num_processes", help="how many", **string)
  flags.DEFINE_integer("process_id", help="which of them", **string)
  config = _read(values, argv, "`s02 train`")
  workdir = values["workdir"].value
  if workdir is None:
    raise UserError("`s02 train` needs --workdir=DIR.")
  _check_corpus(config)
  _check_places(workdir, config.corpus)
  return Arguments(
    config=config,
    workdir=workdir,
    coordinator=values["coordinator"].value,
    num_processes=values["num_processes"].value,
    process_id=values["process_id"].value,
  )


def _check_places(workdir: str, corpus: str) -> None:
  """Raises UserError for a URL of a kind that cannot be opened."""
  if (scheme := places.scheme(workdir)) not in CHECKPOINTED:
    raise UserError(
      f"--workdir is {workdir}; checkpoints are written to gs:// and s3:// and "
      f"to disks, not to {scheme}://."
    )
  for where in (workdir, corpus):
    places.at(where)


def parse_with_corpus(argv: list[str], command: str) -> ConfigDict:
  """Reads --config and its fields, for verbs that need a corpus and no folder.

  Args:
    argv: --config and fields of it, config.corpus among them; nothing else.
    command: command that these are the arguments of, for messages.

  Raises:
    UserError: as `parse` does.
  """
  config = _read(flags.FlagValues(), argv, command)
  _check_corpus(config)
  return config


def _check_corpus(config: ConfigDict) -> None:
  """Raises UserError unless a config names a corpus."""
  if not config.corpus:
    raise UserError(
      "config.corpus has no value; give --config.corpus=DIR, a folder that "
      "`s02 corpus` wrote."
    )


def parse_config(
  argv: list[str], command: str, options: Sequence[str] = ()
) -> tuple[str, ConfigDict]:
  """Reads --config and its fields, for verbs that need no corpus and no folder.

  Args:
    argv: --config and fields of it, nothing else.
    command: command that these are the arguments of, for messages.
    options: options that were read before, to suggest for a misspelt one.

  Returns:
    Value of --config, and the unresolved config, whose corpus is "-".

  Raises:
    UserError: as `parse` does.
  """
  config = _read(flags.FlagValues(), argv, command, options)
  with config.unlocked():
    config.corpus = "-"
  words = [word.partition("=") for word in _joined(argv)]
  names = [name for flag, _, name in words if flag in _CONFIG]
  return names[-1], config


def _read(
  values: flags.FlagValues,
  argv: list[str],
  command: str,
  options: Sequence[str] = (),
) -> ConfigDict:
  """Adds --config to the flags, reads all of them; returns the config."""
  argv = [command, *map(_find_config, _joined(argv))]
  if not any(word.startswith("--config=") for word in argv):
    raise UserError(f"{command} needs --config=configs/STAGE.py:SIZE.")
  _check_fields(argv)
  config_flags.DEFINE_config_file(
    "config",
    None,
    "configs/STAGE.py:SIZE",
    flag_values=values,
    lock_config=True,
    sys_argv=argv,
  )
  rest = _translated(values, argv, options)
  if rest[1:]:
    raise UserError(f"{rest[1]!r} is not an argument of {command}.")
  config = values["config"].value
  assert config is not None  # it is among the words
  return config


def _joined(argv: list[str]) -> list[str]:
  """Joins the words `--flag value` to `--flag=value`."""
  out = []
  for word in argv:
    if out and out[-1].startswith("--") and "=" not in out[-1]:
      out[-1] += f"={word}"
    else:
      out.append(word)
  return out


def _find_config(word: str) -> str:
  """Turns --config=configs/x.py into a path that exists."""
  flag, _, value = word.partition("=")
  if flag not in _CONFIG:
    return word
  path, _, size = value.partition(":")
  found = pathlib.Path(path)
  if not found.exists() and found.parts[:1] == ("configs",):
    installed = pathlib.Path(configs.__file__).parent
    found = installed.joinpath(*found.parts[1:])
  if not found.is_file():
    raise UserError(
      f"there is no config file {path}; give one of configs/*.py."
    )
  return f"--config={found}" + (f":{size}" if size else "")


def _translated(
  values: flags.FlagValues, argv: list[str], options: Sequence[str]
) -> list[str]:
  """Parses the flags; the parser's errors become one sentence."""
  try:
    with warnings.catch_warnings():
      # ml_collections loads files by a deprecated call.
      warnings.simplefilter("ignore", DeprecationWarning)
      return values(argv)
  except flags.UnrecognizedFlagError as error:
    known = [f"--{name}" for name in values if name != "config"]
    known += ["--config", *options]
    raise UserError(
      f"--{error.flagname} is not a flag of {argv[0]}"
      f"{inputs.hint(f'--{error.flagname}', known)}."
    ) from error
  except (flags.Error, TypeError, ValueError) as error:
    raise UserError(f"{' '.join(str(error).split())}.") from error


def _suggestion(config: ConfigDict, name: str) -> str:
  """Field that a misspelt one was meant to be, of any group; or nothing."""
  known = [f"config.{field}" for field in _all_fields(config)]
  return inputs.hint(f"config.{name}", known)


def _all_fields(config: ConfigDict) -> Iterator[str]:
  """Dotted names of all fields of a config, those of groups too."""
  for name in config:
    value = config[name]
    if isinstance(value, ConfigDict):
      yield from (f"{name}.{inner}" for inner in _all_fields(value))
    else:
      yield name


def _check_fields(argv: list[str]) -> None:
  """Raises UserError where --config.a.b names a field that is not there."""
  files = [word for word in argv if word.startswith("--config=")]
  names = [
    word.partition("=")[0].removeprefix("--config.")
    for word in argv
    if word.startswith("--config.")
  ]
  if not files or not names:
    return
  path, _, size = files[-1].removeprefix("--config=").partition(":")
  config = runpy.run_path(path)["get_config"](*([size] if size else []))
  for name in names:
    at, done = config, "config"
    for part in name.split("."):
      if not isinstance(at, ConfigDict) or part not in at:
        fields = sorted(at) if isinstance(at, ConfigDict) else []
        raise UserError(
          f"config.{name} is not a field{_suggestion(config, name)}; "
          f"{done} has {', '.join(fields) or 'none'}."
        )
      at, done = at[part], f"{done}.{part}"
