"""Small export that is kept, to hold that later code still reads it.

  .venv/bin/python -m tests.serving.keep_export

writes export_v<format>.tar.xz: of a tiny bundle with one voice, only what
`speak` needs, and what it said. Do so once for a new version of the format.
"""

import json
import pathlib
import tarfile
import tempfile

import numpy as np

from s02jax.serving import card, export, functions
from s02jax.serving.runtime import Runtime
from s02jax.synthesis.request import Request, Utterance
from s02jax.synthesis.synthesizer import Synthesizer
from tests import tiny

HERE = pathlib.Path(__file__).parent
_UNUSED = "audio_tokenizer"  # model that only a reference needs


def speak(runtime: Runtime) -> Utterance:
  """Speaks the one sentence, as the export's voice."""
  voice = runtime.stored("anna")
  request = Request(text="Yes.", language="en", voice=voice)
  return runtime.synthesize([request], steps=2, temperature=0.0)[0]


def said_by(utterance: Utterance) -> dict:
  """Figures that tell one utterance from others."""
  return {
    "tokens": utterance.tokens.tolist(),
    "samples": len(utterance.wave),
    "rms": float(np.sqrt(np.mean(utterance.wave**2))),
  }


def main() -> None:
  """Writes the archive."""
  functions.SLOTS, functions.LONGEST = (1,), functions.PROMPT_UNIT
  with tempfile.TemporaryDirectory() as temporary:
    source, out = (pathlib.Path(temporary) / x for x in ("bundle", "out"))
    (source / "voices").mkdir(parents=True)
    (voice,) = Synthesizer(tiny.bundle()).voices([tiny.wave(0.8, 3)], [None])
    voice.save(source / "voices" / "anna.safetensors")
    written = export.write(tiny.bundle(), source, out, kind="int8")
    runtime = Runtime(out, written)
    said = said_by(speak(runtime))
    programs = [f"programs/{name}.bin" for name in runtime.functions._ready]
    _prune(out, written, programs)
    (out / "said.json").write_text(json.dumps(said))
    archive = HERE / f"export_v{card.FORMAT_VERSION}.tar.xz"
    with tarfile.open(archive, "w:xz") as file:
      for path in sorted(out.rglob("*")):
        if path.is_file():
          file.add(path, path.relative_to(out), filter=_nobodys)


def _prune(out: pathlib.Path, written: dict, programs: list[str]) -> None:
  """Removes what is not needed to speak as a stored voice."""
  del written["weights"][_UNUSED]
  weights = list(written["weights"].values())
  keep = {"text.model", "voices/anna.safetensors", *programs, *weights}
  for path in list(out.rglob("*")):
    if path.is_file() and path.relative_to(out).as_posix() not in keep:
      path.unlink()
  for name in ("programs", "files"):
    written[name] = {k: v for k, v in written[name].items() if {k, v} & keep}
  (out / card.CARD).write_text(json.dumps(written, indent=1))


def _nobodys(entry: tarfile.TarInfo) -> tarfile.TarInfo:
  """Entry of no user and no time."""
  entry.uid = entry.gid = entry.mtime = 0
  entry.uname = entry.gname = ""
  return entry


if __name__ == "__main__":
  main()
