"""Speak over HTTP for many clients at once, with a page for people.

  s02 serve --bundle DIR
  s02 serve --export DIR
  s02 serve --bundle DIR --host 0.0.0.0 --port 80 --api-key-file keys.txt \\
    --slots 32 --queue 128

OpenAI's clients work as they are, with base_url="http://HOST:PORT/v1": POST
/v1/audio/speech. The page is at /, a description of all paths at
/openapi.json, figures for Prometheus at /metrics. /readyz answers 200 once all
programs are compiled. ^C or SIGTERM lets requests end that are under way.
"""

import argparse
import importlib.util
import logging

from s02jax.cli import options
from s02jax.core import startup
from s02jax.core.errors import UserError

LOCAL = ("127.0.0.1", "::1", "localhost")


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("serve", __doc__)
  add = parser.add_argument
  source = parser.add_mutually_exclusive_group(required=True)
  source.add_argument("--bundle", help="folder of `s02 bundle`")
  source.add_argument("--export", help="folder of `s02 export`")
  add("--host", default="127.0.0.1", help="address to listen on")
  add("--port", type=int, default=8000, help="port to listen on")
  add("--api-key-file", help="keys that clients send, one a line")
  add("--slots", type=int, default=8, help="requests spoken at once")
  add("--queue", type=int, default=64, help="requests that may wait")
  add("--characters", type=int, default=10_000, help="most of a text")
  add("--seconds", type=float, default=300.0, help="most a request may take")
  add("--no-warm-up", action="store_true", help="compile when first asked")
  return parser


def main(argv: list[str]) -> None:
  """Serves a bundle until it is told to end."""
  args = _parser().parse_args(argv)
  for name in ("starlette", "uvicorn", "multipart", "prometheus_client"):
    if importlib.util.find_spec(name) is None:
      raise UserError(
        f"the server needs the package {name}: pip install 's02jax[serve]'."
      )
  for name in ("slots", "characters", "seconds"):
    if getattr(args, name) <= 0:
      raise UserError(f"--{name} {getattr(args, name)} must be above 0.")
  if args.queue < 0 or not 0 <= args.port < 1 << 16:
    raise UserError("--queue must be 0 or more, --port from 0 to 65535.")
  startup.set_up()
  # It warns of every byte of a form that is none.
  logging.getLogger("python_multipart").setLevel(logging.ERROR)
  _serve(args)


def _serve(args: argparse.Namespace) -> None:
  """Builds the application and runs it."""
  import uvicorn

  from s02jax.serving.exported_system import ExportedSystem
  from s02jax.serving.server import app, guard
  from s02jax.serving.server.bundle_studio import BundleStudio
  from s02jax.serving.server.traffic import Limits
  from s02jax.synthesis.voice_system import VoiceSystem

  keys = guard.read_keys(args.api_key_file) if args.api_key_file else ()
  if not keys and args.host not in LOCAL:
    logging.warning(
      "whoever reaches %s may use this server; --api-key-file closes it",
      args.host,
    )
  limits = Limits(
    slots=args.slots,
    queue=args.queue,
    characters=args.characters,
    seconds=args.seconds,
  )
  if args.bundle is not None:
    system = VoiceSystem.load(args.bundle)
  else:
    system = ExportedSystem(args.export)
  studio = BundleStudio(system)
  logging.info("serving %s at http://%s:%d", system.path, args.host, args.port)
  uvicorn.run(
    app.build(studio, limits, keys, warm=not args.no_warm_up),
    host=args.host,
    port=args.port,
    log_config=None,
    access_log=False,
    server_header=False,
    timeout_graceful_shutdown=round(args.seconds),
  )
