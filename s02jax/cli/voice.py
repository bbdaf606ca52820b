"""Keep voices in a bundle, by name.

  s02 voice add anna --bundle DIR --reference a.wav b.wav \\
    [--reference-text "What a.wav says."]
  s02 voice list --bundle DIR
  s02 voice show anna --bundle DIR
  s02 voice remove anna --bundle DIR
"""

import argparse
import dataclasses
import json

from s02jax.cli import options
from s02jax.core import startup
from s02jax.synthesis import voice_store
from s02jax.synthesis.voice_system import VoiceSystem
from s02jax.text.checks import check_words


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("voice", __doc__)
  verbs = parser.add_subparsers(dest="verb", required=True)
  for verb, line in (
    ("add", "make a voice of recordings"),
    ("list", "name all voices"),
    ("show", "print what is known of a voice, as JSON"),
    ("remove", "forget a voice"),
  ):
    part = verbs.add_parser(
      verb,
      help=line,
      description=f"{line.capitalize()}.",
      formatter_class=options.HelpFormatter,
    )
    if verb != "list":
      part.add_argument("name", help="letters, digits, - and _")
    part.add_argument("--bundle", required=True, help="folder of `s02 bundle`")
    if verb == "add":
      part.add_argument(
        "--reference", required=True, nargs="+", help="recordings of one voice"
      )
      part.add_argument(
        "--reference-text",
        help="what the first one says: the voice will continue it (one-shot)",
      )
      part.add_argument(
        "--reference-language",
        help="code of its language; without it, it is detected",
      )
      part.add_argument(
        "--replace", action="store_true", help="an older voice of this name"
      )
  return parser


def _add(args: argparse.Namespace) -> None:
  if args.reference_text is not None:
    check_words(args.reference_text, "reference's transcript")
  voice_store.check_free(args.bundle, args.name, args.replace)
  startup.set_up()
  system = VoiceSystem.load(args.bundle)
  transcript = None
  if args.reference_text is not None:
    transcript = system.transcript(args.reference_text, args.reference_language)
  voice, seconds = voice_store.recorded(
    system.synthesizer, args.reference, transcript
  )
  voice_store.add(args.bundle, args.name, voice, seconds, args.replace)
  kind = voice_store.entry(args.bundle, args.name).kind
  print(f"Added {args.name} ({kind}, {seconds:.1f} s) to {args.bundle}.")


def _list(args: argparse.Namespace) -> None:
  names = voice_store.names(args.bundle)
  if not names:
    print(f"{args.bundle} has no voices yet: `s02 voice add` makes one.")
    return
  rows = [("name", "kind", "seconds", "made")]
  for name in names:
    entry = voice_store.entry(args.bundle, name)
    seconds = "-" if entry.seconds is None else f"{entry.seconds:.1f}"
    rows.append((name, entry.kind, seconds, entry.made or "-"))
  widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
  for row in rows:
    cells = (c.ljust(w) for c, w in zip(row, widths, strict=True))
    print("  ".join(cells).rstrip())


def _show(args: argparse.Namespace) -> None:
  entry = voice_store.entry(args.bundle, args.name)
  print(json.dumps(dataclasses.asdict(entry), indent=1, ensure_ascii=False))


def _remove(args: argparse.Namespace) -> None:
  voice_store.remove(args.bundle, args.name)
  print(f"Removed {args.name} from {args.bundle}.")


def main(argv: list[str]) -> None:
  """Adds, lists, shows or removes voices."""
  args = _parser().parse_args(argv)
  {"add": _add, "list": _list, "show": _show, "remove": _remove}[args.verb](
    args
  )
