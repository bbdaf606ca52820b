// Plays sound while it comes: every block begins where the last one ends.

const LEAD = 0.08; // seconds in front of the first block, and after a gap

export class Player {
  constructor(rate) {
    this.rate = rate;
    this.context = new AudioContext({ sampleRate: rate });
    this.blocks = []; // {at, from, seconds}: place on the clock, in the sound
    this.sources = [];
    this.next = 0;
    this.seconds = 0; // of sound that came
  }

  push(samples) {
    if (!samples.length) return;
    const buffer = this.context.createBuffer(1, samples.length, this.rate);
    const values = buffer.getChannelData(0);
    for (let i = 0; i < samples.length; i++) values[i] = samples[i] / 32768;
    const source = this.context.createBufferSource();
    source.buffer = buffer;
    source.connect(this.context.destination);
    const now = this.context.currentTime;
    if (this.next < now) this.next = now + LEAD;
    source.start(this.next);
    this.sources.push(source);
    const seconds = samples.length / this.rate;
    this.blocks.push({ at: this.next, from: this.seconds, seconds });
    this.next += seconds;
    this.seconds += seconds;
  }

  // Seconds of the sound that were heard.
  get heard() {
    const now = this.context.currentTime;
    let heard = 0;
    for (const block of this.blocks) {
      if (now < block.at) break;
      heard = block.from + Math.min(now - block.at, block.seconds);
    }
    return heard;
  }

  get over() {
    return this.context.currentTime >= this.next;
  }

  stop() {
    this.sources.forEach((source) => source.stop());
    if (this.context.state !== "closed") this.context.close();
  }
}
