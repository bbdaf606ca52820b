"""An object store that speaks S3 on this machine, with faults on demand."""

import contextlib
import importlib
import os
import re
from collections.abc import Callable, Generator
from typing import Any

import fsspec
import pytest
from moto.moto_server import threaded_moto_server

BUCKET = "bucket"


class Store:
  """Server with one bucket, which refuses what `refuses` says.

  Attributes:
    url: of the bucket.
    refuses: status and code of the answer to a request, by its method and
      path; None where it is served.
    asked: method and path of the requests until now.
  """

  def __init__(self):
    self.url = f"s3://{BUCKET}"
    self.refuses: Callable[[str, str], tuple[str, str] | None] = nothing
    self.asked: list[tuple[str, str]] = []

  def wrapped(self, app: Any) -> Any:
    """WSGI application that asks `refuses` first."""

    def answer(environ: dict, start: Any) -> Any:
      method, path = environ["REQUEST_METHOD"], environ["PATH_INFO"]
      self.asked.append((method, path))
      refused = self.refuses(method, path)
      if refused is None:
        return app(environ, start)
      status, code = refused
      environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
      text = f"<Error><Code>{code}</Code><Message>{code}</Message></Error>"
      start(status, [("Content-Type", "application/xml")])
      return [text.encode()]

    return answer

  def empty(self) -> None:
    """Removes all objects."""
    fs = fsspec.filesystem("s3")
    for path in fs.find(BUCKET):
      fs.rm_file(path)

  def files(self, pattern: str) -> list[str]:
    """Paths of the objects whose path fits a regular expression."""
    found = fsspec.filesystem("s3").find(BUCKET)
    return [path for path in found if re.search(pattern, path)]


def nothing(method: str, path: str) -> None:
  """Answer of a store that serves everything."""
  del method, path


def full(method: str, path: str) -> tuple[str, str] | None:
  """Answer of a store without room: nothing is written."""
  del path
  writes = method in ("PUT", "POST")
  return ("403 Forbidden", "QuotaExceeded") if writes else None


@contextlib.contextmanager
def serve() -> Generator[Store]:
  """Context in which the clients of this process use a new, empty store."""
  importlib.import_module("moto.s3")  # which takes longer than a request may
  store = Store()
  with pytest.MonkeyPatch.context() as patch:
    made = threaded_moto_server.DomainDispatcherApplication
    patch.setattr(
      threaded_moto_server,
      "DomainDispatcherApplication",
      lambda *args, **options: store.wrapped(made(*args, **options)),
    )
    server = threaded_moto_server.ThreadedMotoServer(
      "127.0.0.1", port=0, verbose=False
    )
    server.start()
    try:
      host, port = server.get_host_and_port()
      for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "nobody",
        "AWS_SECRET_ACCESS_KEY": "nothing",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
      }.items():
        patch.setitem(os.environ, name, value)
      fsspec.filesystem("s3").mkdir(BUCKET)
      yield store
    finally:
      server.stop()
