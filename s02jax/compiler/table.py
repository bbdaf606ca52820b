"""Table of `docs/scale.md`: every stage and size on TPU slices and GPUs.

Each row is one `s02 compile-check`, on GPUs with FSDP within a node, as their
launchers give it. The measurements are kept beside the table
as JSON lines, so that an interrupted run goes on where it was; delete a line
to measure it again.
"""

import importlib
import json
import os
import pathlib
import platform
import time
from collections.abc import Callable

import jax

from s02jax import hardware
from s02jax.compiler import check
from s02jax.core import files, markdown

TOPOLOGIES = (
  "v5e:16x16",
  "v5p:8x8x16",
  "v6e:16x16",
  "tpu7x:8x8x4",
  "h200:64",
)
# Rows of the batch on each device, on HBM of 16, 32 and 95 GiB or more.
ROWS = {
  "ar:small": (8, 16, 32),
  "ar:base": (4, 8, 16),
  "ar:large": (2, 4, 16),
  "ar:xl": (1, 2, 8),
  "flow_matching:small": (8, 16, 32),
  "flow_matching:base": (4, 8, 32),
  "flow_matching:large": (4, 8, 8),
  "audio_tokenizer:small": (8, 16, 32),
  "audio_tokenizer:base": (4, 8, 32),
  "audio_tokenizer:large": (2, 4, 16),
  "flow_vae:small": (2, 4, 8),
  "flow_vae:base": (2, 4, 8),
  "flow_vae:large": (2, 2, 8),
}
# Stages compiled for TPUs with --fast, which take many minutes otherwise.
FAST = ("flow_vae",)
_HEAD = (
  "config",
  "slice",
  "mesh",
  "rows a device",
  "parameters",
  "HBM, GiB",
  "compute, ms",
  "HBM, ms",
  "interconnect, ms",
  "utilisation at most, and where nothing overlaps",
  "warnings",
  "compiled in",
  "on",
)


def write(path: pathlib.Path, tell: Callable[[str], None]) -> int:
  """Measures the missing rows and writes the table.

  Args:
    path: the Markdown file; the rows are kept beside it, as .jsonl.
    tell: gets the lines for people.

  Returns:
    0, or 1 where a row does not fit.
  """
  kept = path.with_suffix(".jsonl")
  done = _read(kept)
  for name in ROWS:
    for topology in TOPOLOGIES:
      if (name, topology) in done:
        continue
      tell(f"{name} on {topology} …")
      report = _measure(name, topology)
      tell(check.describe(report))
      row = _record(report)
      with kept.open("a", encoding="utf-8") as file:
        file.write(json.dumps(row) + "\n")
      done[name, topology] = row
      _write_table(path, done)
      jax.clear_caches()
  _write_table(path, done)
  return 0 if all(row["fits"] for row in done.values()) else 1


def _read(kept: pathlib.Path) -> dict[tuple[str, str], dict]:
  if not kept.exists():
    return {}
  rows = [json.loads(x) for x in kept.read_text(encoding="utf-8").splitlines()]
  return {(row["config"], row["topology"]): row for row in rows}


def _measure(name: str, topology: str) -> check.Report:
  stage, _, size = name.partition(":")
  config = importlib.import_module(f"configs.{stage}").get_config(size)
  kind = topology.partition(":")[0]
  place = {"v5e": 0, "v6e": 1}.get(kind, 2)
  rows, fast = ROWS[name][place], stage in FAST and kind not in hardware.GPUS
  if kind in hardware.GPUS:  # as launchers have it
    config.mesh.fsdp = hardware.within_node(
      config.mesh, hardware.GPUS[kind].node
    )
  return check.check(config, name, topology, rows, fast=fast)


def _record(report: check.Report) -> dict:
  """JSON form of a report, with when and where it was made."""
  limits = report.cost.roofline
  return report.to_json() | {
    "bound": limits.bound if limits else None,
    "date": time.strftime("%Y-%m-%d"),
    "machine": f"{os.cpu_count()}-core {platform.machine()} CPU",
    "jax": jax.__version__,
  }


def _write_table(path: pathlib.Path, done: dict) -> None:
  order = [(n, t) for n in ROWS for t in TOPOLOGIES if (n, t) in done]
  dates = sorted({done[key]["date"] for key in order})
  machines, versions = (
    ", ".join(sorted({done[key][name] for key in order}))
    for name in ("machine", "jax")
  )
  lines = [
    "# Every stage and size on TPU slices and GPUs, by their compilers",
    "",
    f"`s02 compile-check --table {path}` on a {machines}, "
    f"{' to '.join(dict.fromkeys((dates[0], dates[-1])))}, jax {versions}. "
    "A row is of the code of its day; one that is missing is not measured "
    "yet. Nothing here was run on a TPU or a GPU: a row says that the train "
    "step compiles, what a device holds, and how long the matrix products, the "
    "memory traffic and the collectives of the compiled step take at least "
    "(`s02jax/compiler/roofline.py` says what is assumed). Rows of the batch "
    "are those of the longest shape; "
    "a tpu7x chip is two devices; 64 H200 are 8 nodes, and of their memory the "
    "75 % count that JAX takes. Compiling takes longer beside other work. "
    "Rows until 2026-11-29 count products at the peak even where they do not "
    "fill the matrix unit. "
    "Of a condition the branch that moves most counts. Where `fast` stands "
    "beside the seconds, the compiler had `--fast`: the run moves less through "
    "HBM than the row says. What changed between days stands in "
    "`docs/benchmarks.md`.",
    "",
    markdown.table(_HEAD, [_cells(done[key]) for key in order]).rstrip(),
  ]
  warned = [
    f"- {done[key]['config']} on {done[key]['topology']}: {warning}"
    for key in order
    for warning in (*done[key]["warnings"], done[key]["problem"])
    if warning
  ]
  if warned:
    lines += ["", "Warnings:", "", *dict.fromkeys(warned)]
  files.write_text(path, "\n".join(lines) + "\n")


def _apart(times: dict[str, float]) -> float:
  """Utilisation of a row where nothing overlaps, as `Roofline.apart`."""
  return times["model"] / (times["compute"] + times["hbm"] + times["ici"])


def _cells(row: dict) -> list[str]:
  mesh = " × ".join(f"{a} {n}" for a, n in row["mesh"].items() if n > 1)
  times = row["roofline"]
  return [
    row["config"],
    row["topology"],
    mesh,
    str(row["rows_per_device"]),
    f"{row['parameters'] / 1e6:,.0f} M",
    f"{check.gib(row['held'])} of {check.gib(row['hbm'])}"
    + ("" if row["fits"] else ", does not fit"),
    *(
      f"{times[name] * 1e3:.1f}" if times else "–"
      for name in ("compute", "hbm", "ici")
    ),
    f"{row['bound']:.0%}, {_apart(times):.0%}" if times else "–",
    str(len(row["warnings"])),
    f"{row['seconds']:.0f} s" + (", fast" if row.get("fast") else ""),
    row["date"],
  ]
