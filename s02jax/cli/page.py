"""Write a page of clips and their texts, in one file that plays anywhere.

  s02 page clips.jsonl --out index.html [--title "Voices"] [--lead "…"]

Each line of the list is a clip, with a path relative to the list:

  {"path": "a.wav", "text": "Good morning.", "label": "anna", "section": "A"}

label and section may be left out. Clips of one text that follow each other
stand side by side. The page holds its sounds and loads nothing.
"""

import pathlib

from s02jax.cli import options
from s02jax.evaluation import clips_page


def main(argv: list[str]) -> None:
  """Writes the page and tells its size."""
  parser = options.parser("page", __doc__)
  add = parser.add_argument
  add("clips", type=pathlib.Path, help="list of clips, JSON lines")
  add("--out", type=pathlib.Path, required=True, help="HTML file to write")
  add("--title", default="Speech samples", help="title of the page")
  add("--lead", default="", help="sentences below the title")
  add("--megabytes", type=float, default=6.0, help="most of the page")
  args = parser.parse_args(argv)
  clips = clips_page.read(args.clips)
  size = clips_page.write(
    clips,
    args.out,
    title=args.title,
    lead=args.lead,
    most=1e6 * args.megabytes,
  )
  print(f"Wrote {len(clips)} clips to {args.out} ({size / 1e6:.1f} MB).")
