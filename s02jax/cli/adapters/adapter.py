"""Look after what a bundle has learnt by `s02 adapt`.

  s02 adapter list --bundle DIR
  s02 adapter show sad --bundle DIR
  s02 adapter remove sad --bundle DIR
  s02 adapter merge sad:0.5 --bundle DIR --out DIR

`merge` writes a bundle whose models have taken adapters in for good; its base
stays as it is.
"""

import argparse
import json
import pathlib

from s02jax import cli
from s02jax.bundle import Bundle
from s02jax.cli import options
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.synthesis.emotion import parse
from s02jax.synthesis.store import adapter_store

_LINES = {
  "list": "name all adapters",
  "show": "print what is known of an adapter, as JSON",
  "remove": "forget an adapter",
  "merge": "write a bundle that has taken adapters in",
}


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("adapter", __doc__)
  for verb, part in options.commands(parser, "verb", _LINES).items():
    if verb == "merge":
      part.add_argument(
        "names", nargs="+", metavar="NAME[:STRENGTH]", help="adapters to take"
      )
      part.add_argument(
        "--out", type=pathlib.Path, required=True, help="folder to write"
      )
    elif verb != "list":
      part.add_argument("name", help="letters, digits, - and _")
    part.add_argument("--bundle", required=True, help="folder of `s02 bundle`")
  return parser


def _list(args: argparse.Namespace) -> None:
  names = adapter_store.names(args.bundle)
  if not names:
    print(f"{args.bundle} has no adapters yet: `s02 adapt` trains some.")
    return
  rows = [("name", "kind", "models", "clips", "steps", "licence")]
  for name in names:
    card = adapter_store.card(args.bundle, name)
    steps = ",".join(map(str, card.get("steps", {}).values())) or "-"
    clips = str(card.get("data", {}).get("clips", "-"))
    kind = card.get("adapts", card["kind"])
    models = ",".join(card["models"])
    licence = card.get("licence", "-")
    rows.append((name, kind, models, clips, steps, licence))
  print(cli.columns(rows))


def _show(args: argparse.Namespace) -> None:
  card = adapter_store.card(args.bundle, args.name)
  print(json.dumps(card, indent=1, ensure_ascii=False))


def _remove(args: argparse.Namespace) -> None:
  adapter_store.remove(args.bundle, args.name)
  print(f"Removed {args.name} from {args.bundle}.")


def _merge(args: argparse.Namespace) -> None:
  same = pathlib.Path(args.bundle).resolve() == args.out.resolve()
  if same:
    raise UserError(
      f"--out {args.out} is the bundle itself, which voices and other adapters"
      " need as it is; give another folder."
    )
  startup.set_up()
  asked = parse(",".join(args.names))
  bundle = Bundle.load(args.bundle)
  adapters = [
    adapter_store.load(args.bundle, name, bundle.fingerprint) for name in asked
  ]
  made = adapter_store.merged(bundle, adapters, list(asked.values()))
  made.write(args.out)
  print(f"Wrote {args.out}: {args.bundle} with {', '.join(asked)}.")


def main(argv: list[str]) -> None:
  """Lists, shows, removes or merges adapters."""
  args = _parser().parse_args(argv)
  {"list": _list, "show": _show, "remove": _remove, "merge": _merge}[args.verb](
    args
  )
