"""Train one stage, or go on where a stopped run was.

  s02 train --config configs/ar.py:demo --config.corpus DIR --workdir DIR \\
    [--config.field=value ...]

options:
  --config FILE:SIZE         a file of configs/ and one of its sizes (required)
  --config.FIELD=VALUE       any field of it; config.corpus is required
  --help FILE:SIZE           list all fields of a config, and what they are
  --workdir DIR              folder of the run, also gs:// or s3:// (required)
  --coordinator HOST:PORT    of process 0 (default: what the cluster says)
  --num_processes N          processes of the job (default: what it says)
  --process_id I             number of this one (default: what it says)

The working directory gets config.json (resolved), checkpoints/, metrics.jsonl,
tensorboard/ and goodput.json (what the time went into, over all starts); and,
where there is something to say, skipped.jsonl (rows of steps that were not
finite), unreadable.jsonl (rows that were replaced) and benchmark/ (results of
`s02 evaluate`). The same command goes on where a stopped run was: its
losses are those of a run that never stopped, bit for bit on the same devices.
Where all steps are taken, it reads the last checkpoint once more, and takes
the last steps again if that is damaged.
Exit codes: 0 all steps taken, 2 wrong input, 69 another process of the job is
gone, 70 a step did not end, 75 a failure that may pass (storage that does not
answer, another job in the folder, an abort of XLA or NCCL), 143 stopped by
SIGTERM after saving. The same command goes on after all but 0 and 2.

Several hosts: the cluster's own variables (SLURM, Cloud TPU, JAX_*) are
honoured, or give --coordinator HOST:PORT --num_processes N --process_id I.
"""

import logging
import os

from s02jax.cli.terminal.fields import describe
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.training import hosts
from s02jax.training.arguments import Arguments, parse, parse_config
from s02jax.training.clock import Clock
from s02jax.training.loop import train
from s02jax.training.same_run import storage_error


def _in_cluster() -> bool:
  """True where the environment says that this is one of several processes."""
  env = os.environ
  return (
    "JAX_COORDINATOR_ADDRESS" in env
    or int(env.get("SLURM_NTASKS", "1")) > 1
    or "," in env.get("TPU_WORKER_HOSTNAMES", "")
    or "MEGASCALE_COORDINATOR_ADDRESS" in env
  )


def set_up(arguments: Arguments) -> None:
  """Sets up logging, the job's processes and the cache, before any array."""
  startup.log_to_stderr(
    "%(asctime)s %(message)s",
    quiet=("jax", "orbax", "grain", "tensorboardX", "aiobotocore", "botocore"),
  )
  # Orbax logs an error, traces and all, in each of its threads, then raises it.
  logging.getLogger("absl").setLevel(logging.CRITICAL)
  if arguments.coordinator is not None:
    hosts.connect(
      arguments.coordinator, arguments.num_processes, arguments.process_id
    )
  elif _in_cluster():
    hosts.connect(None, None, None)
  startup.use_compilation_cache()


def _help(argv: list[str]) -> str:
  """Help text: the module's, or the fields of the config that is named."""
  words = [word for word in argv if word not in ("-h", "--help")]
  if len(words) == 1 and not words[0].startswith("-"):
    words = [f"--config={words[0]}"]
  if not words:
    return __doc__ or ""
  fields = [word for word in words if not word.startswith("--workdir")]
  return describe(*parse_config(fields, "`s02 train --help`"))


def main(argv: list[str]) -> int:
  """Trains; returns the exit code."""
  if set(argv) & {"-h", "--help"}:
    print(_help(argv))
    return 0
  clock = Clock()
  arguments = parse(argv)
  set_up(arguments)
  with hosts.together():
    return _train(arguments, clock)


def _train(arguments: Arguments, clock: Clock) -> int:
  """Trains; the errors of disks and object stores become one sentence."""
  config, workdir = arguments.config, arguments.workdir
  try:
    return train(config, workdir, clock=clock)
  except UserError:
    raise
  except Exception as error:  # tensorstore has no class for a full disk
    told = storage_error(workdir, config.corpus, error)
    if told is None:
      raise
    raise told from error
