"""Recordings of a source, and the clips that are cut from them."""

import dataclasses
import hashlib
import json
import pathlib

import numpy as np

from s02jax.audio.recording import Refused


@dataclasses.dataclass(frozen=True, kw_only=True)
class Said:
  """Piece of a given transcript that is known to lie between two times."""

  start: float  # seconds
  end: float  # seconds
  text: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Recording:
  """Recording of a source: where its bytes are, and what is known of it."""

  uri: str  # identity: its name in the source, alike on every machine
  path: str  # file that holds it
  offset: int = 0  # of its first byte in that file
  size: int = 0  # bytes
  inside: bool = False  # it is a part of the file, not the file
  text: str = ""  # given transcript, in spoken words; empty if there is none
  said: tuple[Said, ...] = ()  # the same in pieces, if their times are given
  language: str = ""  # code; empty if unknown
  speaker: str = ""  # empty if unknown
  emotion: str = ""
  description: str = ""

  @property
  def group(self) -> str:
    """Folder or archive that it lies in, within the source."""
    return self.uri.rpartition("/")[0]

  def data(self) -> pathlib.Path | bytes:
    """Source for `s02jax.audio.recording`. Raises Refused."""
    if not self.inside:
      return pathlib.Path(self.path)
    try:
      with open(self.path, "rb") as file:
        file.seek(self.offset)
        return file.read(self.size)
    except OSError as error:
      raise Refused(
        self.uri, f"cannot be read: {error.strerror or error}"
      ) from error

  def to_json(self) -> str:
    """Line of JSON, of the fields that are set."""
    default = {f.name: f.default for f in dataclasses.fields(self)}
    found = dataclasses.asdict(self)
    kept = {k: v for k, v in found.items() if v != default[k]}
    return json.dumps(kept, ensure_ascii=False)

  @classmethod
  def from_json(cls, line: str) -> "Recording":
    """Reads what `to_json` wrote."""
    fields = json.loads(line)
    said = tuple(Said(**piece) for piece in fields.pop("said", ()))
    return cls(**fields, said=said)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Chunk:
  """Recordings of a shard that are read and heard together, in order.

  What is heard together is decided before anything runs, so that no network's
  batch depends on the runner or its workers.
  """

  shard: int
  recordings: tuple[Recording, ...]


@dataclasses.dataclass(kw_only=True)
class Clip:
  """Clip on its way to a record; the steps fill it in.

  A clip with a reason is refused, and later steps leave it alone.
  """

  shard: int
  recording: Recording
  start: float = 0.0  # seconds in the recording
  end: float = 0.0
  rate: int = 0  # of `wave`, Hz
  wave: np.ndarray | None = None  # f32[n]; None where nothing was decoded
  heard: np.ndarray | None = None  # f32[n] at 16 kHz, levelled, for networks
  background: np.ndarray | None = None  # f32[n] at 16 kHz, around the speech
  pauses: tuple[tuple[float, float], ...] = ()  # seconds within the clip
  digest: str = ""  # of the recording's samples
  language: str = ""  # code; empty until known
  given: str = ""  # piece of the given transcript
  texts: tuple[str, ...] = ()  # what recognisers heard
  text: str = ""  # that the record will have
  error: float | None = None  # character error rate between the two texts
  vector: np.ndarray | None = None  # f32[e], unit speaker vector
  sketch: tuple[int, ...] = ()  # of its fingerprint
  measures: dict[str, float] = dataclasses.field(default_factory=dict)
  audio: bytes = b""  # FLAC at the corpus rate
  num_samples: int = 0
  step: str = ""  # that refused it
  reason: str = ""  # for which it was refused; empty as long as it is good

  @property
  def id(self) -> str:
    """Identity that depends on the recording's name and the times alone."""
    name = f"{self.recording.uri}\0{self.start:.3f}\0{self.end:.3f}"
    return hashlib.blake2b(name.encode(), digest_size=12).hexdigest()

  @property
  def seconds(self) -> float:
    """Length in the recording."""
    return self.end - self.start

  def refuse(self, step: str, reason: str) -> None:
    """Refuses the clip, for the first reason that is found."""
    if not self.reason:
      self.step, self.reason = step, reason
