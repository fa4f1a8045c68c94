"""The report's page: escaping, layout and style. One file, nothing from the network, no script."""

import html
from collections.abc import Sequence
from string import Template
from typing import Any


def text(value: Any) -> str:
    """Any value as text that cannot be read as markup, in elements and in quoted attributes alike."""
    return html.escape(str(value), quote=True)


def element(name: str, *content: str, **attributes: str) -> str:
    """An element around markup that is already safe. `class_` stands for class; underscores become hyphens."""
    said = "".join(f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items())
    return f"<{name}{said}>{''.join(content)}</{name}>"


def table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]], caption: str, kind: str = "") -> str:
    """A table of safe markup; on narrow screens each row becomes a block that repeats its headings."""
    top = element("tr", *(element("th", text(title), scope="col") for title in head))
    body = []
    for row in rows:
        first = element("th", row[0], scope="row")
        rest = (element("td", cell, data_title=title) for title, cell in zip(head[1:], row[1:], strict=True))
        body.append(element("tr", first, *rest))
    inner = element("caption", text(caption)) + element("thead", top) + element("tbody", *body)
    return element("div", element("table", inner, class_=kind), class_="scroll")


def document(title: str, body: str) -> str:
    """The whole file."""
    return _PAGE.substitute(title=text(title), style=_STYLE, body=body)


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
$body
</body>
</html>
""")

_STYLE = """
:root { --ink: #1a2230; --soft: #566072; --line: #dfe4eb; --wash: #f4f6f9; --paper: #fff;
  --mark: #1d5b9f; --pale: #c5cfdc; --alarm: #9b1c1c; color-scheme: light; }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--wash); color: var(--ink); line-height: 1.55;
  font: 16px/1.55 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "DejaVu Sans", sans-serif; }
main, header, footer { max-width: 68rem; margin: 0 auto; padding: 0 1.5rem; }
header { padding-top: 3rem; }
h1 { font-size: 2.1rem; line-height: 1.2; letter-spacing: -.02em; margin: .2rem 0 .4rem; overflow-wrap: anywhere; }
h2 { font-size: 1.3rem; letter-spacing: -.01em; margin: 3.2rem 0 .3rem; }
h3 { font-size: 1rem; margin: 0; overflow-wrap: anywhere; }
p { margin: .4rem 0 1rem; max-width: 46rem; }
a { color: var(--mark); }
.eyebrow { font-size: .8rem; font-weight: 600; letter-spacing: .08em; text-transform: uppercase; color: var(--soft);
  margin: 0; }
.lead, .soft, figcaption, caption { color: var(--soft); }
.small { font-size: .875rem; }
.num, td, .big { font-variant-numeric: tabular-nums; }
.stamp { border-left: 4px solid var(--mark); background: var(--paper); padding: .7rem 1rem; margin: 1.4rem 0 0;
  border-radius: 0 8px 8px 0; max-width: none; font-size: .925rem; }
.alarm { border: 3px solid var(--alarm); color: var(--alarm); background: #fff5f5; border-radius: 10px;
  padding: .9rem 1.2rem; margin: 1.4rem 0 0; }
.alarm strong { font-size: 1.35rem; letter-spacing: .04em; display: block; }
nav { margin-top: 1.2rem; font-size: .9rem; display: flex; flex-wrap: wrap; gap: .3rem 1.2rem; }
.cards { display: grid; grid-template-columns: repeat(3, 1fr); gap: 1rem; margin-top: 1.6rem; }
.card, .plot { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1.2rem 1.3rem; }
.card h2 { margin: 0; font-size: .8rem; letter-spacing: .08em; text-transform: uppercase; color: var(--soft); }

.card p { margin: .1rem 0 .8rem; font-size: .925rem; }
.card p.big { font-size: 2.6rem; line-height: 1.15; font-weight: 650; letter-spacing: -.03em; margin: .3rem 0 0; }
.card dl { margin: .9rem 0 0; border-top: 1px solid var(--line); }
.card dl div { display: grid; grid-template-columns: 1fr auto; gap: 0 .8rem; padding: .45rem 0;
  border-bottom: 1px solid var(--line); font-size: .9rem; }
.card dl div:last-child { border-bottom: 0; padding-bottom: 0; }
dt { color: var(--soft); }
dd { margin: 0; text-align: right; font-variant-numeric: tabular-nums; font-weight: 600; overflow-wrap: anywhere; }
dd.wide { grid-column: 1 / -1; text-align: left; font-weight: 400; font-size: .8rem; color: var(--soft); }
.card svg { display: block; width: 100%; height: auto; margin: .3rem 0; }
.scroll { overflow-x: auto; background: var(--paper); border: 1px solid var(--line); border-radius: 12px;
  margin: 1rem 0; }
table { border-collapse: collapse; width: 100%; font-size: .925rem; }
caption { text-align: left; padding: .8rem 1rem .2rem; font-size: .85rem; }
th, td { text-align: left; padding: .55rem 1rem; border-top: 1px solid var(--line); vertical-align: middle; }
thead th { border-top: 0; font-size: .78rem; color: var(--soft); font-weight: 600; white-space: nowrap; }
tbody th { font-weight: 600; }
tbody th span { display: block; font-weight: 400; color: var(--soft); font-size: .82rem; max-width: 24rem; }
td svg { display: block; width: 100%; max-width: 13rem; height: auto; }
table.scores { table-layout: fixed; min-width: 56rem; }
table.scores td { white-space: nowrap; }
table.scores th:nth-child(1) { width: 30%; }
table.scores th:nth-child(2), table.scores th:nth-child(5), table.scores th:nth-child(6) { width: 8.5%; }
table.scores th:nth-child(3) { width: 14.5%; }
table.scores th:nth-child(7) { width: 10%; }
.plots { display: grid; grid-template-columns: repeat(auto-fill, minmax(17rem, 1fr)); gap: 1rem; margin-top: 1rem; }
.plot { padding: .9rem 1rem .7rem; margin: 0; }
.plot svg { display: block; width: 100%; height: auto; margin-top: .4rem; }
.plot .row { display: flex; justify-content: space-between; gap: 1rem; align-items: baseline; }
figure { margin: 1rem 0; }
figure.heat { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1rem; }
figure.heat svg { display: block; max-width: 100%; height: auto; margin: 0 auto; }
svg text { font-family: inherit; fill: var(--ink); }
ul { padding-left: 1.2rem; max-width: 48rem; }
li { margin: .35rem 0; }
code, pre { font-family: ui-monospace, "SF Mono", Menlo, Consolas, "DejaVu Sans Mono", monospace; font-size: .85em;
  overflow-wrap: anywhere; }
pre { background: var(--paper); border: 1px solid var(--line); border-radius: 12px; padding: 1rem;
  white-space: pre-wrap; }
footer { padding-top: 2rem; padding-bottom: 3rem; color: var(--soft); font-size: .85rem; }
@media (max-width: 60rem) { .cards { grid-template-columns: 1fr; } }
@media (max-width: 44rem) {
  main, header, footer { padding-left: 1rem; padding-right: 1rem; }
  header { padding-top: 1.6rem; }
  h1 { font-size: 1.6rem; }
  thead { position: absolute; clip-path: inset(50%); height: 1px; overflow: hidden; }
  table, tbody, tr, th, td { display: block; }
  caption { display: block; }
  tr { padding: .7rem 1rem; border-top: 1px solid var(--line); }
  tbody th, td { border: 0; padding: .12rem 0; }
  td { display: flex; justify-content: space-between; gap: 1rem; text-align: right; }
  table.scores { min-width: 0; }
  table.scores td { white-space: normal; }
  tbody th, table.scores th:nth-child(1) { width: auto; }
  td::before { content: attr(data-title); color: var(--soft); text-align: left; }
  td svg { width: 60%; }
  figure.heat { overflow-x: auto; }
  figure.heat svg { max-width: none; }
}
@media print {
  body { background: #fff; font-size: 10.5pt; }
  nav { display: none; }
  header { padding-top: 0; }
  .cards { grid-template-columns: repeat(3, 1fr); }
  .card, .plot, tr, figure, .alarm, .stamp { break-inside: avoid; }
  h2 { break-after: avoid; }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; }
}
"""
