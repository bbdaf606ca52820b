// History: what was spoken, to be heard again with its words, and saved.

import { wavFile } from "./api.js";
import { t } from "./strings.js";
import { Words } from "./words.js";

const MOST = 20;

export function remember(text, who, parts, words) {
  document.getElementById("no-history").hidden = true;
  const item = document.createElement("li");
  const line = document.createElement("p");
  const note = document.createElement("small");
  const link = document.createElement("a");
  const player = document.createElement("audio");
  note.textContent = who;
  player.controls = true;
  player.src = URL.createObjectURL(wavFile(parts));
  player.setAttribute("aria-label", t("play"));
  link.href = player.src;
  link.download = `s02-${Date.now()}.wav`;
  link.textContent = t("download");
  const shown = new Words(line);
  if (words.length) shown.tell(words);
  else line.textContent = text;
  shown.light(null);
  player.addEventListener("timeupdate", () => {
    shown.light(player.ended ? null : player.currentTime);
  });
  item.append(line, note, " · ", link, player);
  const list = document.getElementById("history");
  list.prepend(item);
  while (list.children.length > MOST) {
    const last = list.lastElementChild;
    URL.revokeObjectURL(last.querySelector("audio").src);
    last.remove();
  }
}
