"""Load of a server on this machine, by users who come by chance.

  s02 bench serving --url http://127.0.0.1:8000 --text "happy children"
    [--users 1,2,4,8,16,32,64] [--per-minute 2] [--seconds 60] [--most 500]
    [--leaving 0.1] [--malformed 0.1] [--json FILE]
  s02 bench serving --url … --text … --users 4 --soak 30 --leaving 0.1 \\
    --malformed 0.2

Every user sends requests at random times and does not wait for answers. For
each number of users: requests that were spoken and refused, seconds until the
first sound and until the last (50th, 95th and 99th percentile), seconds of
sound a second, sounds that differ from the same request's alone, and the
server's memory.

With --soak one number of users comes for so many minutes. Every sound is
compared with that of the same request alone, some nonsense is a hostile upload,
and the exit status is 1 where a sound or an answer was wrong, or where the
memory still grew by more than 5 % after the first minute.
"""

import argparse
import dataclasses

from s02jax import cli
from s02jax.bench import serving, soak
from s02jax.cli import bench
from s02jax.core import files
from s02jax.core.errors import UserError
from s02jax.serving.server import guard


def _counts(text: str) -> list[int]:
  try:
    found = [int(x) for x in text.split(",")]
  except ValueError:
    found = []
  if not found or not 1 <= min(found) <= max(found) <= 64:
    raise argparse.ArgumentTypeError(f"{text!r} is not like 1,2,8, at most 64")
  return found


def _parser() -> argparse.ArgumentParser:
  parser = bench.parser("serving", __doc__)
  add = parser.add_argument
  add("--url", default="http://127.0.0.1:8000", help="address of the server")
  add("--api-key-file", help="keys, of which the first is sent")
  add("--text", action="append", required=True, help="to be said; or several")
  add(
    "--users",
    type=_counts,
    default=[1, 2, 4, 8, 16, 32, 64],
    metavar="N,N,…",
    help="numbers of users (default: 1,2,4,8,16,32,64)",
  )
  add("--per-minute", type=float, default=2.0, help="requests of one user")
  add("--seconds", type=float, default=60.0, help="of each number of users")
  add("--most", type=int, default=500, help="requests of each number of users")
  add("--leaving", type=float, default=0.0, help="share of clients that leave")
  add("--malformed", type=float, default=0.0, help="share without sense")
  add("--soak", type=float, help="minutes of an endurance test")
  add("--seed", type=int, default=0, help="seed of the arrivals")
  return parser


def main(argv: list[str]) -> int:
  """Loads a server and prints how it did; 1 where an answer was wrong."""
  args = _parser().parse_args(argv)
  for name in ("per_minute", "seconds", "most", "soak"):
    if getattr(args, name) is not None and getattr(args, name) <= 0:
      raise UserError(f"--{name.replace('_', '-')} must be above 0.")
  host, port = serving.check_local(args.url)
  key = guard.read_keys(args.api_key_file)[0] if args.api_key_file else None
  plan = serving.Plan(
    host=host,
    port=port,
    key=key,
    texts=args.text,
    voices=[],
    per_minute=args.per_minute,
    seconds=args.seconds,
    most=args.most,
    leaving=args.leaving,
    malformed=args.malformed,
    seed=args.seed,
  )
  plan = dataclasses.replace(plan, voices=serving.voices(plan))
  if args.soak is not None:
    return _soak(args, plan)
  found = serving.measure(plan, args.users, cli.tell)
  if args.json:
    files.write_json(args.json, {"url": args.url, "users": found})
  return int(any(row["faults"] or row["wrong"] for row in found))


def _soak(args: argparse.Namespace, plan: serving.Plan) -> int:
  """Loads a server for minutes; 1 where it did not hold."""
  if len(args.users) != 1:
    raise UserError("--soak takes one number of users: give --users 4.")
  found = soak.soak(plan, args.users[0], args.soak, cli.tell)
  cli.tell(
    f"{found['spoken']} sounds, {found['wrong']} wrong; memory"
    f" {found['growth']:+.1%} after the first minute"
    f" ({'flat' if found['flat'] else 'not flat'})."
  )
  if args.json:
    files.write_json(args.json, {"url": args.url, "soak": found})
  return int(bool(found["wrong"] or found["faults"] or not found["flat"]))
