"""The software that is installed here, as the digest that studies pin (common/code.py). It is read, never imported."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Final

from silosynth.common.code import PACKAGES, SUFFIX, digest


def code_digest() -> str:
    """The digest of what sites run, 64 hex digits: as it was when this process began, which is what it runs."""
    return _AT_START


def _files(package: str) -> Iterator[tuple[str, bytes]]:
    spec = find_spec(f"silosynth.{package}")
    for folder in (spec and spec.submodule_search_locations) or ():
        for path in Path(folder).rglob(f"*{SUFFIX}"):
            yield f"{package}/{path.relative_to(folder).as_posix()}", path.read_bytes()


_AT_START: Final = digest(file for package in PACKAGES for file in _files(package))
