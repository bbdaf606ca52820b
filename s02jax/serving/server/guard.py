"""Guard at the door: keys, foreign pages, sizes of bodies."""

import hmac
import pathlib
import urllib.parse
from collections.abc import Sequence

from starlette.requests import HTTPConnection, Request
from starlette.types import ASGIApp, Receive, Scope, Send

from s02jax.core.errors import UserError
from s02jax.serving.server.refusals import Refusal

GUARDED = ("/v1/", "/metrics")  # paths that need a key, where keys are set


def read_keys(path) -> tuple[str, ...]:
  """Reads a file of API keys, one a line; empty lines and # are left out.

  Raises:
    UserError: it cannot be read, or holds no key.
  """
  try:
    lines = pathlib.Path(path).read_text("utf-8").splitlines()
  except (OSError, UnicodeDecodeError) as error:
    raise UserError(
      f"{path}: cannot be read ({error}); give a text file of one key a line."
    ) from error
  keys = tuple(s for line in lines if (s := line.strip()) and s[0] != "#")
  if not keys:
    raise UserError(f"{path}: holds no key; write one a line.")
  return keys


class Guard:
  """Middleware that lets nobody in who has no key, nor pages of others.

  A page of another site can make a browser send requests here; they bear its
  `Origin`, and are refused.
  """

  def __init__(self, app: ASGIApp, keys: Sequence[str] = ()):
    """Stores the keys.

    Args:
      app: behind the guard.
      keys: any of which opens the door; none: it is open.
    """
    self._app, self._keys = app, [key.encode() for key in keys]

  async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
    """Passes a request on, or refuses it."""
    if scope["type"] in ("http", "websocket"):
      try:
        self._check(HTTPConnection(scope))
      except Refusal as refusal:
        if scope["type"] == "websocket":
          await send({"type": "websocket.close", "code": 4401})
        else:
          await refusal.response()(scope, receive, send)
        return
    await self._app(scope, receive, send)

  def _check(self, request: HTTPConnection) -> None:
    """Raises Refusal for a foreign page, or where no key fits."""
    origin = request.headers.get("origin")
    if origin is not None:
      host = urllib.parse.urlsplit(origin).netloc
      if not host or host != request.headers.get("host"):
        raise Refusal(
          "foreign_page", "requests from pages of other sites are not served."
        )
    if self._keys and request.url.path.startswith(GUARDED):
      self._check_key(given_key(request))

  def _check_key(self, given: str) -> None:
    """Compares a key with every one, each in constant time."""
    found = [hmac.compare_digest(given.encode(), key) for key in self._keys]
    if not any(found):
      raise Refusal(
        "unauthorized",
        "no API key, or a wrong one; send Authorization: Bearer KEY.",
      )


def given_key(request: HTTPConnection) -> str:
  """Key that a request bears; a WebSocket of a browser has it in its query."""
  scheme, _, key = request.headers.get("authorization", "").partition(" ")
  if scheme.lower() == "bearer":
    return key.strip()
  if request.scope["type"] == "websocket":
    return request.query_params.get("api_key", "")
  return ""


async def read_body(request: Request, most: int) -> bytes:
  """Reads the body of a request, no further than `most` bytes.

  Raises:
    Refusal: it is longer.
  """
  refusal = Refusal(
    "too_large", f"the body has more than the {most} bytes that are read."
  )
  announced = request.headers.get("content-length", "")
  if announced.isdecimal() and len(announced) < 20 and int(announced) > most:
    raise refusal
  data = bytearray()
  async for part in request.stream():
    data += part
    if len(data) > most:
      raise refusal
  return bytes(data)


def media_type(request: Request) -> str:
  """Media type of a request's body, without parameters."""
  return request.headers.get("content-type", "").partition(";")[0].strip()


def check_is_json(request: Request) -> None:
  """Raises Refusal for a body that is not announced as JSON."""
  if media_type(request).lower() != "application/json":
    raise Refusal(
      "wrong_media_type",
      "send the body as JSON, with the header Content-Type: application/json.",
    )
