"""Application: routes, errors, start and end of the server."""

import contextlib
import importlib.resources
import logging
import threading
from collections.abc import AsyncGenerator, Callable, Sequence

import anyio
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import BaseRoute, Route, WebSocketRoute

from s02jax.core.errors import UserError
from s02jax.serving.server import (
  minimax_api,
  openapi,
  socket_api,
  speech_api,
  uploads,
  voices_api,
)
from s02jax.serving.server.guard import Guard
from s02jax.serving.server.refusals import Refusal, json_response
from s02jax.serving.server.sending import House, explain
from s02jax.serving.server.studio import Studio
from s02jax.serving.server.traffic import Counter, Figures, Gate, Limits

MEDIA = {
  "html": "text/html; charset=utf-8",
  "css": "text/css",
  "js": "text/javascript",
  "svg": "image/svg+xml",
}
# The page loads nothing from elsewhere, and nobody frames it.
_POLICY = (
  "default-src 'self'; media-src 'self' blob:; img-src 'self' data: blob:;"
  " frame-ancestors 'none'; base-uri 'none'"
)


def build(
  studio: Studio,
  limits: Limits | None = None,
  keys: Sequence[str] = (),
  *,
  decode=uploads.decode,
  warm: bool = True,
) -> Starlette:
  """Builds the application of a studio.

  Args:
    studio: that speaks; it is closed when the application ends.
    limits: of requests.
    keys: API keys; none: anybody is served.
    decode: decodes an upload.
    warm: compile programs at the start; `/readyz` waits for it.
  """
  limits = limits or Limits()
  figures = Figures(lambda: studio.slots_in_use)
  app = Starlette(
    routes=_routes(),
    middleware=[
      Middleware(Counter, figures=figures, paths=openapi.document()["paths"]),
      Middleware(Guard, keys=keys),
    ],
    exception_handlers={
      Refusal: _explained,
      UserError: _explained,
      HTTPException: _unknown,
      Exception: _explained,
    },
    lifespan=_life(studio, warm),
  )
  app.state.house = House(
    studio=studio,
    limits=limits,
    figures=figures,
    gate=Gate(limits, figures),
    decode=decode,
    threads=anyio.CapacityLimiter(limits.slots + 4),
    decoders=anyio.CapacityLimiter(limits.decoders),
    warm=not warm,
  )
  app.state.files = voices_api.Files()
  return app


def _routes() -> list[BaseRoute]:
  """All paths of the server."""
  return [
    Route("/v1/audio/speech", speech_api.speech, methods=["POST"]),
    WebSocketRoute("/v1/audio/speech/ws", socket_api.speech),
    Route("/v1/t2a_v2", minimax_api.t2a, methods=["POST"]),
    Route("/v1/voices", voices_api.listed, methods=["GET"]),
    Route("/v1/voices/{name}", voices_api.removed, methods=["DELETE"]),
    Route("/v1/voice_clone", voices_api.cloned, methods=["POST"]),
    Route("/v1/voice_design", voices_api.designed, methods=["POST"]),
    Route("/v1/files/upload", voices_api.uploaded, methods=["POST"]),
    Route("/v1/models", _models, methods=["GET"]),
    Route("/healthz", _healthy, methods=["GET"]),
    Route("/readyz", _ready, methods=["GET"]),
    Route("/metrics", _metrics, methods=["GET"]),
    Route("/openapi.json", _described, methods=["GET"]),
    *_page(),
  ]


# ------------------------------------------------------------- start and end


def _life(studio: Studio, warm: bool) -> Callable:
  """Lifespan of the application."""

  @contextlib.asynccontextmanager
  async def life(app: Starlette) -> AsyncGenerator[None]:
    house: House = app.state.house
    if warm:
      thread = threading.Thread(target=_warm, args=(house,), daemon=True)
      thread.start()
    yield
    house.gate.closed = True
    await anyio.to_thread.run_sync(studio.close)

  return life


def _warm(house: House) -> None:
  """Compiles programs; the server serves without, only later."""
  try:
    house.studio.warm(house.limits.slots)
    logging.info("ready: all programs are compiled")
  except Exception:
    logging.exception("the server could not warm up")
  house.warm = True


# -------------------------------------------------------------------- errors


async def _explained(request: Request, error: Exception) -> Response:
  """Tells of an error in one sentence."""
  return explain(error, request.app.state.house.limits).response()


async def _unknown(request: Request, error: Exception) -> Response:
  """Tells of a path or a method that there is not."""
  assert isinstance(error, HTTPException)
  kind = "not_allowed" if error.status_code == 405 else "not_found"
  what = f"{request.method} {request.url.path[:80]}"
  refusal = Refusal(kind, f"there is no {what}; see /openapi.json.")
  return refusal.response()


# --------------------------------------------------------------- small answers


async def _healthy(request: Request) -> Response:
  """Says that the process lives."""
  return json_response({"status": "ok"})


async def _ready(request: Request) -> Response:
  """Says whether programs are compiled, and requests are let in."""
  house: House = request.app.state.house
  ready = house.warm and not house.gate.closed
  status = "ready" if ready else "closing" if house.warm else "compiling"
  return json_response({"status": status}, 200 if ready else 503)


async def _metrics(request: Request) -> Response:
  """Gives all figures in Prometheus' text format."""
  text = request.app.state.house.figures.text()
  return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


async def _models(request: Request) -> Response:
  """Lists the one model, for clients that ask before they speak."""
  studio = request.app.state.house.studio
  model = {
    "id": "s02",
    "object": "model",
    "owned_by": "s02jax",
    "languages": list(studio.languages),
    "sample_rate": studio.rate,
    "timestamps": studio.tells_times,
    "emotions": list(studio.emotions),
    "voice_design": studio.designs,
  }
  return json_response({"object": "list", "data": [model]})


async def _described(request: Request) -> Response:
  """Describes all paths in OpenAPI's terms."""
  return json_response(openapi.document())


def _page() -> list[Route]:
  """Routes of the page's files, which are read once."""
  folder = importlib.resources.files("s02jax.serving.server") / "web"
  routes = []
  for file in folder.iterdir():
    kind = MEDIA.get(file.name.rpartition(".")[2])
    if kind is not None:
      path = "/" if file.name == "index.html" else f"/{file.name}"
      routes.append(Route(path, _file(file.read_bytes(), kind)))
  return routes


def _file(data: bytes, kind: str) -> Callable:
  """Endpoint that gives one file."""
  headers = {
    "content-security-policy": _POLICY,
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
  }

  async def endpoint(request: Request) -> Response:
    return Response(data, headers=headers, media_type=kind)

  return endpoint
