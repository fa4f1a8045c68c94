"""The report's style: calm, one column, readable on a phone, on paper, in the dark, and without colour."""

from typing import Final

_COLOURS: Final = """
:root { --ink: #18212f; --soft: #54606f; --line: #dde3ea; --wash: #f5f7f9; --paper: #fff; --mark: #1a5796;
  --pale: #c6d1de; --warm: #8a4b08; --warm-paper: #fffaf2; --alarm: #9b1c1c; --alarm-paper: #fff5f5;
  --on-mark: #fff; color-scheme: light; }
@media screen and (prefers-color-scheme: dark) {
  :root { --ink: #e7edf3; --soft: #a3b0be; --line: #2c3641; --wash: #0f1419; --paper: #171d24; --mark: #74b2f2;
    --pale: #465362; --warm: #f0b465; --warm-paper: #221c13; --alarm: #ff9d9d; --alarm-paper: #2a1616;
    --on-mark: #0f1419; color-scheme: dark; }
}
"""

_PAGE: Final = """
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; scroll-padding-top: 3.5rem; }
body { margin: 0; overflow-wrap: break-word; background: var(--wash); color: var(--ink);
  font: 16px/1.6 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main, header, footer, nav ul { max-width: 70rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3rem; padding-bottom: 1.4rem; }
h1 { font-size: 2.2rem; line-height: 1.2; letter-spacing: -.02em; margin: .2rem 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.4rem; line-height: 1.3; letter-spacing: -.01em; margin: 0 0 .3rem; }
h3 { font-size: 1rem; margin: 1.6rem 0 .2rem; overflow-wrap: anywhere; }
main > section { margin-top: 4rem; }
p { margin: .4rem 0 1rem; max-width: 46rem; }
a { color: var(--mark); }
.eyebrow { font-size: .8rem; font-weight: 600; letter-spacing: .08em; text-transform: uppercase; color: var(--soft);
  margin: 0; }
.lead, .soft, figcaption { color: var(--soft); }
.small, figcaption { font-size: .875rem; }
.mono { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .8rem;
  overflow-wrap: anywhere; }
.stamp, .alarm, .limits { border-left: 4px solid var(--mark); background: var(--paper); padding: .8rem 1.1rem;
  margin: 1.4rem 0 0; border-radius: 0 10px 10px 0; max-width: none; font-size: .925rem; }
.limits { border-color: var(--warm); background: var(--warm-paper); padding: 1.2rem 1.5rem; font-size: 1rem; }
.limits ul { margin: .6rem 0 0; }
.alarm { border: 3px solid var(--alarm); color: var(--alarm); background: var(--alarm-paper); border-radius: 10px; }
.alarm strong { font-size: 1.35rem; letter-spacing: .04em; display: block; }
.eyes { position: sticky; top: 0; z-index: 2; background: var(--alarm); color: var(--paper); text-align: center;
  font-weight: 600; padding: .5rem 1rem; font-size: .9rem; }
nav { position: sticky; top: 0; z-index: 1; background: var(--wash); border-bottom: 1px solid var(--line); }
nav ul { display: flex; gap: 1.35rem; list-style: none; overflow-x: auto; max-width: 70rem; font-size: .875rem;
  scrollbar-width: none; }
nav li { margin: 0; }
nav a { display: block; padding: .75rem 0; white-space: nowrap; text-decoration: none; color: var(--ink); }
nav a:hover { color: var(--mark); text-decoration: underline; }
.eyes ~ nav { top: 2.4rem; }
a:focus-visible, summary:focus-visible, [tabindex]:focus-visible { outline: 3px solid var(--mark);
  outline-offset: 2px; }
ul { padding-left: 1.2rem; max-width: 50rem; }
li { margin: .4rem 0; }
code { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .9em; }
blockquote { margin: 1rem 0; padding: 1rem 1.2rem; background: var(--paper); border: 1px solid var(--line);
  border-radius: 12px; overflow-wrap: anywhere; max-width: 54rem; }
details { margin: 1rem 0; }
summary { cursor: pointer; color: var(--mark); padding: .4rem 0; width: fit-content; }
footer { padding-top: 4rem; padding-bottom: 3rem; color: var(--soft); font-size: .85rem; }
"""

_PARTS: Final = """
.cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1.1rem; margin-top: 1.8rem; }
.card, .plot, .scroll, figure.wide { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; }
.card { padding: 1.3rem 1.4rem; }
.card h2 { margin: 0; font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; color: var(--soft); }
.card p { margin: .1rem 0 .7rem; font-size: .925rem; }
.card p.big { font-size: 2.5rem; line-height: 1.2; font-weight: 650; letter-spacing: -.03em; margin: .3rem 0 0;
  font-variant-numeric: tabular-nums; }
.card dl { margin: 1rem 0 0; border-top: 1px solid var(--line); }
.card dl div { display: grid; grid-template-columns: 1fr auto; gap: 0 .8rem; padding: .5rem 0;
  border-bottom: 1px solid var(--line); font-size: .9rem; }
.card dl div:last-child { border-bottom: 0; padding-bottom: 0; }
dt { color: var(--soft); }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; overflow-wrap: anywhere; }
dd.wide { grid-column: 1 / -1; text-align: left; font-weight: 400; font-size: .8rem; color: var(--soft); }
.card svg { display: block; width: 100%; height: auto; margin: .3rem 0; }
.facts { display: grid; grid-template-columns: minmax(9rem, max-content) 1fr; gap: .45rem 1.5rem; margin: 1rem 0; }
.facts dd { text-align: left; font-weight: 400; }
.scroll { overflow-x: auto; margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .9rem; font-variant-numeric: tabular-nums; }
caption { text-align: left; padding: .9rem 1.1rem .3rem; font-weight: 600; }
th, td { text-align: left; padding: .6rem .55rem; border-top: 1px solid var(--line); vertical-align: middle; }
th:first-child { padding-left: 1.1rem; }
td:last-child, thead th:last-child { padding-right: 1.1rem; }
thead th { border-top: 0; font-size: .78rem; color: var(--soft); font-weight: 600; vertical-align: bottom; }
tbody th { font-weight: 600; }
tbody th span, td .more { display: block; font-weight: 400; color: var(--soft); font-size: .82rem; max-width: 26rem; }
td .more { white-space: nowrap; }
td svg { display: block; width: 100%; min-width: 7rem; max-width: 12rem; height: auto; }
table.scores { table-layout: fixed; min-width: 50rem; }
table.scores th:nth-child(1) { width: 31%; }
table.scores th:nth-child(2), table.scores th:nth-child(4), table.scores th:nth-child(6) { width: 8%; }
table.scores th:nth-child(3) { width: 15.5%; }
table.scores th:nth-child(7) { width: 11%; }
table.scores td:nth-child(4) { text-align: right; padding-right: 0; }
table.scores td:nth-child(5) { padding-left: .8rem; padding-right: .4rem; }
table.scores td:nth-child(6) { padding-left: 0; }
table.scores thead th:nth-child(5) { padding-left: .8rem; }
table.scores thead th:nth-child(4) { text-align: right; padding-right: 0; }
table.scores thead th:nth-child(6) { padding-left: 0; }
table.scores td:nth-child(3), table.scores td:nth-child(7) { white-space: nowrap; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; margin-top: 1rem; }
.plot { padding: .9rem 1.1rem .7rem; margin: 0; }
.plot h3, .curves h3 { margin: 0; }
.plot svg { display: block; width: 100%; height: auto; margin-top: .5rem; }
.plot .row { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline; }
.key svg { vertical-align: -.15em; }
.key span { margin-right: 1.2rem; white-space: nowrap; }
figure { margin: 1rem 0; }
figure.wide { padding: 1.2rem; overflow-x: auto; }
figure.wide svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
.curves { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 24rem)); gap: 1rem; margin: 1rem 0; }
.curves .plot { padding: 1.1rem; }
svg text { font-family: inherit; fill: var(--ink); }
svg .soft { fill: var(--soft); }
svg .on { fill: var(--on-mark); }
.fill { fill: var(--pale); } .dark { fill: var(--mark); } .open { fill: var(--paper); }
.line { stroke: var(--mark); fill: none; } .axis { stroke: var(--soft); fill: none; } .track { stroke: var(--pale); }
.ink { stroke: var(--ink); fill: none; } .open.ink { fill: var(--paper); } .solid { fill: var(--ink); }
"""

_SMALL: Final = """
@media (max-width: 64rem) { .cards { grid-template-columns: 1fr; } }
@media screen and (max-width: 48rem) {
  body { overflow-wrap: anywhere; }
  main, header, footer, nav ul { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.6rem; }
  h1 { font-size: 1.6rem; }
  main > section { margin-top: 3rem; }
  .limits { padding: 1rem 1.1rem; }
  .facts { grid-template-columns: 1fr; gap: 0; }
  .facts dd { margin-bottom: .7rem; }
  thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; }
  table, tbody, tr, tbody th, td, caption { display: block; }
  tr { padding: .7rem 1rem; border-top: 1px solid var(--line); }
  tbody th, td, th:first-child, td:last-child { border: 0; padding: .15rem 0; }
  td { display: flex; justify-content: space-between; gap: 1.5rem; text-align: right; overflow-wrap: anywhere; }
  td::before { content: attr(data-title); color: var(--soft); text-align: left; flex: none; max-width: 50%; }
  table.scores td:nth-child(n) { width: auto; padding: .15rem 0; white-space: normal; }
  table.scores { min-width: 0; }
  table.scores th:nth-child(1) { width: auto; }
  td svg { width: 55%; }
  td:empty { display: none; }
  figure.wide svg { max-width: none; }
}
"""

_PRINT: Final = """
@media print {
  @page { margin: 16mm 14mm; }
  html { font-size: 12px; }
  body { background: #fff; font-size: 1rem; }
  p, li { orphans: 3; widows: 3; }
  main, header, footer { max-width: none; padding: 0; }
  header { padding-bottom: 0; }
  nav, summary { display: none; }
  details::details-content { content-visibility: visible; display: block; height: auto; }
  main > section { margin-top: 1.8rem; }
  .cards { grid-template-columns: repeat(3, 1fr); gap: .6rem; }
  .card { padding: .8rem .9rem; }
  .card p.big { font-size: 2rem; }
  .card dl div { padding: .3rem 0; }
  .plots { grid-template-columns: repeat(3, 1fr); gap: .6rem; }
  .plot { padding: .6rem .7rem .4rem; }
  .curves { grid-template-columns: repeat(2, minmax(0, 21rem)); }
  caption { padding: .5rem .7rem .2rem; }
  th, td { padding: .3rem .4rem; }
  th:first-child { padding-left: .7rem; }
  td:last-child { padding-right: .7rem; }
  td svg { min-width: 5rem; }
  table.scores { min-width: 0; }
  .scroll { overflow: visible; border-radius: 0; }
  .eyes { position: static; color: #000; background: #fff; border: 2px solid #000; margin-bottom: .6rem; }
  footer { padding: 1rem 0 0; }
  .card, .plot, .brief, tr, figure, .alarm, .stamp, .lead, .limits, blockquote { break-inside: avoid; }
  h2, h3, caption, thead, .lead, .key { break-after: avoid; }
  figure.wide { padding: .4rem; }
  figure.wide svg { max-height: 150mm; }
  a { color: inherit; text-decoration: none; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""

ON_EVERY_SHEET: Final = """
@page {{ margin-top: 20mm;
  @top-center {{ content: "{said}"; font: 600 10pt sans-serif; border-bottom: 1pt solid #000; }} }}
"""
"""Of a page that must be known for what it is wherever one sheet of it lies. `said`: without quotes or backslashes."""

STYLE: Final = _COLOURS + _PAGE + _PARTS + _SMALL + _PRINT
