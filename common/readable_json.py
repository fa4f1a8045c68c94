"""JSON as a person reads it: objects indented, lists of plain values on one line, one row of a table a line."""

import json
from collections.abc import Mapping
from typing import Any

_STEP = "  "


def laid_out(content: Mapping[str, Any]) -> str:
    """The text, ending with a line break. Raises ValueError for NaN and infinity, which JSON has not."""
    return _laid_out(content, "") + "\n"


def _laid_out(value: Any, indent: str) -> str:
    inner = indent + _STEP
    if isinstance(value, Mapping) and value:
        rows = [f"{_line(str(key))}: {_laid_out(one, inner)}" for key, one in value.items()]
        return "{\n" + ",\n".join(inner + row for row in rows) + f"\n{indent}}}"
    if isinstance(value, list | tuple) and any(isinstance(one, Mapping | list | tuple) and one for one in value):
        return "[\n" + ",\n".join(inner + _laid_out(one, inner) for one in value) + f"\n{indent}]"
    return _line(value)


def _line(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False)
