"""Dataclasses as JSON and back, by their type hints: what one version writes, the same version reads whole.

A class whose values are many is stored as rows in the order of its fields (`AS_ROWS`); all others by name. Unknown keys
are left alone, so that a file may say more than is read; a missing key takes its default.
"""

from collections.abc import Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import StrEnum
from functools import cache
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin, get_type_hints

from silosynth.common.evaluate.scores import Bar, PairDetail

AS_ROWS: Final = (Bar, PairDetail)

_DIGITS: Final = 6


def plain(value: Any) -> Any:
    """A value as JSON holds it; floats to six significant digits."""
    if isinstance(value, bool | int | str | NoneType):
        return value
    if isinstance(value, float):
        return float(f"{value:.{_DIGITS}g}")
    if isinstance(value, Mapping):
        return {str(key): plain(one) for key, one in value.items()}
    if isinstance(value, tuple | list):
        return [plain(one) for one in value]
    if isinstance(value, AS_ROWS):
        return [plain(getattr(value, one.name)) for one in fields(value)]
    if is_dataclass(value) and not isinstance(value, type):
        return {one.name: plain(getattr(value, one.name)) for one in fields(value)}
    raise TypeError(f"{type(value).__name__} is not stored")


def restored(kind: Any, content: Any, where: str) -> Any:
    """The value of type `kind` in `content`. Raises ValueError, saying `where`, for anything else."""
    origin, inside = get_origin(kind), get_args(kind)
    if origin in {Union, UnionType}:
        return _one_of(inside, content, where)
    if origin is tuple:
        return _tuple(inside, content, where)
    if origin is Mapping and isinstance(content, dict):
        return {key: restored(inside[1], one, f"{where}.{key}") for key, one in content.items()}
    if is_dataclass(kind):
        return _dataclass(kind, content, where)
    if not _is(kind, content):
        raise ValueError(f"{where} is not what it should be")
    return float(content) if kind is float else kind(content) if origin is None else content


def _is(kind: Any, content: Any) -> bool:
    """Whether `content` is a plain value of that type; a float may be written as a whole number."""
    if get_origin(kind) is Literal:
        return content in get_args(kind)
    if kind is float:
        return type(content) in {int, float}
    if isinstance(kind, type) and issubclass(kind, StrEnum):
        return content in list(kind)
    return type(content) is kind


def _one_of(kinds: tuple[Any, ...], content: Any, where: str) -> Any:
    if content is None and NoneType in kinds:
        return None
    (kind,) = (one for one in kinds if one is not NoneType)
    return restored(kind, content, where)


def _tuple(kinds: tuple[Any, ...], content: Any, where: str) -> tuple[Any, ...]:
    if isinstance(content, list):
        if kinds[-1] is Ellipsis:
            return tuple(restored(kinds[0], one, f"{where}[{at}]") for at, one in enumerate(content))
        if len(content) == len(kinds):
            return tuple(restored(kind, one, where) for kind, one in zip(kinds, content, strict=True))
    raise ValueError(f"{where} is not what it should be")


def _dataclass(kind: Any, content: Any, where: str) -> Any:
    known = fields(kind)
    if kind in AS_ROWS and isinstance(content, list) and len(content) == len(known):
        content = dict(zip((one.name for one in known), content, strict=True))
    if not isinstance(content, dict):
        raise ValueError(f"{where} is not what it should be")  # noqa: TRY004 - one error for whatever a file holds
    hints, values = _hints(kind), {}
    for one in known:
        if one.name in content:
            values[one.name] = restored(hints[one.name], content[one.name], f"{where}.{one.name}")
        elif not _has_default(one):
            raise ValueError(f"{where}.{one.name} is missing")
    return kind(**values)


def _has_default(one: "Field[Any]") -> bool:
    return one.default is not MISSING or one.default_factory is not MISSING


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind)
