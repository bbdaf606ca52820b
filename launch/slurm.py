"""Launches one training run as a SLURM job on GPUs.

  python -m launch.slurm --nodes 2 --gpus-per-node 8 --time 24:00:00 -- \\
    --config configs/ar.py:base --config.corpus DIR --workdir DIR

Submits a batch script (`--dry-run` prints it) that starts one process per GPU:
on SLURM, JAX gives each task the one GPU of its local number, so a task per
node would leave the others idle. The interpreter that runs this one runs
training, so it must lie, like corpus and workdir, where every node sees it.

Before the time limit, and when the job is preempted, training saves and exits
with 143, and the job is put back into the queue; a cancelled job is not. So it
is after failures that may pass (exit codes 69, 70 and 75), at most --restarts
times between two such stops; WORKDIR/slurm-restarts holds how often. Only
one job at a time runs in a workdir. The log is WORKDIR/slurm-JOB.out.
"""

import argparse
import pathlib
import shlex
import sys
from collections.abc import Sequence

from launch import common
from s02jax.core import places
from s02jax.core.errors import STOPPED, UserError, run

DETACHED = True

# srun answers a SIGTERM by killing its tasks, so scancel carries the signal to
# them: to step 0, the only one. `wait` also returns when the signal arrives, so
# after a trap it is asked again; bash keeps the code of a step that has ended
# by then. A cancelled job is no longer RUNNING.
_BODY = """\
export S02_CACHE={cache}
{exports}
trap 'told=1; scancel --signal=TERM "$SLURM_JOB_ID.0"' TERM
{srun} &
step=$!
told=1
while [ "$told" ]; do told=; wait "$step"; code=$?; done
restarts={restarts}
again=
case "$code" in
  {stopped}) again=1; rm -f "$restarts" ;;
  {retried})
    n=$(cat "$restarts" 2>/dev/null || echo 0)
    if [ "$n" -lt {most} ]; then again=1; echo $((n + 1)) > "$restarts"; fi ;;
esac
if [ "$again" ]; then
  state=$(squeue --noheader --jobs "$SLURM_JOB_ID" --format %T)
  if [ "$state" = RUNNING ]; then scontrol requeue "$SLURM_JOB_ID"; fi
fi
exit "$code"
"""


def parser() -> argparse.ArgumentParser:
  """Argument parser of this launcher."""
  out = common.parser(__doc__)
  common.add_remote(out)
  count = dict(type=common.positive, default=1)
  out.add_argument("--nodes", help="how many (%(default)s)", **count)
  out.add_argument(
    "--gpus-per-node", help="and processes (%(default)s)", **count
  )
  out.add_argument(
    "--cpus-per-gpu", type=common.positive, help="config.threads of them"
  )
  out.add_argument(
    "--restarts", type=int, default=10, help="after failures (%(default)s)"
  )
  out.add_argument("--time", help="limit, as sbatch takes it: 24:00:00")
  out.add_argument(
    "--sbatch",
    action="append",
    default=[],
    metavar="--OPTION=VALUE",
    help="more options of sbatch: --sbatch=--account=ours",
  )
  return out


def launch(options: argparse.Namespace, training: Sequence[str]) -> int:
  """Submits the job; returns sbatch's exit code."""
  workdir = common.check(training).workdir
  if places.scheme(workdir):
    raise UserError(
      f"--workdir is {workdir}; SLURM keeps the log there: give a folder that "
      "every node sees (config.corpus may be a URL)."
    )
  text = script(options, training, workdir)
  if options.dry_run:
    print(text, end="")
    return 0
  pathlib.Path(workdir).mkdir(parents=True, exist_ok=True)  # of the log
  return common.run(["sbatch"], stdin=text)


def script(
  options: argparse.Namespace, training: Sequence[str], workdir: str
) -> str:
  """Batch script of a run."""
  gpus = options.gpus_per_node
  training = common.within_node(training, gpus)
  log = pathlib.Path(workdir).absolute() / "slurm-%j.out"
  directives = [
    f"--job-name={common.name_of(workdir)}",
    "--dependency=singleton",
    f"--nodes={options.nodes}",
    f"--ntasks-per-node={gpus}",
    f"--gpus-per-node={gpus}",
    "--requeue",
    f"--signal=B:TERM@{options.grace}",
    f"--output={shlex.quote(str(log))}",
    "--open-mode=append",
  ]
  step = ["srun", "--label", "--kill-on-bad-exit=1"]
  cpus = options.cpus_per_gpu or common.check(training).config.threads
  directives.append(f"--cpus-per-task={cpus}")
  step.append(f"--cpus-per-task={cpus}")  # srun does not take it from sbatch
  if options.time:
    directives.append(f"--time={options.time}")
  head = ["#!/bin/bash"]
  head += [f"#SBATCH {x}" for x in (*directives, *options.sbatch)]
  body = _BODY.format(
    cache=shlex.quote(common.cache(options, workdir)),
    exports="\n".join(
      f"export {name}={shlex.quote(value)}"
      for name, value in common.environment(options, "gpu").items()
    ),
    srun=shlex.join([*step, *common.train_command(sys.executable, training)]),
    stopped=STOPPED,
    retried="|".join(map(str, common.RETRIED)),
    most=options.restarts,
    restarts=shlex.quote(str(log.with_name("slurm-restarts"))),
  )
  return "\n".join(head) + "\n\n" + body


def main(argv: list[str]) -> int:
  """Launches by the command line; returns the exit code."""
  return common.main(argv, parser(), launch)


if __name__ == "__main__":
  sys.exit(run(main))
