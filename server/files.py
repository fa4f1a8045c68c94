"""Files that appear whole or not at all, whatever happens to this process or this host."""

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from silosynth.common.readable_json import laid_out


def replace(path: Path, data: bytes, mode: int | None = None) -> None:
    """Write a file so that after a crash it is either the old one or the new one. `mode`: who may read it, from 0."""
    draft = path.with_name(f".{path.name}.part")
    draft.unlink(missing_ok=True)
    handle = os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666 if mode is None else mode)
    with os.fdopen(handle, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@contextmanager
def draft(path: Path) -> Iterator[Path]:
    """A path to write to: it becomes `path` if all goes well and vanishes if not."""
    unfinished = path.with_name(f".{path.name}.part")
    try:
        yield unfinished
        with unfinished.open("rb") as file:
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def write_secret(path: Path, data: bytes) -> None:
    """A file that only its owner may read."""
    replace(path, data, 0o600)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """A JSON file for people and programs: sorted by nothing, no NaN."""
    replace(path, laid_out(content).encode())


def write_text(path: Path, content: str) -> None:
    """A text file, in UTF-8."""
    replace(path, content.encode())
