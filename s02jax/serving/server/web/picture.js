// Waveform and spectrogram of sound, drawn as it comes.

const SIZE = 512; // samples of a spectrum
const HOP = 240; // samples between two: 10 ms
const BANDS = SIZE / 2;

const window_ = Float32Array.from(
  { length: SIZE },
  (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / SIZE),
);

// Powers in dB of one window, by an FFT in place.
function spectrum(samples, start) {
  const re = new Float32Array(SIZE);
  const im = new Float32Array(SIZE);
  for (let i = 0, j = 0; i < SIZE; i++) {
    re[j] = ((samples[start + i] || 0) / 32768) * window_[i];
    let bit = SIZE >> 1;
    for (; j & bit; bit >>= 1) j ^= bit;
    j |= bit;
  }
  for (let n = 2; n <= SIZE; n *= 2) {
    const angle = (-2 * Math.PI) / n;
    for (let k = 0; k < n / 2; k++) {
      const c = Math.cos(angle * k);
      const s = Math.sin(angle * k);
      for (let i = k; i < SIZE; i += n) {
        const j = i + n / 2;
        const r = re[j] * c - im[j] * s;
        const m = re[j] * s + im[j] * c;
        re[j] = re[i] - r;
        im[j] = im[i] - m;
        re[i] += r;
        im[i] += m;
      }
    }
  }
  return Float32Array.from(
    { length: BANDS },
    (_, i) => 10 * Math.log10(re[i] * re[i] + im[i] * im[i] + 1e-9),
  );
}

// Dark blue over violet and orange to white.
function colour(db) {
  const x = Math.max(0, Math.min(1, (db + 50) / 75));
  return [
    255 * Math.min(1, 1.6 * x * x + 0.6 * x * (x > 0.5)),
    255 * Math.max(0, 1.7 * x - 0.75),
    255 * Math.min(1, 0.12 + 1.6 * x * (1 - x) + Math.max(0, 4 * x - 3)),
  ];
}

export class Picture {
  constructor(wave, image) {
    this.wave = wave;
    this.image = image;
    this.clear();
  }

  clear() {
    this.samples = new Int16Array(0); // not yet in a column
    this.peaks = [];
    this.store = document.createElement("canvas");
    this.store.width = 256;
    this.store.height = BANDS;
    this.columns = 0;
    this.draw();
  }

  push(samples) {
    const all = new Int16Array(this.samples.length + samples.length);
    all.set(this.samples);
    all.set(samples, this.samples.length);
    let at = 0;
    for (; at + SIZE <= all.length; at += HOP) this.column(all, at);
    this.samples = all.slice(at);
    this.draw();
  }

  column(samples, at) {
    this.grow();
    const pen = this.store.getContext("2d");
    const pixels = pen.createImageData(1, BANDS);
    spectrum(samples, at).forEach((db, i) => {
      const place = 4 * (BANDS - 1 - i);
      pixels.data.set([...colour(db), 255], place);
    });
    pen.putImageData(pixels, this.columns++, 0);
    let peak = 0;
    for (let i = at; i < at + HOP; i++) {
      peak = Math.max(peak, Math.abs(samples[i]));
    }
    this.peaks.push(peak / 32768);
  }

  grow() {
    if (this.columns < this.store.width) return;
    const larger = document.createElement("canvas");
    larger.width = 2 * this.store.width;
    larger.height = BANDS;
    larger.getContext("2d").drawImage(this.store, 0, 0);
    this.store = larger;
  }

  draw() {
    for (const canvas of [this.wave, this.image]) {
      const width = Math.round(canvas.clientWidth * devicePixelRatio);
      if (width && canvas.width !== width) canvas.width = width;
    }
    const pen = this.image.getContext("2d");
    const { width, height } = this.image;
    pen.clearRect(0, 0, width, height);
    if (this.columns) {
      pen.drawImage(
        this.store, 0, 0, this.columns, BANDS, 0, 0, width, height,
      );
    }
    const line = this.wave.getContext("2d");
    const middle = this.wave.height / 2;
    line.clearRect(0, 0, this.wave.width, this.wave.height);
    line.fillStyle = "#7da2ff";
    const step = this.wave.width / Math.max(1, this.peaks.length);
    this.peaks.forEach((peak, i) => {
      const tall = Math.max(1, peak * middle);
      line.fillRect(i * step, middle - tall, Math.max(step, 0.6), 2 * tall);
    });
  }
}
