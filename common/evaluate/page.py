"""The report's page: escaping, layout and style. One file, nothing from the network, no script."""

import html
from collections.abc import Sequence
from string import Template
from typing import Any, Final

from silosynth.common.evaluate.style import ON_EVERY_SHEET, STYLE

_BRIEF: Final = 9
"""Rows of a table that is never broken by the end of a sheet."""


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
    whole = element("table", inner, class_=kind) if kind else element("table", inner)
    around = "scroll brief" if len(rows) <= _BRIEF else "scroll"
    return element("div", whole, class_=around, tabindex="0", role="group", aria_label=caption)


def section(anchor: str, title: str, *content: str, kind: str = "") -> str:
    """A part of the page under its own heading, which the page's list of sections can name."""
    heading = element("h2", text(title), id=anchor)
    extra = {"class_": kind} if kind else {}
    return element("section", heading, *content, aria_labelledby=anchor, **extra)


def lead(said: str) -> str:
    """A paragraph that says what is shown."""
    return element("p", text(said), class_="lead")


def folded(said: str, *content: str) -> str:
    """What is there for whoever wants it; on paper it is open."""
    return element("details", element("summary", text(said)), *content)


def facts(lines: Sequence[tuple[str, str]]) -> str:
    """Labels with a value each."""
    return element("dl", *(element("dt", text(a)) + element("dd", text(b)) for a, b in lines), class_="facts")


def document(title: str, body: str, on_every_sheet: str = "") -> str:
    """The whole file. `on_every_sheet`: our own words, for the head of each sheet of paper."""
    style = STYLE + (ON_EVERY_SHEET.format(said=on_every_sheet) if on_every_sheet else "")
    return _PAGE.substitute(title=text(title), style=style, body=body)


_PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>$title</title>
<style>$style</style>
</head>
<body>
$body
</body>
</html>
""")
