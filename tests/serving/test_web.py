"""The page in a headless browser, with a studio that beeps."""

import io
import os

import numpy as np
import pytest
import soundfile

from tests.serving.browser import browsing, needs_browser
from tests.serving.fake_studio import RATE, FakeStudio
from tests.serving.listening import listening

pytestmark = [pytest.mark.processes, needs_browser]
TEXT = "one two three four five six seven eight"
# Where screenshots are kept to be looked at; nowhere, if not set.
SHOTS = os.environ.get("S02_SCREENSHOTS")
# Colours of the spectrogram's pixels: how many differ.
COLOURS = """(() => {
  const image = document.getElementById("spectrum");
  const {data} = image.getContext("2d").getImageData(
    0, 0, image.width, image.height);
  return new Set(new Uint32Array(data.buffer)).size; })()"""
# A file dropped by hand: the protocol has no such gesture.
DROP = """
  const bytes = Uint8Array.from(atob(arguments[0]), (c) => c.charCodeAt(0));
  const file = new File([bytes], "carl's voice.wav", {type: "audio/wav"});
  const carried = new DataTransfer();
  carried.items.add(file);
  document.getElementById("drop").dispatchEvent(new DragEvent("drop",
    {dataTransfer: carried, bubbles: true, cancelable: true}));
"""


def wav():
  data = io.BytesIO()
  tone = 0.3 * np.sin(np.arange(2 * RATE) * 0.1)
  soundfile.write(data, tone, RATE, format="WAV")
  return data.getvalue()


@pytest.fixture
def studio():
  return FakeStudio()


@pytest.fixture(params=[1280, 360])
def page(studio, request):
  """Browser in which the page is loaded, wide and narrow."""
  with (
    listening(studio, warm=False) as server,
    browsing(request.param) as browser,
  ):
    browser.open(server.address)
    browser.until("document.querySelectorAll('#voices li').length == 2")
    browser.until("document.getElementById('language').options.length == 3")
    browser.run("document.getElementById('language').value = 'en'")
    yield browser
    if SHOTS:
      browser.screenshot(f"{SHOTS}/{request.node.name}.png")
    width = browser.run("return document.documentElement.scrollWidth")
    assert width <= request.param  # nothing sticks out
    assert browser.faults() == []
    hosts = browser.run(
      "return [...new Set(performance.getEntriesByType('resource')"
      ".map((e) => new URL(e.name).origin))]"
    )
    assert hosts == [server.address]


# Notes every word that lights up.
NOTE = """
  window.seen = [];
  new MutationObserver(() => {
    const word = document.querySelector("#words .lit")?.textContent;
    if (word && word !== seen.at(-1)) seen.push(word);
  }).observe(document.getElementById("words"),
    {subtree: true, childList: true, attributes: true});
"""


def test_a_text_is_heard_while_it_is_made(page, studio):
  studio.block = 12000  # half a second a word
  studio.held.clear()
  page.run(NOTE)
  page.type("#text", TEXT)
  page.click("#speak")
  # The studio has given one block, and holds the rest.
  page.until("document.getElementById('figures').textContent")
  page.until("seen.length")
  assert page.run("return document.querySelectorAll('#history li').length") == 0
  assert page.run(f"return {COLOURS}") > 5
  studio.held.set()
  page.until("document.getElementById('stop').disabled")
  # Where the machine is busy a frame may be left out.
  order = [TEXT.split().index(word) for word in page.run("return seen")]
  assert order[0] < 2 and order == sorted(order) and len(order) > 2
  page.until("document.querySelectorAll('#history audio').length == 1")
  shown = page.run("return document.querySelector('#history p').textContent")
  assert shown.split() == TEXT.split()
  download = page.run("return document.querySelector('#history a').download")
  assert download.endswith(".wav")


def test_sliders_pauses_and_mixtures_are_sent(page, studio):
  page.type("#text", "one")
  page.click("#pause")
  page.run(
    """for (const [id, value] of [["speed", 1.5], ["pitch", -2]]) {
      const slider = document.getElementById(id);
      slider.value = value;
      slider.dispatchEvent(new Event("input"));
    }
    document.querySelectorAll("#voices input[type=checkbox]")[1].click();"""
  )
  page.type("#text", "two")
  page.click("#speak")
  page.until("document.querySelectorAll('#history li').length == 1")
  (order,) = studio.orders
  assert order.text == "one <#0.5#> two"
  assert order.voices == {"anna": 1.0, "ben": 1.0}
  assert (order.changes.speed, order.changes.pitch) == (1.5, -2)


def test_a_dropped_file_and_the_microphone_become_voices(page, studio):
  import base64

  page.run(DROP, base64.b64encode(wav()).decode())
  assert page.run("return document.getElementById('name').value") == (
    "carl-s-voice"
  )
  page.click("#keep")
  page.until("document.querySelectorAll('#voices li').length == 3")
  assert studio.kept["carl-s-voice"]["seconds"] == 2.0
  page.click("#record")
  page.until("document.getElementById('record').textContent.includes('End')")
  page.run(
    "const end = performance.now() + 300; while (performance.now() < end);"
  )
  page.click("#record")
  page.until("document.getElementById('taken').textContent == 'Record'")
  page.run("document.getElementById('name').value = 'dora'")
  page.click("#keep")
  page.until("document.querySelectorAll('#voices li').length == 4")
  assert "dora" in studio.kept


def test_an_emotion_is_sent_and_a_voice_designed(page, studio):
  page.until("document.getElementById('emotion').options.length == 3")
  page.run("document.getElementById('emotion').value = 'sad'")
  page.type("#text", "one")
  page.click("#speak")
  page.until("document.querySelectorAll('#history li').length == 1")
  assert studio.orders[-1].emotion == {"sad": 1.0}
  page.type("#description", "a calm man")
  page.run("document.getElementById('gender').value = 'gender=male'")
  page.click("#imagine")
  page.until("document.querySelectorAll('#candidates audio').length == 4")
  page.click("#others")
  page.until("document.querySelector('#candidates input')?.value == '4'")
  page.until("!document.getElementById('imagine').disabled")
  page.until(
    "[...document.querySelectorAll('#candidates audio')]"
    ".every((a) => a.duration > 0)"
  )
  page.run("document.querySelectorAll('#candidates input')[2].click()")
  page.type("#designed", "carl")
  page.click("#keep-design")
  page.until("document.querySelectorAll('#voices li').length == 3")
  order = studio.orders[-1]
  assert (order.keep, order.seed, order.tags) == ("carl", 6, "gender=male")
  assert order.description == "a calm man" and order.text == "one"
  checked = page.run(
    "return [...document.querySelectorAll('#voices input:checked')]"
    ".map((e) => e.parentElement.textContent.trim())"
  )
  assert checked == ["carl"]


def test_what_a_bundle_cannot_do_is_not_offered(studio):
  studio.designs, studio.emotions = False, ()
  with listening(studio, warm=False) as server, browsing() as browser:
    browser.open(server.address)
    browser.until("!document.getElementById('no-design').hidden")
    for name in ("design", "feeling"):
      shown = f"return document.getElementById({name!r}).checkVisibility()"
      assert not browser.run(shown)


def test_refusals_are_shown_and_both_languages_spoken(page):
  page.type("#text", "?!")
  page.click("#speak")
  message = page.until("document.getElementById('fault').textContent")
  assert "no letter" in message
  # The console says that a request was refused; that is no fault of the page.
  assert all("status of 400" in fault for fault in page.faults())
  page.click("#tongue")
  assert page.run("return document.documentElement.lang") == "zh"
  labels = page.run(
    "return [...document.querySelectorAll('[data-text]')]"
    ".filter((e) => !e.textContent).map((e) => e.dataset.text)"
  )
  assert labels == []


def test_the_keyboard_reaches_everything(page):
  count = page.run(
    "return [...document.querySelectorAll('button,input,select,textarea,a')]"
    ".filter((e) => e.tabIndex < 0 && !e.disabled).length"
  )
  assert count == 0
  unnamed = page.run(
    "return [...document.querySelectorAll('input,select,textarea')]"
    ".filter((e) => !e.labels?.length && !e.ariaLabel).map((e) => e.id)"
  )
  assert unnamed == []
  page.type("#text", "one")
  page.type("#text", "\ue009\ue007")  # control and enter
  page.until("document.querySelectorAll('#history li').length == 1")
