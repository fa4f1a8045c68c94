"""A search for raw values in bytes that left a site, as numbers of 32 and 64 bits and as text.

It finds values that left as they are. It cannot find ones that were scaled, compressed or hidden on purpose: for those
there is the account of all bytes (`accounts.py`), which leaves nothing unexplained.
"""

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

_SHORT: Final = 4
"""Bytes of a form that random bytes meet by chance."""
_CHANCE: Final = 5
"""So many different values must be found in short forms: 100 values in 4 MB of noise give 5 with chance 2e-6."""


@dataclass(frozen=True)
class Found:
    """A raw value that left, in which form, and in how many bytes."""

    value: float | str
    form: str
    octets: int


def forms(value: float | str) -> Iterator[tuple[str, bytes]]:
    """The ways in which a cell may be written. Texts of fewer than six characters would be found by chance."""
    if isinstance(value, str):
        if len(value) >= 6:
            yield "text", value.encode()
            yield "text, utf-16", value.encode("utf-16-le")
        return
    yield "float64, little end first", struct.pack("<d", value)
    yield "float64, big end first", struct.pack(">d", value)
    yield "float32, little end first", struct.pack("<f", value)
    yield "float32, big end first", struct.pack(">f", value)
    for text in sorted({repr(value), f"{value:.6f}"}):
        if len(text) >= 6:
            yield "text", text.encode()


def search(said: Sequence[bytes], values: Iterable[float | str]) -> tuple[Found, ...]:
    """Every value that is in one of the streams, in each form in which it is; short forms only where they are many."""
    found = [
        Found(value, form, len(code))
        for value in dict.fromkeys(values)
        for form, code in forms(value)
        if any(code in stream for stream in said)
    ]
    by_chance = len({one.value for one in found if one.octets <= _SHORT}) < _CHANCE
    return tuple(one for one in found if one.octets > _SHORT or not by_chance)
