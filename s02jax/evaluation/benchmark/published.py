"""Figures that others published, to stand beside ours.

Errors are in percent as printed, similarities are cosines. A figure is worth
comparing only where the same judges gave it, see `same_recogniser` and
`same_speaker_judge`.
"""

import dataclasses
import pathlib
from collections.abc import Iterable, Mapping

_REPORT = "MiniMax-Speech report, arXiv:2505.07916"
_TABLE_1 = f"{_REPORT}, table 1"
_TABLE_2 = f"{_REPORT}, table 2"
_TABLE_3 = f"{_REPORT}, table 3"
_LATER = "as its own authors reported it"
_THIRD = "as a third party ran it"
_MINIMAX = "MiniMax-Speech"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Published:
  """Figures of one system on one subset."""

  system: str
  cloning: str | None  # "zero-shot" or "one-shot"; None: recordings
  error: float  # percent, of words or characters
  similarity: float | None  # cosine to the prompt
  source: str

  @property
  def error_text(self) -> str:
    """Error with as many decimals as its source prints."""
    places = 3 if self.source in (_TABLE_2, _TABLE_3) else 2
    return f"{self.error:.{places}f}"


def _figures(system, cloning, error, similarity, source) -> Published:
  """Shorthand for one system."""
  return Published(
    system=system,
    cloning=cloning,
    error=error,
    similarity=similarity,
    source=source,
  )


# fmt: off
# System, cloning, zh error and similarity, en error and similarity, source.
_SEED_TTS = (
  ("Ground truth", None, 1.25, 0.750, 2.14, 0.730, _TABLE_1),
  ("Seed-TTS", "one-shot", 1.12, 0.796, 2.25, 0.762, _TABLE_1),
  ("CosyVoice 2", "one-shot", 1.45, 0.748, 2.57, 0.652, _TABLE_1),
  (_MINIMAX, "zero-shot", 0.83, 0.783, 1.65, 0.692, _TABLE_1),
  (_MINIMAX, "one-shot", 0.99, 0.799, 1.90, 0.738, _TABLE_1),
  ("CosyVoice 3 0.5B RL", "one-shot", 0.81, 0.774, 1.68, 0.695, _LATER),
  ("Qwen3-TTS 1.7B", "one-shot", 0.77, None, 1.24, None, _LATER),
  ("Qwen3-TTS 1.7B", "zero-shot", 0.78, 0.729, 1.56, 0.596, _THIRD),
  ("OmniVoice 0.8B", "one-shot", 0.84, 0.777, 1.60, 0.741, _LATER),
  ("VoxCPM2 2B", "one-shot", 0.97, 0.795, 1.84, 0.753, _LATER),
  ("F5-TTS 0.3B", "one-shot", 1.53, 0.760, 2.00, 0.670, _LATER),
  ("dots.tts 2B", "one-shot", 0.94, 0.810, 1.30, 0.771, _LATER),
)

# Errors of MiniMax-Speech and ElevenLabs Multilingual v2, then similarities.
_MINIMAX24 = {
  "zh": (2.252, 16.026, 0.780, 0.677), "en": (2.164, 2.339, 0.756, 0.613),
  "yue": (34.111, 51.513, 0.778, 0.670), "ja": (3.519, 10.646, 0.776, 0.738),
  "ko": (1.747, 1.865, 0.776, 0.700), "ar": (1.665, 1.666, 0.736, 0.706),
  "es": (1.029, 1.084, 0.762, 0.615), "fr": (4.099, 5.216, 0.628, 0.535),
  "it": (1.543, 1.743, 0.699, 0.579), "vi": (0.880, 73.415, 0.743, 0.369),
  "th": (2.701, 73.936, 0.800, 0.588), "tr": (1.520, 0.699, 0.779, 0.596),
  "id": (1.237, 1.059, 0.729, 0.660), "pt": (1.877, 1.331, 0.805, 0.711),
  "nl": (1.143, 0.803, 0.738, 0.680), "de": (1.906, 0.572, 0.733, 0.614),
  "ru": (4.281, 3.878, 0.761, 0.676), "uk": (1.082, 0.997, 0.730, 0.647),
  "pl": (1.415, 0.766, 0.802, 0.729), "ro": (2.878, 1.347, 0.809, 0.699),
  "el": (2.016, 0.991, 0.826, 0.733), "cs": (3.875, 2.108, 0.796, 0.685),
  "fi": (4.666, 2.964, 0.835, 0.759), "hi": (6.962, 5.827, 0.818, 0.730),
}

# Chinese speakers: errors zero-shot and one-shot, then similarities.
_CROSS_LINGUAL = {
  "cs": (2.823, 5.096, 0.605, 0.648), "ro": (3.081, 5.353, 0.625, 0.690),
  "fi": (4.527, 8.112, 0.554, 0.655), "th": (2.826, 4.107, 0.729, 0.748),
  "ar": (1.446, 2.649, 0.619, 0.632), "fr": (4.497, 5.489, 0.586, 0.645),
  "vi": (0.659, 1.788, 0.692, 0.725),
}
# fmt: on


def _seed_tts() -> dict[str, tuple[Published, ...]]:
  """Systems on Seed-TTS by subset."""
  return {
    "zh": tuple(_figures(s, c, e, v, by) for s, c, e, v, _, _, by in _SEED_TTS),
    "en": tuple(_figures(s, c, e, v, by) for s, c, _, _, e, v, by in _SEED_TTS),
  }


def _minimax24(row: tuple[float, ...]) -> tuple[Published, ...]:
  """Systems on one language of the MiniMax multilingual set."""
  other = "ElevenLabs Multilingual v2"
  return (
    _figures(_MINIMAX, "zero-shot", row[0], row[2], _TABLE_2),
    _figures(other, "zero-shot", row[1], row[3], _TABLE_2),
  )


def _cross_lingual(row: tuple[float, ...]) -> tuple[Published, ...]:
  """MiniMax-Speech on one language with Chinese speakers."""
  return (
    _figures(_MINIMAX, "zero-shot", row[0], row[2], _TABLE_3),
    _figures(_MINIMAX, "one-shot", row[1], row[3], _TABLE_3),
  )


# Benchmark -> subset -> systems.
FIGURES: Mapping[str, Mapping[str, tuple[Published, ...]]] = {
  "seed-tts": _seed_tts(),
  "minimax24": {k: _minimax24(row) for k, row in _MINIMAX24.items()},
  "cross-lingual": {k: _cross_lingual(r) for k, r in _CROSS_LINGUAL.items()},
}


def figures(benchmark: str, subset: str) -> tuple[Published, ...]:
  """Published figures of a subset; empty where none are known."""
  return FIGURES.get(benchmark, {}).get(subset, ())


def sources(rows: Iterable[Published]) -> list[str]:
  """Lists every source once, with its systems where it is not one table."""
  found: dict[str, list[str]] = {}
  for row in rows:
    systems = found.setdefault(row.source, [])
    if row.system not in systems:
      systems.append(row.system)
  return [
    source if source.startswith(_REPORT) else f"{', '.join(names)}: {source}"
    for source, names in found.items()
  ]


# ------------------------------------------------------------------- judges

RECOGNISERS = {"zh": "Paraformer-zh"}  # by language code
RECOGNISER = "Whisper-large-v3"  # for all other languages
SPEAKER_JUDGE = "WavLM-large fine-tuned for speaker verification"
_SPEAKER_WEIGHTS = "wavlm_large_finetune.pth"  # as released


def same_recogniser(language: str, spec: str | None) -> bool:
  """Whether a judge's spec names the recogniser of the published figures.

  Only the name is compared, not the content of a file or folder.
  """
  kind, _, weights = (spec or "").partition(":")
  name = pathlib.PurePath(weights).name
  if language in RECOGNISERS:
    return kind == "funasr" and name == "paraformer-zh"
  whisper = ("large-v3", "whisper-large-v3", "faster-whisper-large-v3")
  return kind in ("faster-whisper", "transformers") and name in whisper


def same_speaker_judge(spec: str | None) -> bool:
  """Whether a spec names the speaker judge of the published figures.

  Only the name of the released weights is compared.
  """
  kind, _, weights = (spec or "").partition(":")
  return kind == "wavlm" and pathlib.PurePath(weights).name == _SPEAKER_WEIGHTS
