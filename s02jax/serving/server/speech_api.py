"""Speech as OpenAI's clients ask for it: `POST /v1/audio/speech`."""

import base64
import dataclasses
import functools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from starlette.requests import Request

from s02jax.audio.effects import Changes
from s02jax.audio.stream import FORMATS, StreamEncoder, allowed_rate
from s02jax.serving.server import fields, guard
from s02jax.serving.server.fields import Field
from s02jax.serving.server.refusals import Refusal, absent
from s02jax.serving.server.sending import House, Sayings, SpeechResponse
from s02jax.serving.server.studio import Order, check_emotion
from s02jax.synthesis.alignment import Word
from s02jax.synthesis.voice import MOST_MIXED
from s02jax.text.markup.reader import KINDS

PCM_RATE = 24000  # Hz of samples without a header: OpenAI's clients count on it

SPEECH: dict[str, Field] = {
  "input": Field(kind=str, about="text to be spoken", required=True),
  "voice": Field(
    kind=object,
    about='name of a voice, {"id": name}, or a mixture {name: weight}',
    required=True,
  ),
  "model": Field(kind=str, about="not looked at: there is one"),
  "instructions": Field(kind=str, about="how to speak; no bundle has it yet"),
  "response_format": Field(
    kind=str, about="format of the sound", default="mp3", choices=(*FORMATS,)
  ),
  "stream_format": Field(
    kind=str,
    about="the sound itself, or events with it in base64",
    default="audio",
    choices=("audio", "sse"),
  ),
  "timestamps": Field(
    kind=bool,
    about="events `speech.timestamps` tell when which word is heard",
    default=False,
  ),
  "speed": Field(kind=float, about="0.5 to 2, at the same pitch", default=1.0),
  "pitch": Field(kind=float, about="semitones, -12 to 12", default=0.0),
  "volume": Field(kind=float, about="factor, up to 10", default=1.0),
  "emotion": Field(
    kind=object,
    about='name of /v1/models such as "sad" or "sad:0.6", or {name: strength}',
  ),
  "sample_rate": Field(kind=int, about="Hz of the sound, 8000 to 48000"),
  "language": Field(kind=str, about="code such as en; absent: detected"),
  "markup": Field(
    kind=str, about="marks in the text", default="none", choices=tuple(KINDS)
  ),
  **fields.settings_table(),
}


async def speech(request: Request) -> SpeechResponse:
  """Speaks a text."""
  house: House = request.app.state.house
  guard.check_is_json(request)
  data = await guard.read_body(request, house.limits.body)
  body = fields.check(fields.parse(data), SPEECH)
  name = body["response_format"]
  wanted = order(house, body, name)
  rate = wanted.changes.rate or house.studio.rate
  encoder = StreamEncoder(name, rate)
  speak = functools.partial(house.studio.speak, wanted)
  headers = {"x-sample-rate": str(rate)}
  if body["stream_format"] == "audio":
    media_type = FORMATS[name].media_type
    encode = functools.partial(_sound, encoder)
    return SpeechResponse(
      house, speak, rate, encode, media_type, headers=headers
    )
  return SpeechResponse(
    house,
    speak,
    rate,
    functools.partial(_events, encoder, wanted),
    "text/event-stream",
    fail=lambda refusal: event({"type": "error"} | refusal.body),
    headers=headers,
  )


def order(house: House, body: Mapping[str, Any], name: str) -> Order:
  """Order of a checked body; raises UserError or Refusal."""
  if body["instructions"]:
    raise absent("speech by instructions")
  default = PCM_RATE if name == "pcm" else house.studio.rate
  return Order(
    text=check_length(house, body["input"], "input"),
    voices=_voices(body["voice"]),
    language=body["language"],
    settings=fields.settings(body),
    changes=Changes(
      speed=body["speed"],
      pitch=body["pitch"],
      volume=body["volume"],
      rate=to_rate(house, name, body["sample_rate"] or default),
    ),
    markup=body["markup"],
    timestamps=body["timestamps"],
    emotion=check_emotion(house.studio, body["emotion"] or None, "emotion"),
  )


def check_length(house: House, text: str, name: str) -> str:
  """Checks the length of a text; returns it."""
  most = house.limits.characters
  if len(text) > most:
    raise Refusal(
      "too_large",
      f"{name} has {len(text)} characters; send at most {most} at once.",
      param=name,
    )
  return text


def to_rate(house: House, name: str, rate: int) -> int | None:
  """Rate that the sound is to be changed to for a format; None: its own."""
  rate = allowed_rate(name, rate)
  return None if rate == house.studio.rate else rate


def _voices(voice: str | Mapping[str, Any]) -> dict[str, float]:
  """Weights of voices by name."""
  if isinstance(voice, str):
    return {voice: 1.0}
  if isinstance(voice.get("id"), str) and len(voice) == 1:
    return {voice["id"]: 1.0}
  return check_weights(voice, "voice")


def check_weights(weights: Mapping[str, Any], name: str) -> dict[str, float]:
  """Checks the weights of a mixture; returns them."""
  table = {voice: Field(kind=float, about="weight") for voice in weights}
  found = fields.check(weights, table, f"{name}.")
  good = [w is not None and w >= 0 for w in found.values()]
  if (
    not 1 <= len(found) <= MOST_MIXED
    or not all(good)
    or not any(found.values())
  ):
    raise Refusal(
      "invalid_request",
      f"{name} must name 1 to {MOST_MIXED} voices with weights of 0 or more,"
      " not all 0.",
      param=name,
    )
  return found


def _sound(encoder: StreamEncoder, sayings: Sayings) -> Iterator[bytes]:
  """Encodes sound as it comes."""
  for part in encoded(encoder, sayings):
    if isinstance(part, bytes):
      yield part


def encoded(
  encoder: StreamEncoder, sayings: Sayings
) -> Iterator[bytes | list[Word]]:
  """Encodes sound as it comes, none of it empty; words go through."""
  for said in sayings:
    if isinstance(said, list):
      yield said
    elif part := encoder.push(said):
      yield part
  if part := encoder.finish():
    yield part


def event(values: Mapping[str, Any]) -> bytes:
  """Server-sent event of JSON."""
  return f"data: {json.dumps(values)}\n\n".encode()


def _events(
  encoder: StreamEncoder, order: Order, sayings: Sayings
) -> Iterator[bytes]:
  """Events of OpenAI's API; `speech.timestamps` is ours."""
  for part in encoded(encoder, sayings):
    if isinstance(part, list):
      words = [dataclasses.asdict(word) for word in part]
      yield event({"type": "speech.timestamps", "words": words})
    else:
      audio = base64.b64encode(part).decode()
      yield event({"type": "speech.audio.delta", "audio": audio})
  count = len(order.text)
  usage = {"input_tokens": count, "output_tokens": 0, "total_tokens": count}
  yield event({"type": "speech.audio.done", "usage": usage})
