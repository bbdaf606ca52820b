"""Gather trained stages into one folder, the bundle.

  s02 bundle --corpus corpus --audio_tokenizer runs/audio_tokenizer \\
    --flow_vae runs/flow_vae --ar runs/ar --flow_matching runs/flow_matching \\
    --out bundle

The stages are trained on that corpus, each in a workdir of `s02 train`; one
that a bundle already holds is named by that bundle. Without --ar and
--flow_matching the bundle holds the codecs alone, from which `s02 extract`
reads. --weights int8 stores a quarter of the bytes; stages to come must then be
trained on features that were extracted by the bundle, not by the workdirs.
"""

from s02jax.bundle import CODECS, MODELS
from s02jax.cli import options
from s02jax.core import tensors
from s02jax.core.errors import UserError
from s02jax.training.bundling import gather


def main(argv: list[str]) -> None:
  """Gathers the stages and writes the bundle."""
  parser = options.parser("bundle", __doc__)
  parser.add_argument("--corpus", required=True, help="folder of `s02 corpus`")
  for name in MODELS:
    parser.add_argument(
      f"--{name}",
      required=name in CODECS,
      help="workdir of `s02 train`, or a bundle",
    )
  parser.add_argument(
    "--weights",
    choices=tensors.KINDS,
    default="float32",
    help="how they are stored",
  )
  parser.add_argument("--out", required=True, help="folder to write")
  args = parser.parse_args(argv)
  places = {name: getattr(args, name) for name in MODELS}
  if (args.ar is None) != (args.flow_matching is None):
    raise UserError("give both --ar and --flow_matching, or neither.")
  places = {name: place for name, place in places.items() if place is not None}
  print(f"Gathering {', '.join(places)} into {args.out}.", flush=True)
  bundle = gather(args.corpus, places)
  bundle.write(args.out, args.weights)
  parameters = sum(m["parameters"] for m in bundle.card["models"].values())
  print(f"Wrote {args.out}: {parameters / 1e6:.1f} million parameters.")
