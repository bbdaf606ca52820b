"""Recordings with planted faults, and how many a build finds.

  P=tests.data_pipelines.recordings.planted
  python -m $P make --speech SPEECH --out DIR
  s02 corpus build DIR/recordings.jsonl --out CORPUS
  python -m $P score --out DIR --corpus CORPUS

Clips of SPEECH (a folder with `train.jsonl`, of people who read) are joined to
recordings of some minutes, with pauses. Planted are pieces of the transcript
that belong to other clips, clips of second speakers, clips that lie in another
recording too (quieter, as MP3), and recordings with music or noise beneath.
Nothing of it belongs into the project; everything follows from the seed.
"""

import argparse
import collections
import io
import json
import pathlib
from typing import Any

import numpy as np
import soundfile

from s02jax.audio import loudness, recording

RATE = 24_000
NEAR = 0.25  # seconds within which a boundary is right
_SETS = ("storybooks", "librispeech_en", "ljspeech_en", "vctk_en")
_SHARE = {"wrong text": 0.12, "second speaker": 0.12, "duplicate": 0.1}
_LEVEL = 0.05  # of every clip, in the mean


def _lines(path: pathlib.Path) -> list[dict[str, Any]]:
  return [json.loads(line) for line in path.read_text().splitlines()]


def _rows(speech: pathlib.Path) -> list[dict[str, Any]]:
  """English clips of people who read, 2 to 15 s, shuffled."""
  rows = _lines(speech / "train.jsonl")
  return [
    row
    for row in rows
    if row["language"] == "en"
    and row["set"] in _SETS
    and 2.5 < row["seconds"] < 15
  ]


def _wave(path: pathlib.Path) -> np.ndarray:
  wave, rate = recording.read(path)
  wave = loudness.trim(loudness.resample(wave, rate, RATE), RATE, keep=0.02)
  return wave * np.float32(_LEVEL / np.sqrt(np.mean(wave**2)))


def _mp3(wave: np.ndarray) -> np.ndarray:
  """A wave, quieter, as MP3 gives it back."""
  file = io.BytesIO()
  soundfile.write(file, wave * 0.6, RATE, format="MP3")
  return recording.read(file.getvalue())[0][: len(wave)]


def _beneath(kind: str, count: int, random) -> np.ndarray:
  """Sound beneath a recording: nothing, noise 20 dB or music 12 dB below."""
  if kind == "noise":
    return random.normal(size=count) * _LEVEL * 0.1
  if kind == "music":
    time = np.arange(count) / RATE
    chords = np.array([[220, 277, 330], [196, 247, 294], [175, 220, 262]])
    played = chords[(time / 2).astype(int) % 3]
    phase = np.cumsum(played / RATE, axis=0)
    return np.sin(2 * np.pi * phase).sum(axis=1) * _LEVEL * 0.2
  return np.zeros(count)


def make(speech: pathlib.Path, out: pathlib.Path, minutes: float, seed: int):
  """Writes recordings, their manifest, and what is true of them."""
  random = np.random.default_rng(seed)
  by_speaker: dict[str, list[dict]] = collections.defaultdict(list)
  for row in _rows(speech):
    by_speaker[row["speaker"]].append(row)
  names = sorted(n for n, rows in by_speaker.items() if len(rows) >= 2)
  texts = [r["text"] for rows in by_speaker.values() for r in rows if r["text"]]
  (out / "recordings").mkdir(parents=True, exist_ok=True)
  lines, truth, earlier, total, number = [], [], [], 0.0, 0
  queues = {name: list(random.permutation(by_speaker[name])) for name in names}
  while total < minutes * 60 and queues:
    name = max(queues, key=lambda n: (len(queues[n]), n))
    mine, queues[name] = queues[name][:14], queues[name][14:]
    if len(queues[name]) < 4:
      del queues[name]
    told = all(row["text"] for row in mine)
    others = [
      r for n in names if n != name for r in by_speaker[n]
      if bool(r["text"]) == told
    ]  # fmt: skip
    kind = ("clean", "clean", "noise", "music")[number % 4]
    parts, said, at = [np.zeros(RATE // 2)], [], 0.5
    for row in mine:
      fault = str(
        random.choice(
          ["", *_SHARE], p=[1 - sum(_SHARE.values()), *_SHARE.values()]
        )
      )
      text = row["text"]
      before = [x for x in earlier if bool(x[0]) == told]
      if fault == "duplicate" and (not before or kind == "music"):
        fault = ""
      if fault == "second speaker":
        row = others[int(random.integers(len(others)))]
        text = row["text"]
      wave = _wave(speech / row["path"])
      if fault == "duplicate":
        text, wave = before[int(random.integers(len(before)))]
        earlier = [x for x in earlier if x[1] is not wave]
        wave = _mp3(wave)
      if fault == "wrong text" and not told:
        fault = ""
      if fault == "wrong text":
        text = str(random.choice([t for t in texts if t != text]))
      end = at + len(wave) / RATE
      if text:
        said.append({"start": at, "end": end, "text": text})
      truth.append({
        "recording": number, "kind": kind, "start": at, "end": end,
        "fault": fault, "text": row["text"],
      })  # fmt: skip
      if not fault and kind == "clean":
        earlier.append((text, wave))
      pause = np.zeros(int(RATE * random.uniform(0.6, 1.6)))
      parts += [wave, pause]
      at = end + len(pause) / RATE
    sound = np.concatenate(parts)
    sound = sound + _beneath(kind, len(sound), random)
    path = out / "recordings" / f"{number:03d}.flac"
    soundfile.write(path, np.clip(sound, -1, 1), RATE)
    line = {"path": f"recordings/{path.name}", "language": "en"}
    # A transcript of the whole, without times, where every clip has one.
    if told:
      line["text"] = " ".join(piece["text"] for piece in said)
    lines.append(line)
    total += len(sound) / RATE
    number += 1
  for file, rows in (("recordings.jsonl", lines), ("truth.jsonl", truth)):
    (out / file).write_text("".join(json.dumps(r) + "\n" for r in rows))
  print(f"{number} recordings, {total / 60:.1f} min, {len(truth)} clips")


def score(out: pathlib.Path, corpus: pathlib.Path) -> None:
  """Prints what became of every planted clip, and how boundaries lie."""
  from s02jax.data import records

  truth = _lines(out / "truth.jsonl")
  cuts = collections.defaultdict(list)
  for split in records.SPLITS:
    part = records.Corpus.open(corpus, split)
    starts = np.load(corpus / "index" / f"{split}.attributes.npz")["start"]
    for i, start in enumerate(starts):
      row = part.record(i)
      seconds = len(row.wave) / row.rate
      cuts[row.source].append((float(start), float(start) + seconds, "kept"))
  for row in _lines(corpus / "rejected.jsonl"):
    cuts[row["path"]].append((row["start"], row["end"], row["step"]))
  table: dict[str, collections.Counter] = collections.defaultdict(
    collections.Counter
  )
  near = []
  for clip in truth:
    mine = cuts[f"recordings/{clip['recording']:03d}.flac"]
    overlap = [
      max(0, min(b, clip["end"]) - max(a, clip["start"])) for a, b, _ in mine
    ]
    weights: collections.Counter[str] = collections.Counter()
    for (_, _, step), seconds in zip(mine, overlap, strict=True):
      weights[step] += seconds
    step = weights.most_common(1)[0][0] if sum(overlap) else "not cut"
    label = clip["fault"] or f"good ({clip['kind']})"
    table[label][step] += 1
    for time, edge in ((clip["start"], 0), (clip["end"], 1)):
      ends = [cut[edge] for cut in mine]
      near.append(min((abs(x - time) for x in ends), default=9.0) <= NEAR)
  columns = sorted({step for row in table.values() for step in row})
  columns.sort(key=lambda step: step != "kept")
  print("| planted | clips | " + " | ".join(columns) + " |")
  print("|---" * (len(columns) + 2) + "|")
  for label, row in sorted(table.items()):
    cells = " | ".join(str(row[step]) for step in columns)
    print(f"| {label} | {row.total()} | {cells} |")
  print(f"boundaries within {NEAR} s: {np.mean(near):.1%} of {len(near)}")


def main() -> None:
  """Makes recordings, or scores a corpus of them."""
  parser = argparse.ArgumentParser(description=__doc__)
  parser.add_argument("command", choices=("make", "score"))
  parser.add_argument("--out", type=pathlib.Path, required=True)
  parser.add_argument("--speech", type=pathlib.Path)
  parser.add_argument("--corpus", type=pathlib.Path)
  parser.add_argument("--minutes", type=float, default=30.0)
  parser.add_argument("--seed", type=int, default=0)
  args = parser.parse_args()
  if args.command == "make":
    make(args.speech, args.out, args.minutes, args.seed)
  else:
    score(args.out, args.corpus)


if __name__ == "__main__":
  main()
