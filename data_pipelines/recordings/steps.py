"""Steps from recordings to records, each a function over the clips of a chunk.

A step gets all clips of a chunk, in order, and returns those that go on, the
refused ones among them. It depends on the chunk and the settings alone.
"""

import collections
import hashlib
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from data_pipelines import clips as coding
from data_pipelines.recordings.analysis import (
  cutting,
  fingerprint,
  measures,
  voices,
)
from data_pipelines.recordings.items import Chunk, Clip
from data_pipelines.recordings.networks import Networks
from data_pipelines.recordings.settings import ANY, Settings
from s02jax.audio import loudness, recording
from s02jax.core import languages
from s02jax.core.errors import UserError
from s02jax.pretrained import ge2e, signal, silero
from s02jax.pretrained.judges import unit_vectors
from s02jax.text import edits, front, pace
from s02jax.text.clean import clean
from s02jax.text.normalize import units

Step = Callable[[list[Clip], Settings, Networks], list[Clip]]
_RATE = signal.JUDGE_RATE
_RMS = 10 ** (-23 / 20)  # to which recordings are scaled for networks
_AROUND = 2.0  # seconds around a clip in which its background is looked for
_NOBODY = 0.2  # probability of speech below which nobody speaks
_CHANGE = 5.0  # seconds of a clip whose halves are compared
_SHOWN = 30.0  # seconds of a refused clip whose sound is kept
_TEXT = "agreement"  # name under which texts refuse a clip


def good(clips: Iterable[Clip]) -> list[Clip]:
  """Clips that no step has refused."""
  return [clip for clip in clips if not clip.reason]


def of_recordings(clips: Iterable[Clip]) -> Iterator[list[Clip]]:
  """Good clips, a list for each recording."""
  found: dict[str, list[Clip]] = collections.defaultdict(list)
  for clip in good(clips):
    found[clip.recording.uri].append(clip)
  yield from found.values()


def decode(chunk: Chunk) -> list[Clip]:
  """Decodes every recording of a chunk, as one clip each."""
  found = []
  for item in chunk.recordings:
    clip = Clip(shard=chunk.shard, recording=item, language=item.language)
    try:
      clip.wave, clip.rate = recording.read(item.data())
      clip.end = len(clip.wave) / clip.rate
      if not len(clip.wave):
        clip.refuse("decode", "the file holds no samples")
    except recording.Refused as error:
      clip.refuse("decode", error.reason)
    except Exception as error:  # no file ends the build of all others
      clip.refuse("decode", _failed(error))
    found.append(clip)
  return found


def _failed(error: Exception) -> str:
  return f"the program failed on it, {type(error).__name__}: {error}"


def cut(clips: list[Clip], settings: Settings, networks: Networks):
  """Cuts recordings at pauses; where that is left out, takes them whole."""
  found: list[Clip] = []
  for clip in clips:
    if clip.reason or clip.wave is None:
      found.append(clip)
      continue
    heard = _scaled(signal.to_judge_rate(clip.wave, clip.rate))
    spans, islands, background = [(0.0, clip.end)], [(0.0, clip.end)], None
    if settings.runs("pauses"):
      chances = networks.silero.probabilities(heard)
      islands = silero.segments(chances, clip.end)
      if not islands:
        clip.refuse("pauses", "nobody speaks in it")
        found.append(clip)
        continue
      spans = cutting.cut(
        islands,
        clip.end,
        pause=settings.pause,
        shortest=settings.min_seconds,
        longest=settings.max_seconds,
        whole=[(said.start, said.end) for said in clip.recording.said],
      )
      background = np.repeat(chances < _NOBODY, silero.FRAME)[: len(heard)]
    found += _pieces(clip, heard, spans, islands, background, settings)
  return found


def _pieces(whole: Clip, heard, spans, islands, background, settings: Settings):
  """Clips of a decoded recording, and what is known of each."""
  item = whole.recording
  given = cutting.pieces(item.said, spans) if item.said else None
  for i, (start, end) in enumerate(spans):
    clip = Clip(
      shard=whole.shard,
      recording=item,
      start=start,
      end=end,
      language=whole.language,
      rate=whole.rate,
    )
    clip.wave = _part(whole.wave, whole.rate, start, end)
    clip.heard = _part(heard, _RATE, start, end)
    clip.digest = hashlib.blake2b(
      np.ascontiguousarray(clip.wave).tobytes(), digest_size=12
    ).hexdigest()
    clip.pauses = tuple(
      (a - start, b - start) for a, b in islands if a < end and b > start
    )
    if background is not None:
      around = start - _AROUND, end + _AROUND
      quiet = _part(background, _RATE, *around)
      clip.background = _part(heard, _RATE, *around)[quiet]
    if given is not None:
      clip.given = given[i]
    elif len(spans) == 1:
      clip.given = item.text
    if clip.seconds < settings.min_seconds:
      clip.refuse("pauses", f"{clip.seconds:.2f} s of speech are too short")
    elif clip.seconds > settings.max_seconds + 1:
      clip.refuse(
        "pauses", f"{clip.seconds:.1f} s without a pause are too long"
      )
    yield clip


def _part(wave, rate: int, start: float, end: float):
  return wave[max(0, round(start * rate)) : round(end * rate)]


def _scaled(wave: np.ndarray) -> np.ndarray:
  """Scales float32 [n] to -23 dB in the mean, whatever its peaks."""
  power = (
    np.sqrt(np.mean(np.square(wave, dtype=np.float64))) if len(wave) else 0
  )
  return wave * np.float32(_RMS / power) if power > 1e-6 else wave


def tell_language(clips: list[Clip], settings: Settings, networks: Networks):
  """Tells the language of recordings without one, by their longest clip."""
  for group in of_recordings(clips):
    if group[0].language:
      continue
    code, heard = settings.language, ""
    if not code and settings.runs("language"):
      longest = max(group, key=lambda clip: clip.seconds)
      assert longest.heard is not None
      code, heard = networks.language(settings.rules(ANY).first, longest.heard)
    for clip in group:
      clip.language = code
      if not code:
        told = f"it is in {heard!r}, which is not supported" if heard else (
          "its language is not known: set config.language, or listen for it"
        )  # fmt: skip
        clip.refuse("language", told)
  return clips


def hear(clips: list[Clip], settings: Settings, networks: Networks):
  """Transcribes clips, as often as agreement needs it."""
  groups: dict[str, list[Clip]] = collections.defaultdict(list)
  for clip in good(clips):
    groups[clip.language].append(clip)
  for code, group in sorted(groups.items()):
    rules = settings.rules(code)
    first = [clip for clip in group if _is_heard(clip, settings)]
    _listen(first, rules.first, code, networks)
    for part in of_recordings(group):
      item = part[0].recording
      if item.text and not item.said and len(part) > 1:
        heard = [clip.texts[0] for clip in part]
        shares = cutting.share_out(item.text, heard, languages.BY_CODE[code])
        for clip, share in zip(part, shares, strict=True):
          clip.given = share
    second = [clip for clip in group if not _has_text(clip)]
    if rules.second and settings.runs("agreement"):
      _listen(second, rules.second, code, networks)
  return clips


def _has_text(clip: Clip) -> bool:
  """Whether the recording came with a transcript."""
  return bool(clip.recording.text or clip.recording.said)


def _is_heard(clip: Clip, settings: Settings) -> bool:
  return settings.runs("agreement") or not clip.given


def _listen(clips: list[Clip], spec: str, code: str, networks: Networks):
  waves = [clip.heard for clip in clips if clip.heard is not None]
  if waves:
    for clip, text in zip(clips, networks.hear(spec, waves, code), strict=True):
      clip.texts += (text.strip(),)


def agree(clips: list[Clip], settings: Settings, networks: Networks):
  """Refuses clips whose two texts differ; chooses the text of the others."""
  for clip in good(clips):
    language = languages.BY_CODE[clip.language]
    given = _has_text(clip)
    told = (clip.given, *clip.texts) if given else clip.texts
    text = told[0] if told else ""
    if settings.runs("agreement"):
      _compare(clip, told, settings)
    clip.text = front.words(clean(text), clip.language) if text else ""
    if not any(map(str.isalnum, clip.text)):
      clip.refuse(_TEXT, "no word of its transcript belongs to it" if given
                  else "no word is heard in it")  # fmt: skip
    elif reason := pace.impossible(clip.text, clip.seconds):
      clip.refuse(_TEXT, reason)
    elif settings.runs("punctuation"):
      clip.text = cutting.punctuate(
        clip.text, clip.pauses, language, settings.pause / 2
      )
  return clips


def _compare(clip: Clip, told: tuple[str, ...], settings: Settings) -> None:
  if len(told) < 2:
    clip.refuse(_TEXT, "it has no transcript, and its language one recogniser")
    return
  language = languages.BY_CODE[clip.language]
  a, b = (units(edits.normalise(text, language), "cer") for text in told[:2])
  clip.error = round(edits.edits(a, b).errors / max(1, len(a), len(b)), 4)
  most = settings.rules(clip.language).disagreement
  if clip.error > most or not a:
    clip.refuse(
      _TEXT,
      f"two transcripts differ in {clip.error:.0%} of the characters, more than"
      f" {most:.0%}",
    )


def one_speaker(clips: list[Clip], settings: Settings, networks: Networks):
  """Refuses clips of other voices than their recording's."""
  for group in of_recordings(clips):
    waves = [half for clip in group for half in _halves(clip)]
    vectors = ge2e.embed(waves)
    at, means = 0, []
    for clip in group:
      parts = vectors[at : at + len(_halves(clip))]
      at += len(parts)
      clip.vector = unit_vectors(parts.sum(axis=0))
      means.append(clip.vector)
      if len(parts) == 2 and parts[0] @ parts[1] < settings.same_voice - 0.1:
        clip.refuse("one_speaker", "the voice changes within it")
    lengths = [clip.seconds for clip in group]
    other, share = voices.strangers(
      np.stack(means), lengths, settings.same_voice
    )
    for clip, is_other in zip(group, other, strict=True):
      if share < settings.one_voice:
        clip.refuse(
          "one_speaker",
          f"several people speak in its recording: the main one {share:.0%}",
        )
      elif is_other:
        clip.refuse("one_speaker", "another voice than its recording's")
  return clips


def _halves(clip: Clip) -> list[np.ndarray]:
  """The clip at 16 kHz, in two halves if it is long enough."""
  wave = clip.heard
  assert wave is not None
  if clip.seconds < _CHANGE:
    return [wave]
  return [wave[: len(wave) // 2], wave[len(wave) // 2 :]]


def quality(clips: list[Clip], settings: Settings, networks: Networks):
  """Refuses clips of poor quality, of a narrow band, or with music in them."""
  for clip in good(clips):
    assert clip.heard is not None and clip.wave is not None
    score = networks.dnsmos.overall(clip.heard)
    band = measures.bandwidth(clip.wave, clip.rate)
    tones = 0.0
    if clip.background is not None:
      tones = measures.music(clip.background, clip.heard)
    clip.measures |= {
      "quality": round(score, 3),
      "bandwidth": round(band),
      "music": round(tones, 3),
    }
    if not score >= settings.least_quality:
      clip.refuse("quality", f"DNSMOS of {score:.2f} is too low")
    elif band < settings.least_bandwidth:
      clip.refuse("quality", f"nothing is heard above {band:.0f} Hz")
    elif tones > settings.most_music:
      clip.refuse("quality", "music is played behind the speech")
  return clips


def describe(clips: list[Clip], settings: Settings, networks: Networks):
  """Measures attributes of the voice."""
  for clip in good(clips):
    assert clip.wave is not None
    wave = signal.to_judge_rate(clip.wave, clip.rate)
    clip.measures |= measures.attributes(wave, clip.text)
  return clips


def fingerprints(clips: list[Clip], settings: Settings, networks: Networks):
  """Sketches the fingerprint of clips, by which duplicates are found."""
  for clip in good(clips):
    assert clip.heard is not None
    clip.sketch = fingerprint.sketch(clip.heard)
  return clips


def encode(clips: list[Clip], settings: Settings, networks: Networks):
  """Trims, levels and encodes clips; of refused ones what can be shown."""
  for clip in clips:
    if not clip.reason:
      assert clip.wave is not None
      try:
        wave = recording.speech((clip.wave, clip.rate), settings.rate)
        clip.audio, clip.num_samples = coding.encode(wave, settings.rate)
      except recording.Refused as error:
        clip.refuse("record", error.reason)
      except coding.Unusable as error:
        clip.refuse("record", str(error))
    if clip.reason and clip.wave is not None:
      shown = clip.wave[: int(_SHOWN * clip.rate)]
      shown = loudness.resample(shown, clip.rate, settings.rate)
      if len(shown) >= settings.rate // 10:
        clip.audio, _ = coding.encode(shown, settings.rate)
    clip.wave = clip.heard = clip.background = None
  return clips


# Steps behind `decode`, in order; those that a config leaves out are not run.
STEPS: dict[str, Step] = {
  "cut": cut,
  "language": tell_language,
  "hear": hear,
  "agreement": agree,
  "one_speaker": one_speaker,
  "quality": quality,
  "attributes": describe,
  "duplicates": fingerprints,
  "encode": encode,
}
ALWAYS = ("cut", "language", "hear", "agreement", "encode")


def chosen(settings: Settings) -> dict[str, Step]:
  """Steps that the settings do not leave out, in order."""
  return {
    name: step
    for name, step in STEPS.items()
    if name in ALWAYS or settings.runs(name)
  }


def run(
  step: Step, clips: list[Clip], settings: Settings, networks: Networks
) -> list[Clip]:
  """Runs a step; where it fails, again with one recording after the other."""
  try:
    return step(clips, settings, networks)
  except UserError:
    raise
  except Exception:
    found = []
    groups: dict[str, list[Clip]] = collections.defaultdict(list)
    for clip in clips:
      groups[clip.recording.uri].append(clip)
    for group in groups.values():
      try:
        found += step(group, settings, networks)
      except UserError:
        raise
      except Exception as error:
        for clip in group:
          clip.refuse(step.__name__, _failed(error))
        found += group
    return found
