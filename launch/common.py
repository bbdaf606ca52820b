"""Common parts of the launchers: arguments, names, the command they start.

  python -m launch.NAME [options of the launcher] -- [arguments of `s02 train`]

The arguments of training are checked here, so that a mistake is told before a
job has waited in a queue: all that can be without the corpus and the devices.
`--dry-run` prints what would be done.
"""

import argparse
import hashlib
import math
import os
import pathlib
import re
import shlex
import subprocess
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict

from s02jax import hardware, stages
from s02jax.core import places
from s02jax.core.errors import PASSING, UserError
from s02jax.stages import train_state
from s02jax.training import arguments, hosts

# Seconds that training gets to save after a SIGTERM.
GRACE = 120
# Exit code of wrong input: starting again would not help.
WRONG_INPUT = 2
# Exit codes of failures that another start may not meet.
RETRIED = (hosts.LOST, hosts.STUCK, PASSING)
# Port of JAX's coordinator.
PORT = 8476
# Flags that tell processes of each other: only a launcher may give them.
_OWN = ("--coordinator", "--num_processes", "--process_id")

Launch = Callable[[argparse.Namespace, Sequence[str]], int]


def split(argv: Sequence[str]) -> tuple[list[str], list[str]]:
  """Splits a command line at its first `--`, which is dropped."""
  argv = list(argv)
  at = argv.index("--") if "--" in argv else len(argv)
  return argv[:at], argv[at + 1 :]


def check(training: Sequence[str]) -> arguments.Arguments:
  """Reads the arguments of `s02 train`.

  Raises:
    UserError: `s02 train` would not take them, or they name processes.
  """
  # Nothing here asks JAX for its devices: they may be another run's.
  for word in training:
    if word.partition("=")[0] in _OWN:
      raise UserError(f"{word}: leave it out, the launcher sets it.")
  found = arguments.parse(list(training))
  _check_rows(found.config)
  if ":" not in found.config.stage:  # one's own may be where it trains only
    stages.make(stages.assume(found.config))
  return found


def within_node(training: Sequence[str], gpus: int) -> list[str]:
  """Arguments of `s02 train` whose FSDP stays among the GPUs of one node.

  Its gathers and sums in every layer then go by NVLink alone, and one sum a
  step by the network. What the arguments say of the mesh themselves stays.

  Args:
    training: arguments, which `check` has taken.
    gpus: GPUs of a node.
  """
  given = any(word.startswith("--config.mesh.") for word in training)
  mesh = arguments.parse(list(training)).config.mesh
  kept = hardware.within_node(mesh, gpus)
  if given or kept == mesh.fsdp:
    return list(training)
  return [*training, f"--config.mesh.fsdp={kept}"]


def _check_rows(config: ConfigDict) -> None:
  """Raises UserError where the batch does not split on any devices."""
  rows, along = config.batch_size, (config.mesh.data, config.mesh.fsdp)
  parts = math.prod(size for size in along if size > 0)
  if rows < 1 or rows % parts:
    raise UserError(
      f"config.batch_size is {rows}; it must be a multiple of {parts}, into "
      "which config.mesh.data and config.mesh.fsdp split it."
    )
  train_state.check_microbatches(config.accumulate, rows)


def parser(doc: str | None) -> argparse.ArgumentParser:
  """Argument parser with the options of every launcher.

  Args:
    doc: docstring of the launcher's module, the help text.
  """
  out = argparse.ArgumentParser(
    description=doc, formatter_class=argparse.RawDescriptionHelpFormatter
  )
  out.add_argument(
    "--dry-run", action="store_true", help="print what would run, run nothing"
  )
  return out


def add_remote(out: argparse.ArgumentParser) -> None:
  """Adds the options of launchers on other machines."""
  out.add_argument(
    "--cache",
    help="folder of compiled programs, for all hosts (default: .cache/xla "
    "beside the workdir; each host's own where that is a URL)",
  )
  out.add_argument(
    "--env",
    action="append",
    default=[],
    metavar="NAME=VALUE",
    help="variable of training; XLA_FLAGS, LIBTPU_INIT_ARGS and NCCL_* of this"
    " shell are passed anyway",
  )
  out.add_argument(
    "--grace",
    type=positive,
    default=GRACE,
    help="seconds to save in, after SIGTERM (%(default)s)",
  )


def environment(options: argparse.Namespace, platform: str) -> dict[str, str]:
  """Variables of training: this process's, the table's, and those of --env.

  Args:
    options: of the launcher.
    platform: gpu or tpu.

  Raises:
    UserError: an --env without a value.
  """
  own = pairs("--env", options.env)
  return hardware.environment(platform, dict(os.environ) | own) | {
    name: value for name, value in own.items() if name != "XLA_FLAGS"
  }


def pairs(flag: str, texts: Sequence[str]) -> dict[str, str]:
  """Reads NAME=VALUE of every use of a flag; raises UserError for others."""
  out = {}
  for text in texts:
    key, equals, value = text.partition("=")
    if not key or not equals:
      raise UserError(f"{flag} {text}: give NAME=VALUE.")
    out[key] = value
  return out


def positive(text: str) -> int:
  """Argparse type of a whole number above 0."""
  value = int(text)
  if value < 1:
    raise argparse.ArgumentTypeError(f"{text} is not at least 1")
  return value


def cache(options: argparse.Namespace, workdir: str) -> str:
  """Folder of a run's compiled programs, shared by the runs beside it.

  Every host has one of its own where the working directory is a URL.
  """
  if options.cache or places.scheme(workdir):
    return options.cache or "/tmp/s02jax/xla"
  return str(pathlib.PurePath(workdir).parent / ".cache/xla")


def name_of(workdir: str) -> str:
  """Name for a run that SLURM and Kubernetes accept, one per folder.

  Small letters, digits and dashes, a letter in front, at most 37 characters.
  """
  path = places.absolute(workdir)
  digest = hashlib.sha256(str(path).encode()).hexdigest()[:8]
  slug = re.sub(r"[^a-z0-9]+", "-", path.name.lower()).strip("-")[:24]
  return f"s02-{slug.strip('-')}-{digest}" if slug else f"s02-{digest}"


def train_command(python: str, training: Sequence[str]) -> list[str]:
  """Command that every launcher starts: `python -m s02jax train`."""
  return [python, "-m", "s02jax", "train", *training]


def run(command: Sequence[str], stdin: str | None = None) -> int:
  """Runs a program in the foreground; returns its exit code.

  Raises:
    UserError: it is not installed.
  """
  try:
    return subprocess.run(command, input=stdin, text=True).returncode
  except FileNotFoundError as error:
    raise UserError(
      f"{command[0]} is not on the PATH; install it, or give --dry-run and "
      "take what it prints to a machine that has it."
    ) from error


def show(command: Sequence[str]) -> None:
  """Prints a command as a shell takes it."""
  print(shlex.join(command), flush=True)


def main(argv: list[str], own: argparse.ArgumentParser, launch: Launch) -> int:
  """Reads a launcher's command line and launches."""
  before, training = split(argv)
  return launch(own.parse_args(before), training)
