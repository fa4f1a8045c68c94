"""TOML as a person would write it: one key a line, short lists on one line, long ones wrapped. Reading is tomllib's."""

import json
import re
import textwrap
from collections.abc import Sequence
from typing import TypeAlias

Plain: TypeAlias = str | int | float | Sequence[str | float]

_WIDTH = 110
_BARE = re.compile(r"[A-Za-z0-9_-]+")


def entry(key: str, value: Plain) -> str:
    """`key = value` in TOML."""
    key = key if _BARE.fullmatch(key) else _scalar(key)
    if isinstance(value, str | int | float):
        return f"{key} = {_scalar(value)}"
    line = f"{key} = [{', '.join(_scalar(item) for item in value)}]"
    if len(line) <= _WIDTH:
        return line
    return "\n".join([f"{key} = [", *_rows([_scalar(item) for item in value]), "]"])


def comment(text: str) -> str:
    """`text` as comment lines. Control characters, which TOML bans from comments, become spaces."""
    clean = "".join(letter if letter.isprintable() else " " for letter in text)
    return "\n".join(textwrap.wrap(clean, _WIDTH, initial_indent="# ", subsequent_indent="# ")) or "#"


def _scalar(value: str | float) -> str:
    if isinstance(value, str):  # JSON's escapes are TOML's, but for DEL
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return str(value).lower() if isinstance(value, bool) else repr(value)


def _rows(items: Sequence[str]) -> list[str]:
    rows, row = [], "   "
    for item in items:
        if len(row) + len(item) + 2 > _WIDTH and row.strip():
            rows.append(row)
            row = "   "
        row += f" {item},"
    return [*rows, row]
