// The page: speaks a text, and shows it while it is made.

import * as api from "./api.js";
import * as design from "./design.js";
import { remember } from "./history.js";
import { Picture } from "./picture.js";
import { Player } from "./player.js";
import { switchTongue, t, translate } from "./strings.js";
import * as voices from "./voices.js";
import { Words } from "./words.js";

const find = (id) => document.getElementById(id);
const number = (id) => Number(find(id).value);
const words = new Words(find("words"));
const picture = new Picture(find("wave"), find("spectrum"));
let player = null;
let timed = true; // the models can tell when words are heard
let leaving = null; // AbortController of what is under way

function order() {
  const voice = voices.choice();
  if (voice === null) throw new Error(t("choose"));
  const language = find("language").value;
  const emotion = find("emotion").value;
  return {
    input: find("text").value,
    voice,
    speed: number("speed"),
    pitch: number("pitch"),
    volume: number("volume"),
    temperature: number("temperature"),
    seed: number("seed"),
    timestamps: timed,
    ...(language ? { language } : {}),
    ...(emotion ? { emotion: { [emotion]: number("strength") } } : {}),
  };
}

async function speak() {
  stop();
  find("fault").textContent = find("figures").textContent = "";
  let asked;
  try {
    asked = order();
  } catch (error) {
    find("fault").textContent = error.message;
    return;
  }
  const mine = (leaving = new AbortController());
  const parts = [];
  const began = performance.now();
  let first = null;
  player = new Player(api.RATE);
  find("stop").disabled = false;
  words.start(asked.input, asked.speed);
  find("pictures").hidden = false;
  picture.clear();
  animate(player);
  try {
    await api.speak(asked, mine.signal, {
      samples(samples) {
        first ??= performance.now() - began;
        parts.push(samples);
        player.push(samples);
        picture.push(samples);
        tellFigures(first, null);
      },
      words: (some) => words.tell(some),
    });
    words.finish();
    tellFigures(first, performance.now() - began);
    const who = typeof asked.voice === "string" ? asked.voice
      : Object.keys(asked.voice).join(" + ");
    remember(asked.input, who, parts, words.told);
  } catch (error) {
    if (!mine.signal.aborted) find("fault").textContent = error.message;
  }
  if (leaving === mine) leaving = null;
}

function tellFigures(first, whole) {
  const seconds = (ms) => `${(ms / 1000).toFixed(2)} s`;
  let text = `${t("first")} ${seconds(first)}`;
  if (whole !== null) {
    text += ` · ${player.seconds.toFixed(2)} s ${t("whole")} ${seconds(whole)}`;
  }
  find("figures").textContent = text;
}

function stop() {
  leaving?.abort();
  leaving = null;
  player?.stop();
  player = null;
  find("stop").disabled = true;
}

function animate(mine) {
  if (player !== mine) return;
  const heard = mine.heard;
  const share = mine.seconds ? heard / mine.seconds : 0;
  find("head").style.left = `${100 * share}%`;
  if (mine.blocks.length) words.light(heard);
  if (mine.over && mine.blocks.length && !leaving) {
    words.light(null);
    stop();
    return;
  }
  requestAnimationFrame(() => animate(mine));
}

function insertPause() {
  const field = find("text");
  const mark = ` <#${number("pause-seconds")}#> `;
  field.setRangeText(mark, field.selectionStart, field.selectionEnd, "end");
  field.focus();
}

function setUpSliders() {
  for (const output of document.querySelectorAll("output")) {
    const slider = find(output.htmlFor[0]);
    const show = () => (output.textContent = slider.value);
    slider.addEventListener("input", show);
    show();
  }
}

async function describe() {
  const { data } = await api.getJson("v1/models");
  const names = new Intl.DisplayNames([document.documentElement.lang], {
    type: "language",
  });
  const options = data[0].languages.map(
    (code) => new Option(names.of(code), code),
  );
  timed = data[0].timestamps;
  const { emotions } = data[0];
  const felt = emotions.map((name) => new Option(name, name));
  find("emotion").replaceChildren(new Option(t("neutral"), ""), ...felt);
  find("feeling").hidden = !emotions.length;
  design.offer(data[0].voice_design);
  find("language").replaceChildren(new Option(t("detect"), ""), ...options);
}

async function watch() {
  const ready = await api.isReady().catch(() => null);
  find("state").textContent =
    ready === null ? t("away") : ready ? t("ready") : t("compiling");
  setTimeout(watch, ready ? 15000 : 2000);
}

async function load() {
  try {
    await Promise.all([voices.list(), describe()]);
    find("fault").textContent = "";
  } catch (error) {
    find("fault").textContent = error.message;
  }
}

translate();
setUpSliders();
voices.setUp();
design.setUp();
find("speak").addEventListener("click", speak);
find("stop").addEventListener("click", stop);
find("pause").addEventListener("click", insertPause);
find("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) speak();
});
find("tongue").addEventListener("click", () => {
  switchTongue();
  load();
});
find("key").addEventListener("change", (event) => {
  api.setKey(event.target.value);
  load();
});
addEventListener("resize", () => picture.draw());
load();
watch();
