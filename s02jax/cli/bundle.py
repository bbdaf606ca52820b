"""Gather trained stages into one folder, the bundle.

  s02 bundle --corpus corpus --audio_tokenizer runs/audio_tokenizer \\
    --flow_vae runs/flow_vae --ar runs/ar --flow_matching runs/flow_matching \\
    --out bundle

The stages are trained on that corpus, each in a workdir of `s02 train`.
"""

from s02jax.bundle import MODELS
from s02jax.cli import options
from s02jax.training.bundling import gather


def main(argv: list[str]) -> None:
  """Gathers the stages and writes the bundle."""
  parser = options.parser("bundle", __doc__)
  parser.add_argument("--corpus", required=True, help="folder of `s02 corpus`")
  for name in MODELS:
    parser.add_argument(
      f"--{name}", required=True, help="workdir of `s02 train`"
    )
  parser.add_argument("--out", required=True, help="folder to write")
  args = parser.parse_args(argv)
  print(f"Gathering {', '.join(MODELS)} into {args.out}.", flush=True)
  bundle = gather(args.corpus, {name: getattr(args, name) for name in MODELS})
  bundle.write(args.out)
  parameters = sum(m["parameters"] for m in bundle.card["models"].values())
  print(f"Wrote {args.out}: {parameters / 1e6:.1f} million parameters.")
