"""Speech as MiniMax's clients ask for it: `POST /v1/t2a_v2`.

Sound is hexadecimal in JSON: whole, or with `stream` in server-sent events.
"""

import base64
import functools
import json
import secrets
import unicodedata
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request

from s02jax.audio.effects import Changes
from s02jax.audio.stream import StreamEncoder, wav_header
from s02jax.core import languages
from s02jax.serving.server import fields, guard, speech_api
from s02jax.serving.server.fields import Field
from s02jax.serving.server.refusals import Refusal, absent
from s02jax.serving.server.sending import House, Sayings, SpeechResponse
from s02jax.serving.server.studio import Order, check_emotion
from s02jax.synthesis.alignment import Word
from s02jax.synthesis.emotion import NEUTRAL
from s02jax.text.markup import captions
from s02jax.text.pronunciation import Pronunciation

OK = {"status_code": 0, "status_msg": "success"}
CANTONESE = ("chinese,yue", "yue")  # MiniMax's name, and our code
# MiniMax's names of emotions, and those that corpora of acted speech use.
EMOTIONS = {"calm": NEUTRAL, "fearful": "fear", "disgusted": "disgust"}

_VOICE: dict[str, Field] = {
  "voice_id": Field(kind=str, about="name of a voice"),
  "speed": Field(kind=float, about="0.5 to 2", default=1.0),
  "vol": Field(kind=float, about="volume, above 0, at most 10", default=1.0),
  "pitch": Field(kind=float, about="semitones, -12 to 12", default=0.0),
  "emotion": Field(kind=str, about="name of /v1/models, or neutral"),
  "text_normalization": Field(kind=bool, about="always done"),
  "english_normalization": Field(kind=bool, about="always done"),
  "latex_read": Field(kind=bool, about="not in this bundle"),
}
_AUDIO: dict[str, Field] = {
  "sample_rate": Field(kind=int, about="Hz, 8000 to 48000"),
  "bitrate": Field(
    kind=int,
    about="bits a second of mp3",
    default=128000,
    choices=(32000, 64000, 128000, 256000),
  ),
  "format": Field(
    kind=str,
    about="format of the sound",
    default="mp3",
    choices=tuple(speech_api.FORMATS),
  ),
  "channel": Field(kind=int, about="1, or 2 alike", default=1, choices=(1, 2)),
  "force_cbr": Field(kind=bool, about="mp3 always has a constant rate"),
}
_WEIGHT: dict[str, Field] = {
  "voice_id": Field(kind=str, about="name of a voice", required=True),
  "weight": Field(kind=float, about="share of it", required=True),
}
_WEIGHTS = Field(kind=list, about="voices of a mixture, one to four",
                 fields=_WEIGHT)  # fmt: skip
_MODIFY: dict[str, Field] = {
  name: Field(kind=kind, about="not in this bundle")
  for name, kind in (
    ("pitch", float),
    ("intensity", float),
    ("timbre", float),
    ("sound_effects", str),
  )
}
T2A: dict[str, Field] = {
  "text": Field(
    kind=str, about="text to be spoken; <#0.5#> is a pause", required=True
  ),
  "model": Field(kind=str, about="not looked at: there is one"),
  "stream": Field(kind=bool, about="send sound as it is made", default=False),
  "stream_options": Field(
    kind=dict,
    about="of the events",
    fields={
      "exclude_aggregated_audio": Field(
        kind=bool, about="the last event has no sound", default=False
      )
    },
  ),
  "voice_setting": Field(kind=dict, about="who speaks, how", fields=_VOICE),
  "audio_setting": Field(kind=dict, about="how it is sent", fields=_AUDIO),
  "timbre_weights": _WEIGHTS,
  "timber_weights": _WEIGHTS,  # as some clients spell it
  "pronunciation_dict": Field(
    kind=dict,
    about="words respelt",
    fields={"tone": Field(kind=list, about='a list of "word/respelling"')},
  ),
  "language_boost": Field(kind=str, about="name or code; auto detects it"),
  "voice_modify": Field(kind=dict, about="timbre of a voice", fields=_MODIFY),
  "subtitle_enable": Field(
    kind=bool, about="also tell when what is heard", default=False
  ),
  "subtitle_type": Field(
    kind=str,
    about="what is timed",
    default="sentence",
    choices=("sentence", "word"),
  ),
  "output_format": Field(
    kind=str, about="how sound is sent", default="hex", choices=("hex",)
  ),
  "aigc_watermark": Field(kind=bool, about="not in this bundle"),
  "continuous_sound": Field(kind=bool, about="passages always join"),
  **fields.settings_table(),
}


async def t2a(request: Request) -> SpeechResponse:
  """Speaks a text."""
  house: House = request.app.state.house
  guard.check_is_json(request)
  data = await guard.read_body(request, house.limits.body)
  body = fields.check(fields.parse(data), T2A)
  body["audio_setting"] = body["audio_setting"] or fields.check({}, _AUDIO)
  body["voice_setting"] = body["voice_setting"] or fields.check({}, _VOICE)
  order = _order(house, body)
  rate = order.changes.rate or house.studio.rate
  reply = _Reply(body, order, rate)
  speak = functools.partial(house.studio.speak, order)
  if not body["stream"]:
    return SpeechResponse(house, speak, rate, reply.whole, "application/json")
  return SpeechResponse(
    house,
    speak,
    rate,
    reply.events,
    "text/event-stream",
    fail=lambda refusal: speech_api.event(refusal.body),
  )


# -------------------------------------------------------------------- orders


def _order(house: House, body: Mapping[str, Any]) -> Order:
  """Order of a checked body; raises UserError or Refusal."""
  voice, audio = body["voice_setting"], body["audio_setting"]
  _check_absent(body)
  rate = audio["sample_rate"] or house.studio.rate
  return Order(
    text=speech_api.check_length(house, body["text"], "text"),
    voices=_voices(body),
    language=_language(body["language_boost"]),
    settings=fields.settings(body),
    changes=Changes(
      speed=voice["speed"],
      pitch=voice["pitch"],
      volume=voice["vol"],
      rate=speech_api.to_rate(house, audio["format"], rate),
    ),
    pronunciation=_pronunciation(body["pronunciation_dict"]),
    timestamps=body["subtitle_enable"],
    emotion=_emotion(house, voice["emotion"]),
  )


def _emotion(house: House, name: str | None) -> str:
  """Emotion by its name of the bundle or of MiniMax."""
  name = (name or "").strip() or NEUTRAL
  known = {own.casefold() for own in house.studio.emotions} | {NEUTRAL}
  other = EMOTIONS.get(name.casefold(), name)
  if name.casefold() not in known and other in known:
    name = other
  check_emotion(house.studio, name, "voice_setting.emotion")
  return name


def _check_absent(body: Mapping[str, Any]) -> None:
  """Raises Refusal for what no bundle has."""
  if body["voice_setting"]["latex_read"]:
    raise absent("the reading of LaTeX")
  if body["aigc_watermark"]:
    raise absent("a watermark")
  for name, value in (body["voice_modify"] or {}).items():
    if value:
      raise absent(f"voice_modify.{name}")


def _voices(body: Mapping[str, Any]) -> dict[str, float]:
  """Weights of voices by name."""
  weights = body["timbre_weights"] or body["timber_weights"]
  if weights:
    given = {one["voice_id"]: one["weight"] for one in weights}
    return speech_api.check_weights(given, "timbre_weights")
  name = body["voice_setting"]["voice_id"]
  if not name:
    raise Refusal(
      "invalid_request",
      "the field voice_setting.voice_id is missing: name a voice of"
      " /v1/voices.",
      param="voice_setting.voice_id",
    )
  return {name: 1.0}


def _language(boost: str | None) -> str | None:
  """Code of a language by its name or code; None detects it."""
  name = (boost or "auto").lower()
  if name == "auto":
    return None
  known = {row.name.lower(): row.code for row in languages.LANGUAGES}
  known[CANTONESE[0]] = CANTONESE[1]
  return known.get(name, name)


def _pronunciation(given: Mapping[str, Any] | None) -> Pronunciation | None:
  """Dictionary of entries such as "omg/oh my god"."""
  entries: dict[str, str] = {}
  for entry in (given or {}).get("tone") or []:
    word, _, other = (
      entry.partition("/") if isinstance(entry, str) else 3 * ("",)
    )
    word, other = word.strip(), other.strip()
    if not word or not other:
      raise Refusal(
        "invalid_request",
        'pronunciation_dict.tone must hold entries such as "omg/oh my god".',
        param="pronunciation_dict.tone",
      )
    if other.startswith("("):
      raise absent("pronunciation by phonemes or Pinyin")
    entries[word] = other
  return Pronunciation({"all": entries}) if entries else None


# ------------------------------------------------------------------- replies


class _Reply:
  """Reply to one request, in both of its forms."""

  def __init__(self, body: Mapping[str, Any], order: Order, rate: int):
    self._body, self._order, self._rate = body, order, rate
    self._audio = body["audio_setting"]
    self._words: list[Word] = []
    self._samples = 0
    self._trace = secrets.token_hex(16)

  def whole(self, sayings: Sayings) -> Iterator[bytes]:
    """Makes one JSON object when all is spoken."""
    data = b"".join(self._parts(sayings))
    if self._audio["format"] == "wav":  # now its length is known
      size = len(data) - 44
      data = wav_header(self._rate, self._audio["channel"], size) + data[44:]
    yield json.dumps(self._last(data, len(data))).encode()

  def events(self, sayings: Sayings) -> Iterator[bytes]:
    """Makes events of sound as it comes; the last one has all of it."""
    whole = bytearray()
    for part in self._parts(sayings):
      whole += part
      data = {"audio": part.hex(), "status": 1}
      yield speech_api.event(self._object({"data": data}))
    options = self._body["stream_options"] or {}
    left_out = options.get("exclude_aggregated_audio")
    last = b"" if left_out else bytes(whole)
    yield speech_api.event(self._last(last, len(whole)))

  def _parts(self, sayings: Sayings) -> Iterator[bytes]:
    """Encoded sound; words and samples are put aside."""
    encoder = StreamEncoder(
      self._audio["format"],
      self._rate,
      channels=self._audio["channel"],
      bit_rate=(
        self._audio["bitrate"] if self._audio["format"] == "mp3" else None
      ),
    )
    for part in speech_api.encoded(encoder, self._counted(sayings)):
      if isinstance(part, list):
        self._words += part
      else:
        yield part

  def _counted(self, sayings: Sayings) -> Sayings:
    for said in sayings:
      self._samples += 0 if isinstance(said, list) else len(said)
      yield said

  def _object(self, values: Mapping[str, Any]) -> dict[str, Any]:
    """Object as every reply is one."""
    return {**values, "trace_id": self._trace, "base_resp": OK}

  def _last(self, sound: bytes, size: int) -> dict[str, Any]:
    """Object that ends a reply.

    Args:
      sound: to be sent.
      size: bytes of the whole sound.
    """
    data: dict[str, Any] = {"audio": sound.hex(), "status": 2}
    if self._order.timestamps:
      text = json.dumps(self._subtitles())
      code = base64.b64encode(text.encode()).decode()
      data["subtitle_file"] = f"data:application/json;base64,{code}"
    text = self._order.text
    hidden = sum(unicodedata.category(c)[0] == "C" for c in text)
    info = {
      "audio_length": round(1000 * self._samples / self._rate),
      "audio_sample_rate": self._rate,
      "audio_size": size,
      "bitrate": self._audio["bitrate"],
      "audio_format": self._audio["format"],
      "audio_channel": self._audio["channel"],
      "invisible_character_ratio": round(hidden / max(len(text), 1), 3),
      "usage_characters": len(text),
      "word_count": len(text.split()),
    }
    return self._object({"data": data, "extra_info": info})

  def _subtitles(self) -> list[dict[str, Any]]:
    """Sentences or words with their times in milliseconds."""
    language = languages.resolve(self._order.language or "en")
    groups = captions.cues(self._words, language.separator)
    if self._body["subtitle_type"] == "word":
      groups = [[word] for word in self._words]
    join = functools.partial(str.join, language.separator)
    return [
      {
        "text": join(word.text for word in group),
        "time_begin": round(1000 * group[0].begin, 1),
        "time_end": round(1000 * group[-1].end, 1),
      }
      for group in groups
    ]
