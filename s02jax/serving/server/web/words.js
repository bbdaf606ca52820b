// Words that light up as they are heard.

const PACE = 13; // characters a second, until the server tells the times

export class Words {
  constructor(place) {
    this.place = place;
    this.start("", 1);
  }

  // Shows a text whose times are guessed until they are told.
  start(text, speed) {
    const plain = text.replace(/<#[^#]*#>/g, " ").trim();
    this.told = [];
    this.guessed = [];
    let at = 0;
    for (const word of plain.match(/[\u3400-\u9fff\u3040-\u30ff]|\S+/g) || []) {
      const seconds = (word.length + 1) / PACE / speed;
      this.guessed.push({ text: word, begin: at, end: at + seconds });
      at += seconds;
    }
    this.show();
  }

  // Adds words with their times; what is guessed behind them moves along.
  tell(words) {
    this.told.push(...words);
    this.guessed = this.guessed.slice(words.length);
    const end = this.told.length ? this.told[this.told.length - 1].end : 0;
    const first = this.guessed.length ? this.guessed[0].begin : 0;
    for (const word of this.guessed) {
      word.begin += end - first;
      word.end += end - first;
    }
    this.show();
  }

  // All words are told: no guess is left.
  finish() {
    if (this.told.length) this.guessed = [];
    this.show();
  }

  get all() {
    return [...this.told, ...this.guessed];
  }

  show() {
    this.spans = this.all.map((word) => {
      const span = document.createElement("span");
      span.textContent = word.text;
      span.className = "coming";
      return span;
    });
    const single = /^[\u3400-\u9fff\u3040-\u30ff]/;
    this.place.replaceChildren(
      ...this.spans.flatMap((s) => (single.test(s.textContent) ? [s] : [s, " "])),
    );
  }

  // Lights the word that is heard at a time, null for none.
  light(seconds) {
    const words = this.all;
    let lit = -1;
    if (seconds !== null) {
      while (lit + 1 < words.length && words[lit + 1].begin <= seconds) lit++;
    }
    this.spans.forEach((span, i) => {
      const name = i === lit ? "lit" : i < lit || seconds === null ? "past"
        : "coming";
      if (span.className !== name) span.className = name;
    });
  }
}
