// Voices by a description: candidates to be heard, of which one is kept.

import * as api from "./api.js";
import { t } from "./strings.js";
import * as voices from "./voices.js";

const CANDIDATES = 4;
const find = (id) => document.getElementById(id);
let asked = null; // what the candidates on show were asked by
let busy = false;

// What the candidates say: the text of the page, or else the description.
function order(seed) {
  const language = find("language").value;
  return {
    prompt: find("description").value,
    preview_text: find("text").value.trim() || find("description").value,
    tags: find("gender").value,
    seed,
    ...(language ? { language } : {}),
  };
}

function row(candidate, number) {
  const item = document.createElement("li");
  const label = document.createElement("label");
  const choice = document.createElement("input");
  const player = document.createElement("audio");
  choice.type = "radio";
  choice.name = "candidate";
  choice.value = candidate.seed;
  choice.addEventListener("change", () => {
    find("chosen").hidden = false;
  });
  label.append(choice, ` ${t("candidate")} ${number}`);
  player.controls = true;
  player.src = URL.createObjectURL(api.soundOf(candidate.trial_audio));
  player.setAttribute("aria-label", `${t("play")} ${number}`);
  item.append(label, player);
  return item;
}

function clear() {
  for (const player of document.querySelectorAll("#candidates audio")) {
    URL.revokeObjectURL(player.src);
  }
  find("candidates").replaceChildren();
  find("chosen").hidden = true;
}

// Does something with the buttons off; tells what went wrong.
async function during(line, work) {
  if (busy) return;
  busy = true;
  find("imagine").disabled = find("others").disabled = true;
  find("imagined").textContent = line;
  try {
    find("imagined").textContent = (await work()) ?? "";
  } catch (error) {
    find("imagined").textContent = error.message;
  }
  busy = false;
  find("imagine").disabled = false;
  find("others").disabled = asked === null;
}

function imagine(seed) {
  return during(t("designing"), async () => {
    const wanted = order(seed);
    const body = { ...wanted, candidates: CANDIDATES };
    const { candidates } = await api.designVoice(body);
    asked = wanted;
    clear();
    find("candidates").append(...candidates.map((c, i) => row(c, i + 1)));
  });
}

function keep() {
  const chosen = document.querySelector("#candidates input:checked");
  const name = find("designed").value.trim();
  if (!chosen || !name || !find("designed").reportValidity()) {
    find("imagined").textContent = t("nameIt");
    return undefined;
  }
  return during(t("keeping"), async () => {
    const seed = Number(chosen.value);
    const body = { ...asked, seed, voice_id: name };
    const { voice_id } = await api.designVoice(body);
    await voices.choose(voice_id);
    return `${t("cloned")} ${voice_id}`;
  });
}

// Shows the form where the models can design voices.
export function offer(able) {
  find("design").hidden = !able;
  find("no-design").hidden = able;
}

export function setUp() {
  find("design").addEventListener("submit", (event) => {
    event.preventDefault();
    imagine(0);
  });
  find("others").addEventListener("click", () => {
    imagine(asked.seed + CANDIDATES);
  });
  find("keep-design").addEventListener("click", keep);
}
