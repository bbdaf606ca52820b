"""Building blocks of the HTML pages: frame, stylesheet, tables, players.

A page is one file that needs nothing beside it: its content security policy
forbids to load anything else.
"""

import html
from collections.abc import Iterable, Mapping, Sequence


def document(title: str, parts: Sequence[str], sections: Mapping[str, str]):
  """Assembles the whole file.

  Args:
    title: title of the window, as text.
    parts: HTML, from top to bottom; empty parts are left out.
    sections: labels by name of sections; the navigation shows those that are
      among the parts.
  """
  links = "".join(
    f'<a href="#{name}">{label}</a>'
    for name, label in sections.items()
    if any(part.startswith(f'<section id="{name}"') for part in parts)
  )
  return _PAGE.format(
    title=text(title),
    style=_STYLE,
    script=_SCRIPT,
    body="\n".join(filter(None, parts)),
    links=links,
  )


def section(name: str, label: str, lead: str, body: str) -> str:
  """Section with a heading; `lead` and `body` are HTML."""
  return (
    f'<section id="{name}"><h2>{label}</h2>'
    f'<p class="lead">{lead}</p>{body}</section>'
  )


def text(value: object) -> str:
  """Escapes any text, also for an attribute's quotes."""
  return html.escape(str(value), quote=True).replace(" %", "&nbsp;%")


def tile(value: str, label: str, note: str) -> str:
  """Large figure of a `tiles` list; arguments are HTML."""
  return f"<li><b>{value}</b><span>{label}</span><small>{note}</small></li>"


def table(head: Iterable[str], rows: Iterable[str], kind: str = "") -> str:
  """Table that scrolls where it is too wide; cells and rows are HTML."""
  shown = f' class="{kind}"' if kind else ""
  return (
    '<div class="scroll" role="region" aria-label="Table" tabindex="0">'
    f"<table{shown}><thead><tr>"
    f"{''.join(head)}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
  )


def column(label: str, explanation: str = "") -> str:
  """Head of a column: `label` is HTML, `explanation` text for a tooltip."""
  title = f' title="{text(explanation)}"' if explanation else ""
  return f'<th scope="col"{title}>{label}</th>'


def definitions(pairs: Iterable[tuple[str, str]]) -> str:
  """Definition list of names and texts."""
  items = "".join(
    f"<dt>{text(name)}</dt><dd>{text(told)}</dd>" for name, told in pairs
  )
  return f"<dl>{items}</dl>"


def details(summary: str, content: str) -> str:
  """Preformatted text that opens at a click."""
  return (
    f"<details><summary>{text(summary)}</summary><pre>{text(content)}</pre>"
    "</details>"
  )


def player(sound: str, label: str) -> str:
  """Audio player of a sound, given as data URI, that shows its length."""
  return (
    f'<audio controls preload="metadata" src="{sound}"'
    f' aria-label="{text(label)}"></audio>'
  )


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; \
img-src data:; media-src data:; style-src 'unsafe-inline'; \
script-src 'unsafe-inline'">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<nav>{links}</nav>
<main>
{body}
</main>
<script>{script}</script>
</body>
</html>
"""
_SCRIPT = """
document.addEventListener('play', event => {
  for (const other of document.querySelectorAll('audio'))
    if (other !== event.target) other.pause();
}, true);
"""
_STYLE = """
:root {
  color-scheme: light dark;
  --ground: #fbfaf8; --card: #ffffff; --ink: #1d1c1a; --muted: #6c6862;
  --line: #e4e0d9; --accent: #9a3412; --tint: #fdf3ec;
  --yes: #1a7f45; --no: #b42318;
  --c0: #b9b2a7; --c1: #9a3412; --c2: #2563a8;
}
@media (prefers-color-scheme: dark) {
  :root {
    --ground: #151412; --card: #1d1c1a; --ink: #ece9e4; --muted: #a19b92;
    --line: #35322e; --accent: #fb9a63; --tint: #2a201a;
    --yes: #5fcf8f; --no: #ff8a7a;
    --c0: #6e6860; --c1: #fb9a63; --c2: #7fb6f0;
  }
}
* { box-sizing: border-box; }
html { scroll-behavior: smooth; scroll-padding-top: 3.5rem; }
body {
  margin: 0; background: var(--ground); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, sans-serif;
}
nav {
  position: sticky; top: 0; z-index: 2; display: flex; gap: 1.4rem;
  overflow-x: auto; white-space: nowrap; justify-content: safe center;
  padding: .7rem 1.2rem; background: var(--ground);
  border-bottom: 1px solid var(--line); font-size: .875rem;
}
nav a { color: var(--muted); text-decoration: none; }
nav a:hover { color: var(--accent); }
main { max-width: 1120px; margin: 0 auto; padding: 0 1.2rem 5rem; }
header { max-width: 46rem; margin: 0 auto; padding: 3.5rem 0 1rem; }
.eyebrow {
  margin: 0; color: var(--accent); font-size: .8rem; font-weight: 600;
  letter-spacing: .06em;
}
h1 {
  margin: .2rem 0 1.2rem; font-size: clamp(2rem, 5vw, 2.9rem);
  line-height: 1.12; letter-spacing: -.025em; text-wrap: balance;
}
h2 { margin: 0 0 .3rem; font-size: 1.5rem; letter-spacing: -.015em; }
h3 { margin: 2rem 0 .6rem; font-size: 1.05rem; }
h3 small, figcaption small, .lead, .caption, .who { color: var(--muted); }
h3 small { margin-left: .5rem; font-weight: 400; font-size: .875rem; }
section { padding-top: 3.5rem; }
.lead { max-width: 46rem; margin: 0 0 1rem; }
.caption { font-size: .85rem; margin: .5rem 0 0; }
code, pre { font: .82em/1.55 ui-monospace, Menlo, Consolas, monospace; }
.command {
  display: flex; gap: .8rem; align-items: baseline; padding: .6rem .9rem;
  border: 1px solid var(--line); border-radius: 8px; background: var(--card);
}
.command span { color: var(--muted); font-size: .8rem; white-space: nowrap; }
.command code { overflow-wrap: anywhere; }
.tiles {
  display: grid; grid-template-columns: repeat(auto-fit, minmax(9.5rem, 1fr));
  gap: .8rem; padding: 0; margin: 1.6rem 0 0; list-style: none;
}
.tiles li {
  display: flex; flex-direction: column; padding: .8rem .95rem .7rem;
  border: 1px solid var(--line); border-radius: 10px; background: var(--card);
}
.tiles b { font-size: 1.75rem; line-height: 1.2; letter-spacing: -.02em; }
.tiles span { font-size: .85rem; line-height: 1.35; }
.tiles small { margin-top: auto; padding-top: .35rem; color: var(--muted); }
article {
  margin: 0 0 1rem; padding: 1.05rem 1.15rem 1.15rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px;
}
h4 { margin: 0; font-size: 1.12rem; font-weight: 600; }
.who { margin: .1rem 0 .8rem; font-size: .85rem; }
.clips {
  display: grid; gap: .9rem .8rem;
  grid-template-columns: repeat(auto-fill, minmax(14.5rem, 1fr));
}
figure { margin: 0; min-width: 0; }
figcaption {
  display: flex; justify-content: space-between; gap: .6rem;
  margin-bottom: .3rem; font-size: .85rem; font-weight: 550;
}
figcaption small { font-weight: 400; white-space: nowrap; }
.clips img {
  display: block; width: 100%; height: 72px; border-radius: 6px 6px 0 0;
}
.clips audio { display: block; width: 100%; height: 36px; }
.clips .made figcaption { color: var(--accent); }
.empty { color: var(--muted); font-size: .85rem; }
.scroll { overflow-x: auto; }
table {
  width: 100%; border-collapse: collapse; background: var(--card);
  font-size: .875rem; font-variant-numeric: tabular-nums;
  border: 1px solid var(--line);
}
th, td { padding: .5rem .65rem; text-align: right; vertical-align: top; }
th { font-weight: 550; }
thead th {
  color: var(--muted); font-size: .775rem; line-height: 1.3;
  vertical-align: bottom;
}
tbody th, thead th:first-child { text-align: left; }
tbody th, td { white-space: nowrap; }
tr + tr > *, tbody tr:first-child > * { border-top: 1px solid var(--line); }
td small { display: block; color: var(--muted); font-size: .74rem; }
tr.made { background: var(--tint); }
td.none { color: var(--muted); }
.list tbody th { white-space: normal; min-width: 12rem; }
.list th small { display: block; color: var(--muted); font-weight: 400; }
.list .yes { color: var(--yes); white-space: nowrap; }
.list .no { color: var(--no); white-space: nowrap; }
.list .wide { width: 55%; vertical-align: middle; }
.list i {
  display: block; height: .55rem; min-width: 2px; border-radius: 3px;
  background: var(--accent);
}
.two { display: grid; gap: 0 3rem; }
@media (min-width: 860px) { .two { grid-template-columns: 1.3fr 1fr; } }
dl { margin: 0; font-size: .875rem; }
dt { font-weight: 550; }
dd { margin: 0 0 .65rem; color: var(--muted); }
.runs {
  display: grid; gap: 1rem;
  grid-template-columns: repeat(auto-fill, minmax(min(100%, 26rem), 1fr));
}
.runs figure {
  padding: .9rem 1rem; border: 1px solid var(--line); border-radius: 12px;
  background: var(--card);
}
.runs span::before {
  content: ""; display: inline-block; width: .9rem; height: 3px;
  margin: 0 .35rem 0 .9rem; vertical-align: middle; border-radius: 2px;
  background: var(--c0);
}
.runs span.c1::before { background: var(--c1); }
.runs span.c2::before { background: var(--c2); }
svg { display: block; width: 100%; height: auto; }
svg text { fill: var(--muted); font-size: 12px; }
svg .grid { stroke: var(--line); }
.curve { fill: none; stroke: var(--c0); stroke-width: 1.6; }
.curve.c1 { stroke: var(--c1); stroke-width: 2.2; }
.curve.c2 { stroke: var(--c2); stroke-width: 2.2; }
.verdict { padding-left: .9rem; border-left: 3px solid var(--accent); }
.chart, .legend, .sources { margin: 0; padding: 0; list-style: none; }
.chart {
  padding: .8rem 1rem .4rem; background: var(--card);
  border: 1px solid var(--line); border-radius: 12px;
}
.chart li {
  display: grid; grid-template-columns: 8.5rem 1fr 9.5rem; gap: .8rem;
  align-items: center; font-size: .875rem;
  font-variant-numeric: tabular-nums;
}
.chart span { line-height: 1.2; overflow-wrap: anywhere; }
.chart svg { width: 100%; overflow: visible; }
.chart b { font-weight: 550; white-space: nowrap; }
.chart small { margin-left: .5rem; color: var(--muted); font-weight: 400; }
.legend {
  display: flex; flex-wrap: wrap; gap: .1rem 1.3rem; margin: 0 0 .6rem;
  font-size: .85rem;
}
.legend li { display: flex; gap: .45rem; align-items: center; }
.legend svg { width: 22px; flex: none; }
.sources { font-size: .875rem; color: var(--muted); }
.bar { fill: var(--accent); opacity: .8; }
.band { fill: var(--line); }
.whisker { stroke: var(--ink); stroke-width: 1.5; }
.chart + .scroll { margin-top: 1rem; }
.mark { display: inline; }
.mark text {
  fill: var(--ink); stroke: var(--card); stroke-width: 3; paint-order: stroke;
}
.cut { stroke: var(--card); stroke-width: 3; }
.mark path { stroke: var(--card); stroke-width: 1; fill: var(--c2); }
.mark path.open { stroke: var(--c2); stroke-width: 1.8; fill: var(--card); }
article h3 { margin: 0; }
.told { display: grid; gap: .2rem 2rem; margin-bottom: .9rem; }
@media (min-width: 860px) { .told { grid-template-columns: 1fr 1fr; } }
.told h4 { font-size: .8rem; color: var(--muted); }
.told p { margin: 0; overflow-wrap: anywhere; }
del, ins { padding: 0 .15em; border-radius: 3px; background: var(--tint); }
del { color: var(--no); text-decoration: line-through; }
ins { color: var(--yes); text-decoration: underline; }
.aloud {
  position: absolute; width: 1px; height: 1px; overflow: hidden;
  clip-path: inset(50%); white-space: nowrap;
}
@media (max-width: 600px) {
  .chart li { grid-template-columns: 5.5rem 1fr 3rem; gap: .5rem; }
  .chart small { display: block; margin: 0; font-size: .65rem; }
}
details {
  margin-bottom: .6rem; border: 1px solid var(--line); border-radius: 8px;
  background: var(--card);
}
summary { padding: .6rem .9rem; cursor: pointer; font-weight: 550; }
pre { margin: 0; padding: 0 .9rem .9rem; overflow-x: auto; }
:focus-visible { outline: 2px solid var(--accent); outline-offset: 2px; }
@media print { nav, audio { display: none; } article { break-inside: avoid; } }
"""
