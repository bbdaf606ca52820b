"""The server at a real port of the loopback interface, in a thread."""

import contextlib
import socket
import threading
import time

import uvicorn

from s02jax.serving.server import app
from tests.serving.fake_studio import decode


@contextlib.contextmanager
def listening(studio, limits=None, keys=(), **options):
  """Serves a studio; yields the address, such as http://127.0.0.1:1234."""
  application = app.build(studio, limits, keys, **{"decode": decode} | options)
  with socket.create_server(("127.0.0.1", 0)) as door:
    port = door.getsockname()[1]
    server = uvicorn.Server(
      uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=60,
        ws="websockets-sansio",
      )
    )
    thread = threading.Thread(target=server.run, args=([door],))
    thread.start()
    while not server.started:
      assert thread.is_alive()
      time.sleep(0.005)
    server.address = f"http://127.0.0.1:{port}"
    try:
      yield server
    finally:
      server.should_exit = True
      thread.join(60)
      assert not thread.is_alive()
