// Voices: choice, mixture, removal, and cloning from a file or a microphone.

import * as api from "./api.js";
import { t } from "./strings.js";

const MOST = 4;
const find = (id) => document.getElementById(id);
const chosen = new Map(); // name -> weight
let recording = null; // Blob to be cloned

function row(voice) {
  const item = document.createElement("li");
  const label = document.createElement("label");
  const box = document.createElement("input");
  const share = document.createElement("input");
  const remove = document.createElement("button");
  box.type = "checkbox";
  box.checked = chosen.has(voice.name);
  label.append(box, ` ${voice.name} `);
  const small = document.createElement("small");
  small.textContent = [
    voice.kind, voice.seconds ? `${voice.seconds.toFixed(1)} s` : "",
  ].filter(Boolean).join(", ");
  label.append(small);
  Object.assign(share, { type: "range", min: 5, max: 100, step: 5 });
  share.value = 100 * (chosen.get(voice.name) ?? 1);
  share.disabled = !box.checked;
  share.setAttribute("aria-label", `${t("weight")} ${voice.name}`);
  remove.type = "button";
  remove.textContent = "×";
  remove.setAttribute("aria-label", `${t("remove")} ${voice.name}`);
  box.addEventListener("change", () => {
    if (box.checked && chosen.size >= MOST) box.checked = false;
    else if (box.checked) chosen.set(voice.name, share.value / 100);
    else chosen.delete(voice.name);
    share.disabled = !box.checked;
  });
  share.addEventListener("input", () => {
    if (box.checked) chosen.set(voice.name, share.value / 100);
  });
  remove.addEventListener("click", async () => {
    if (!confirm(t("removeAsk"))) return;
    try {
      await api.removeVoice(voice.name);
      chosen.delete(voice.name);
      await list();
    } catch (error) {
      find("cloned").textContent = error.message;
    }
  });
  item.append(label, share, remove);
  return item;
}

// Lists the voices; the first is chosen where none is.
export async function list() {
  const { voices } = await api.getJson("v1/voices");
  const names = new Set(voices.map((voice) => voice.name));
  for (const name of chosen.keys()) if (!names.has(name)) chosen.delete(name);
  if (!chosen.size && voices.length) chosen.set(voices[0].name, 1);
  find("voices").replaceChildren(...voices.map(row));
  find("no-voices").hidden = voices.length > 0;
}

// Chooses one voice that was made just now.
export async function choose(name) {
  chosen.clear();
  chosen.set(name, 1);
  await list();
}

// What a request names: one voice, or weights of several; null for none.
export function choice() {
  const names = [...chosen.keys()];
  if (names.length < 2) return names[0] ?? null;
  return Object.fromEntries(chosen);
}

function take(blob, name) {
  recording = blob;
  const player = find("reference");
  if (player.src) URL.revokeObjectURL(player.src);
  player.src = URL.createObjectURL(blob);
  player.hidden = false;
  find("taken").textContent = name;
  const word = name.replace(/\.[^.]*$/, "").replace(/[^A-Za-z0-9_-]+/g, "-");
  if (!find("name").value) find("name").value = word.slice(0, 64);
}

function setUpRecorder() {
  const button = find("record");
  let recorder = null;
  button.addEventListener("click", async () => {
    if (recorder) return recorder.stop();
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch {
      find("cloned").textContent = t("noMicrophone");
      return undefined;
    }
    const parts = [];
    recorder = new MediaRecorder(stream);
    recorder.addEventListener("dataavailable", (e) => parts.push(e.data));
    recorder.addEventListener("stop", () => {
      stream.getTracks().forEach((track) => track.stop());
      take(new Blob(parts, { type: recorder.mimeType }), t("record"));
      recorder = null;
      button.textContent = t("record");
    });
    recorder.start();
    button.textContent = t("recording");
    return undefined;
  });
}

function setUpDrop() {
  const zone = find("drop");
  const over = (on) => (event) => {
    event.preventDefault();
    zone.classList.toggle("over", on);
  };
  zone.addEventListener("dragover", over(true));
  zone.addEventListener("dragleave", over(false));
  zone.addEventListener("drop", (event) => {
    over(false)(event);
    const [file] = event.dataTransfer.files;
    if (file) take(file, file.name);
  });
  find("file").addEventListener("change", (event) => {
    const [file] = event.target.files;
    if (file) take(file, file.name);
  });
}

export function setUp() {
  setUpDrop();
  setUpRecorder();
  find("clone").addEventListener("submit", async (event) => {
    event.preventDefault();
    const told = find("cloned");
    if (!recording) {
      told.textContent = t("noFile");
      return;
    }
    told.textContent = t("cloning");
    find("keep").disabled = true;
    try {
      const { voice } = await api.cloneVoice(recording, {
        voice_id: find("name").value,
        transcript: find("transcript").value,
        replace: find("replace").checked ? "true" : "",
      });
      await choose(voice.name);
      told.textContent = `${t("cloned")} ${voice.name}`;
    } catch (error) {
      told.textContent = error.message;
    }
    find("keep").disabled = false;
  });
}
