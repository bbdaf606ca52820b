"""Sound in memory: samples with their rate, saved or played in a notebook.

Shape letters: n samples.
"""

import base64
import dataclasses
import io
import pathlib

import numpy as np
import soundfile

from s02jax.audio.writer import SoundWriter


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Sound:
  """Sound of one channel."""

  samples: np.ndarray  # float32 [n], in -1..1
  rate: int  # Hz

  @property
  def seconds(self) -> float:
    """Duration in seconds."""
    return len(self.samples) / self.rate

  def save(self, path) -> pathlib.Path:
    """Writes the sound in the format of the suffix; returns the path.

    Args:
      path: file that ends in one of `audio.writer.FORMATS`.

    Raises:
      UserError: another suffix, no such folder, or a rate the format lacks.
    """
    with SoundWriter(path, self.rate) as out:
      out.write(self.samples)
    return pathlib.Path(path)

  def __repr__(self) -> str:
    return f"Sound({self.seconds:.2f} s at {self.rate} Hz)"

  def _repr_html_(self) -> str:
    """Player for notebooks, which call this method by its name."""
    data = io.BytesIO()
    soundfile.write(data, self.samples, self.rate, format="WAV")
    code = base64.b64encode(data.getvalue()).decode()
    source = f"data:audio/wav;base64,{code}"
    return f'<audio controls src="{source}"></audio> {self!r}'
