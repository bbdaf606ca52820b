"""Keep voices in a bundle, by name.

  s02 voice add anna --bundle DIR --reference a.wav b.wav \\
    [--reference-text "What a.wav says."]
  s02 voice list --bundle DIR
  s02 voice show anna --bundle DIR
  s02 voice remove anna --bundle DIR
  s02 voice prior --bundle DIR --corpus corpus
  s02 voice design carl "a calm, low-pitched man" --bundle DIR \\
    [--tags gender=male,pitch=1] [--text "What the candidates say."]
  s02 voice design carl "a calm, low-pitched man" --bundle DIR --pick 3

`prior` trains, once a bundle, the model that designs voices, on the speakers of
a corpus. `design` writes candidates as clips to choose from; the same command
with --pick keeps one of them, as a voice like any other.
"""

import argparse
import dataclasses
import json
import pathlib

from s02jax import cli
from s02jax.bundle import Bundle
from s02jax.cli import options
from s02jax.core import startup
from s02jax.core.errors import UserError
from s02jax.data import descriptions
from s02jax.synthesis.store import voice_design, voice_store
from s02jax.synthesis.voice_system import VoiceSystem
from s02jax.text.checks import check_words

_LINES = {
  "add": "make a voice of recordings",
  "list": "name all voices",
  "show": "print what is known of a voice, as JSON",
  "remove": "forget a voice",
  "prior": "train the model that designs voices",
  "design": "design a voice from a description",
}


def _parser() -> argparse.ArgumentParser:
  parser = options.parser("voice", __doc__)
  for verb, part in options.commands(parser, "verb", _LINES).items():
    if verb not in ("list", "prior"):
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
    elif verb == "prior":
      _add_prior(part)
    elif verb == "design":
      _add_design(part)
  return parser


def _add_prior(parser: argparse.ArgumentParser) -> None:
  """Adds the options of `s02 voice prior`."""
  add = parser.add_argument
  add("--corpus", type=pathlib.Path, required=True, help="many speakers")
  add("--work", type=pathlib.Path, help="folder of the run (BUNDLE-prior)")
  add("--size", default="demo", help="size of configs/text_to_voice.py")
  add("--steps", type=int, help="of the training, if not the config's")


def _add_design(parser: argparse.ArgumentParser) -> None:
  """Adds the options of `s02 voice design`."""
  add = parser.add_argument
  add("description", help="of the voice, in words")
  add("--tags", default="", help="such as gender=male,pitch=1,rate=slow")
  add("--seed", type=int, default=0, help="other seeds, other voices")
  add("--candidates", type=int, default=5, help="voices to choose from")
  add(
    "--text",
    default="Good morning. The light is on, and the door is open.",
    help="what the candidates say",
  )
  add("--language", help="code of the text's language; else it is detected")
  add("--out", type=pathlib.Path, help="folder of the clips (NAME-candidates)")
  add("--pick", type=int, help="number of the candidate to keep, from 1")
  add("--replace", action="store_true", help="an older voice of this name")


def _add(args: argparse.Namespace) -> None:
  if args.reference_text is not None:
    check_words(args.reference_text, "reference's transcript")
  voice_store.check_free(args.bundle, args.name, args.replace)
  startup.set_up()
  system = VoiceSystem.load(args.bundle)
  voice, seconds = system.clone(
    args.reference, args.reference_text, args.reference_language
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
  print(cli.columns(rows))


def _show(args: argparse.Namespace) -> None:
  entry = voice_store.entry(args.bundle, args.name)
  print(json.dumps(dataclasses.asdict(entry), indent=1, ensure_ascii=False))


def _remove(args: argparse.Namespace) -> None:
  voice_store.remove(args.bundle, args.name)
  print(f"Removed {args.name} from {args.bundle}.")


def _prior(args: argparse.Namespace) -> None:
  # Training takes seconds to import, which the other verbs need not.
  import jax

  from configs import text_to_voice
  from data_pipelines.adapters import voices
  from s02jax.cli.terminal.bar import TrainingBar
  from s02jax.data.voices import VoiceSpace
  from s02jax.training.loop import train
  from s02jax.training.trained import Trained

  startup.set_up()
  beside = pathlib.Path(args.bundle).absolute()
  work = args.work or beside.with_name(f"{beside.name}-prior")
  bundle = Bundle.load(args.bundle)
  cli.tell(f"Measuring the speakers of {args.corpus}.")
  voices.build(args.corpus, bundle, work / "voices")
  config = text_to_voice.get_config(args.size)
  config.corpus = str(work / "voices")
  config.eval_splits = ("unseen",)
  config.mesh.data = 1
  config.steps = args.steps or config.steps
  with TrainingBar("voice prior", config.steps, work / "run"):
    if train(config, work / "run", jax.devices()[:1]):
      raise UserError("stopped; the same command goes on.")
  run = Trained.load(work / "run", "text_to_voice")
  space = VoiceSpace.load(work / "voices")
  notes = {"steps": run.step, "metrics": dict(run.metrics)}
  voice_design.add(
    args.bundle, bundle, run.config, run.params["params"], space, notes
  )
  print(f"Added a voice prior to {args.bundle}: `s02 voice design` uses it.")


def _design(args: argparse.Namespace) -> None:
  voice_store.check_free(args.bundle, args.name, args.replace)
  if args.pick is not None and not 1 <= args.pick <= args.candidates:
    raise UserError(
      f"--pick is {args.pick}; there are candidates 1 to {args.candidates}."
    )
  tags = descriptions.parse_tags(args.tags)
  startup.set_up()
  bundle = Bundle.load(args.bundle)
  designer = voice_design.VoiceDesigner.load(
    args.bundle, bundle.text, bundle.fingerprint
  )
  made = designer.design(
    args.description, tags, seed=args.seed, candidates=args.candidates
  )
  if args.pick is not None:
    voice = made[args.pick - 1]
    voice_store.add(args.bundle, args.name, voice, 0.0, args.replace)
    print(f"Added {args.name} (designed) to {args.bundle}.")
    return
  out = args.out or pathlib.Path(f"{args.name}-candidates")
  out.mkdir(parents=True, exist_ok=True)
  system = VoiceSystem(args.bundle, bundle)
  for number, voice in enumerate(made, start=1):
    sound = system.say(args.text, voice, args.language, seed=args.seed)
    sound.save(out / f"{number}.wav")
  print(
    f"Wrote {len(made)} candidates to {out}; the same command with --pick"
    " NUMBER keeps one."
  )


def main(argv: list[str]) -> None:
  """Adds, lists, shows, removes or designs voices."""
  args = _parser().parse_args(argv)
  verbs = {
    "add": _add,
    "list": _list,
    "show": _show,
    "remove": _remove,
    "prior": _prior,
    "design": _design,
  }
  verbs[args.verb](args)
