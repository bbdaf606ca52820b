"""Headless Chromium by the W3C's WebDriver protocol, for tests of the page."""

import base64
import contextlib
import json
import pathlib
import shutil
import socket
import subprocess
import time
import urllib.error
import urllib.request

import pytest

DRIVER = shutil.which("chromedriver")
BROWSER = shutil.which("chromium") or shutil.which("google-chrome")
needs_browser = pytest.mark.skipif(
  DRIVER is None or BROWSER is None,
  reason="no headless browser: apt-get install chromium chromium-driver",
)
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
_ARGUMENTS = [
  "--headless=new",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-dev-shm-usage",
  "--autoplay-policy=no-user-gesture-required",
  "--use-fake-device-for-media-stream",
  "--use-fake-ui-for-media-stream",
  "--lang=en",
]


class Browser:
  """Session of a browser."""

  def __init__(self, driver: str, width: int, height: int):
    self._driver = driver
    options = {
      "binary": BROWSER,
      "args": [*_ARGUMENTS, f"--window-size={width},{height}"],
    }
    wanted = {
      "goog:chromeOptions": options,
      "goog:loggingPrefs": {"browser": "ALL"},
    }
    body = {"capabilities": {"alwaysMatch": wanted}}
    self._session = self._ask("POST", "/session", body)["sessionId"]
    # A window has a least width; what is shown in it has none.
    size = {"width": width, "height": height}
    self._call(
      "POST",
      "/goog/cdp/execute",
      {
        "cmd": "Emulation.setDeviceMetricsOverride",
        "params": size | {"deviceScaleFactor": 1, "mobile": False},
      },
    )

  def _ask(self, method, path, body=None):
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"}
    request = urllib.request.Request(
      self._driver + path, data, headers, method=method
    )
    try:
      with urllib.request.urlopen(request, timeout=120) as response:
        return json.load(response)["value"]
    except urllib.error.HTTPError as error:
      with error:
        told = json.load(error)["value"]
      raise AssertionError(told["message"].splitlines()[0]) from None

  def _call(self, method, path, body=None):
    return self._ask(method, f"/session/{self._session}{path}", body)

  def open(self, url):
    self._call("POST", "/url", {"url": url})

  def run(self, script, *arguments):
    """Value of a function's body in JavaScript."""
    body = {"script": script, "args": list(arguments)}
    return self._call("POST", "/execute/sync", body)

  def _element(self, selector):
    body = {"using": "css selector", "value": selector}
    return self._call("POST", "/element", body)[ELEMENT]

  def click(self, selector):
    self._call("POST", f"/element/{self._element(selector)}/click", {})

  def type(self, selector, text):
    path = f"/element/{self._element(selector)}/value"
    self._call("POST", path, {"text": text})

  def until(self, script, seconds=120):
    """Waits until a JavaScript expression is true; returns its value."""
    limit = time.monotonic() + seconds
    while not (value := self.run(f"return {script}")):
      assert time.monotonic() < limit, script
      time.sleep(0.02)
    return value

  def faults(self):
    """Messages of the console, warnings and worse."""
    found = self._call("POST", "/se/log", {"type": "browser"})
    return [x["message"] for x in found if x["level"] in ("WARNING", "SEVERE")]

  def screenshot(self, path):
    data = base64.b64decode(self._call("GET", "/screenshot"))
    pathlib.Path(path).write_bytes(data)

  def close(self):
    self._call("DELETE", "")


@contextlib.contextmanager
def browsing(width=1280, height=900):
  """Opens a browser with a window of a size."""
  with socket.create_server(("127.0.0.1", 0)) as free:
    port = free.getsockname()[1]
  process = subprocess.Popen(
    [DRIVER, f"--port={port}"],
    stdout=subprocess.DEVNULL,
    stderr=subprocess.DEVNULL,
  )
  address = f"http://127.0.0.1:{port}"
  try:
    limit = time.monotonic() + 60
    while True:
      try:
        urllib.request.urlopen(f"{address}/status", timeout=5).close()
        break
      except OSError:
        assert time.monotonic() < limit
        time.sleep(0.05)
    browser = Browser(address, width, height)
    try:
      yield browser
    finally:
      browser.close()
  finally:
    process.terminate()
    process.wait()
