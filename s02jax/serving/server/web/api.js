// Requests to the server, and the events that it answers with.

export const RATE = 24000; // Hz of the sound

let key = sessionStorage.getItem("key") || "";

export function setKey(value) {
  key = value.trim();
  sessionStorage.setItem("key", key);
}

async function request(path, options = {}) {
  const headers = { ...options.headers };
  if (key) headers.Authorization = `Bearer ${key}`;
  const response = await fetch(path, { ...options, headers });
  if (response.ok) return response;
  const body = await response.json().catch(() => null);
  throw new Error(body?.error?.message || `HTTP ${response.status}`);
}

export async function getJson(path) {
  return (await request(path)).json();
}

export async function isReady() {
  return (await fetch("readyz")).ok;
}

export function removeVoice(name) {
  return request(`v1/voices/${encodeURIComponent(name)}`, { method: "DELETE" });
}

export async function cloneVoice(file, fields) {
  const form = new FormData();
  for (const [name, value] of Object.entries(fields)) {
    if (value) form.append(name, value);
  }
  form.append("file", file, "recording");
  const options = { method: "POST", body: form };
  return (await request("v1/voice_clone", options)).json();
}

export async function designVoice(order) {
  const response = await request("v1/voice_design", {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify(order),
  });
  return response.json();
}

// Sound of a file in hexadecimal digits.
export function soundOf(hex) {
  const bytes = hex.match(/../g) || [];
  const data = Uint8Array.from(bytes, (two) => parseInt(two, 16));
  return new Blob([data], { type: "audio/mpeg" });
}

// Asks for speech; `told` gets samples Int16Array and words as they come.
export async function speak(order, signal, told) {
  const response = await request("v1/audio/speech", {
    method: "POST",
    signal,
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({
      ...order,
      response_format: "pcm",
      sample_rate: RATE,
      stream_format: "sse",
    }),
  });
  let odd = new Uint8Array(0); // half a sample
  for await (const event of events(response.body)) {
    if (event.type === "speech.audio.delta") {
      const raw = Uint8Array.from(atob(event.audio), (c) => c.charCodeAt(0));
      const data = new Uint8Array(odd.length + raw.length);
      data.set(odd);
      data.set(raw, odd.length);
      const whole = data.length & ~1;
      odd = data.slice(whole);
      told.samples(new Int16Array(data.buffer.slice(0, whole)));
    } else if (event.type === "speech.timestamps") {
      told.words(event.words);
    } else if (event.type === "error") {
      throw new Error(event.error.message);
    }
  }
}

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const blocks = held.split("\n\n");
    held = blocks.pop();
    for (const block of blocks) {
      if (block.startsWith("data: ")) yield JSON.parse(block.slice(6));
    }
  }
}

// A WAV file of 16 bits and one channel.
export function wavFile(parts) {
  const size = parts.reduce((sum, part) => sum + part.byteLength, 0);
  const head = new DataView(new ArrayBuffer(44));
  const ascii = (at, text) =>
    [...text].forEach((c, i) => head.setUint8(at + i, c.charCodeAt(0)));
  ascii(0, "RIFF");
  head.setUint32(4, 36 + size, true);
  ascii(8, "WAVEfmt ");
  head.setUint32(16, 16, true);
  head.setUint16(20, 1, true);
  head.setUint16(22, 1, true);
  head.setUint32(24, RATE, true);
  head.setUint32(28, 2 * RATE, true);
  head.setUint16(32, 2, true);
  head.setUint16(34, 16, true);
  ascii(36, "data");
  head.setUint32(40, size, true);
  return new Blob([head, ...parts], { type: "audio/wav" });
}
