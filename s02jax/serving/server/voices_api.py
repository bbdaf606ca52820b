"""Voices over HTTP: list, clone, design, remove.

GET    /v1/voices           all of them
DELETE /v1/voices/NAME      forgets one
POST   /v1/voice_clone      makes one of a recording: a form with `file`, or
                            JSON with its `file_id`, as MiniMax's clients do
POST   /v1/files/upload     a recording for it; kept until it is used
POST   /v1/voice_design     makes one by a description; or candidates, of which
                            the same request with the seed of one keeps it
"""

import collections
import functools
import itertools
import json
import secrets
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import anyio.to_thread
import numpy as np
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import Request
from starlette.responses import Response

from s02jax.audio.stream import StreamEncoder
from s02jax.serving.server import fields, guard, speech_api
from s02jax.serving.server.fields import Field
from s02jax.serving.server.refusals import Refusal, absent, json_response
from s02jax.serving.server.sending import House, SpeechResponse
from s02jax.serving.server.studio import Design, Said

OK = {"base_resp": {"status_code": 0, "status_msg": "success"}}
MOST_FILES = 8  # uploaded recordings that wait to be used
MOST_CANDIDATES = 8  # voices of one design

CLONE: dict[str, Field] = {
  "voice_id": Field(
    kind=str, about="name: letters a-z, digits, - and _", required=True
  ),
  "file_id": Field(kind=int, about="recording of /v1/files/upload"),
  "transcript": Field(
    kind=str, about="what the recording says: one-shot cloning"
  ),
  "replace": Field(kind=bool, about="a voice of this name", default=False),
  "model": Field(kind=str, about="not looked at: there is one"),
}
PROMPT: dict[str, Field] = {
  "prompt_audio": Field(kind=int, about="recording of /v1/files/upload"),
  "prompt_text": Field(kind=str, about="what it says"),
}
CLONE_JSON = CLONE | {
  "clone_prompt": Field(
    kind=dict, about="recording to be continued", fields=PROMPT
  )
}


DESIGN: dict[str, Field] = {
  "prompt": Field(kind=str, about="description of the voice", required=True),
  "preview_text": Field(
    kind=str, about="what the voice says to be known by", required=True
  ),
  "voice_id": Field(
    kind=str, about="name that it is kept under; absent: one is made up"
  ),
  "replace": Field(kind=bool, about="a voice of this name", default=False),
  "candidates": Field(
    kind=int, about=f"send 1 to {MOST_CANDIDATES} voices, and keep none"
  ),
  "seed": Field(
    kind=int, about="of the first voice; the others have the next", default=0
  ),
  "tags": Field(kind=str, about="such as gender=male,pitch=1", default=""),
  "language": Field(kind=str, about="of preview_text; absent: detected"),
  "aigc_watermark": Field(kind=bool, about="not in this bundle"),
}


class Files:
  """Uploaded recordings by number, decoded; the oldest give way."""

  def __init__(self):
    self._kept: collections.OrderedDict[int, tuple[np.ndarray, int]] = (
      collections.OrderedDict()
    )
    self._numbers = itertools.count(1)

  def add(self, sound: tuple[np.ndarray, int]) -> int:
    """Keeps a recording; returns its number."""
    number = next(self._numbers)
    self._kept[number] = sound
    while len(self._kept) > MOST_FILES:
      self._kept.popitem(last=False)
    return number

  def get(self, number: int) -> tuple[np.ndarray, int]:
    """Recording of a number; raises Refusal if there is none."""
    if number not in self._kept:
      raise Refusal(
        "not_found",
        f"there is no file {number}; upload it to /v1/files/upload first.",
        param="file_id",
      )
    return self._kept[number]


async def listed(request: Request) -> Response:
  """Lists the kept voices."""
  house: House = request.app.state.house
  return json_response({"voices": await house.run(house.studio.voices)} | OK)


async def removed(request: Request) -> Response:
  """Forgets a voice."""
  house: House = request.app.state.house
  await house.run(house.studio.remove, request.path_params["name"])
  return json_response(OK)


async def uploaded(request: Request) -> Response:
  """Answers an upload of a recording with the number it is kept under."""
  house: House = request.app.state.house
  _, sound = await _form(request, house)
  number = request.app.state.files.add(sound)
  size = round(len(sound[0]) / sound[1], 2)
  return json_response({"file": {"file_id": number, "seconds": size}} | OK)


async def cloned(request: Request) -> Response:
  """Makes a voice of a recording, and keeps it."""
  house: House = request.app.state.house
  if guard.media_type(request) == "multipart/form-data":
    body, sound = await _form(request, house)
    if body.get("replace") in ("true", "false"):
      body["replace"] = body["replace"] == "true"
    body = fields.check(body, CLONE)
  else:
    guard.check_is_json(request)
    data = await guard.read_body(request, house.limits.body)
    body = fields.check(fields.parse(data), CLONE_JSON)
    body, sound = _of_files(request.app.state.files, body)
  await _check_room(house)

  def clone() -> dict[str, Any]:
    return house.studio.clone(
      body["voice_id"],
      [sound],
      body["transcript"] or None,
      replace=body["replace"],
    )

  return json_response({"voice": await house.run(clone)} | OK)


async def _check_room(house: House) -> None:
  """Raises Refusal where no further voice is kept."""
  if len(await house.run(house.studio.voices)) >= house.limits.voices:
    raise Refusal(
      "too_large",
      f"there are {house.limits.voices} voices already; remove one first.",
    )


def _of_files(files: Files, body: dict[str, Any]):
  """Body and recording of a request that names an uploaded one."""
  prompt = body["clone_prompt"] or {}
  number = prompt.get("prompt_audio") or body["file_id"]
  if number is None:
    raise Refusal(
      "invalid_request",
      "the field file_id is missing: send the number of an uploaded file, or a"
      " form with the file itself.",
      param="file_id",
    )
  transcript = prompt.get("prompt_text") or body["transcript"]
  return body | {"transcript": transcript}, files.get(number)


async def designed(request: Request) -> SpeechResponse:
  """Makes voices by a description, and lets them speak."""
  house: House = request.app.state.house
  if not house.studio.designs:
    raise absent("the design of voices by a description")
  guard.check_is_json(request)
  data = await guard.read_body(request, house.limits.body)
  body = fields.check(fields.parse(data), DESIGN)
  order = _design(house, body)
  if order.keep is not None:
    await _check_room(house)
  rate = order.rate or house.studio.rate
  return SpeechResponse(
    house,
    functools.partial(house.studio.design, order),
    rate,
    functools.partial(_trials, order, rate),
    "application/json",
  )


def _design(house: House, body: dict[str, Any]) -> Design:
  """Order of a checked body; raises Refusal."""
  count = body["candidates"]
  if body["aigc_watermark"]:
    raise absent("a watermark")
  if count is not None and not 1 <= count <= MOST_CANDIDATES:
    raise Refusal(
      "invalid_request",
      f"candidates must be 1 to {MOST_CANDIDATES}.",
      param="candidates",
    )
  if count is not None and body["voice_id"]:
    raise Refusal(
      "invalid_request",
      "send either candidates, to choose from, or voice_id with the seed of the"
      " one to keep.",
      param="voice_id",
    )
  name = body["voice_id"] or f"designed-{secrets.token_hex(4)}"
  speech_api.check_length(house, body["prompt"], "prompt")
  return Design(
    description=body["prompt"],
    text=speech_api.check_length(house, body["preview_text"], "preview_text"),
    language=body["language"],
    tags=body["tags"],
    seed=body["seed"],
    candidates=count or 1,
    rate=speech_api.to_rate(house, "mp3", house.studio.rate),
    keep=name if count is None else None,
    replace=body["replace"],
  )


def _trials(
  order: Design, rate: int, sayings: Iterator[int | Said]
) -> Iterator[bytes]:
  """Makes one JSON object with the sounds of all candidates."""
  encoders: dict[int, StreamEncoder] = {}
  sounds: dict[int, bytes] = {}
  seed = order.seed
  for said in sayings:
    if isinstance(said, int):
      seed = said
      encoders[seed], sounds[seed] = StreamEncoder("mp3", rate), b""
    elif isinstance(said, np.ndarray):
      sounds[seed] += encoders[seed].push(said)
  trials = [
    {"seed": seed, "trial_audio": (sounds[seed] + encoder.finish()).hex()}
    for seed, encoder in encoders.items()
  ]
  values: dict[str, Any] = {"candidates": trials}
  if order.keep is not None:
    sound = trials[0]["trial_audio"]
    values = {"voice_id": order.keep, "trial_audio": sound}
  yield json.dumps(values | OK).encode()


async def _form(request: Request, house: House):
  """Fields of a form and its decoded recording."""
  if guard.media_type(request) != "multipart/form-data":
    raise Refusal(
      "wrong_media_type",
      "send the recording as the field `file` of a form, multipart/form-data.",
    )
  data = await guard.read_body(request, house.limits.upload)
  form = await _parsed(request, data)
  file = form.pop("file", None)
  if not isinstance(file, bytes):
    raise Refusal(
      "invalid_request",
      "the form has no `file`; add the recording.",
      param="file",
    )
  sound = await anyio.to_thread.run_sync(
    house.decode, file, house.limits.reference, limiter=house.decoders
  )
  return form, sound


async def _parsed(request: Request, data: bytes) -> dict[str, Any]:
  """Fields of a form by name: strings, and files as bytes."""

  async def stream() -> AsyncGenerator[bytes]:
    yield data
    yield b""

  parser = _InMemory(request.headers, stream(), max_files=1, max_fields=16)
  try:
    form = await parser.parse()
    return {
      name: await value.read() if isinstance(value, UploadFile) else value
      for name, value in form.items()
      if name != "purpose"
    }
  except (MultiPartException, ValueError, LookupError) as error:
    raise Refusal(
      "invalid_request", f"the form cannot be read ({str(error)[:80]})."
    ) from error
  finally:  # of a form that was cut off, too
    for file in parser._files_to_close_on_error:
      file.close()


class _InMemory(MultiPartParser):
  """Parser of forms that writes no file; the body is in memory anyway."""

  spool_max_size = 1 << 40
