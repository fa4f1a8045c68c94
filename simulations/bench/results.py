"""What a benchmark found, as rows of one file, and how two such files compare.

A file says on what machine and from which code it came, and every row how it was measured. Ratios between contestants
of one run may be compared across machines; seconds and rows per second only on the same one, which `against` says.
"""

import json
import os
import platform
import shutil
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, Final, TypeAlias

from silosynth.common.errors import InvalidInput
from silosynth.server.files import write_json

FORMAT: Final = 1

Fact: TypeAlias = str | int | float | None

_PACKAGES: Final = ("silosynth", "numpy", "torch", "opacus", "opendp")


@dataclass(frozen=True)
class Row:
    """One number. `value` is None where it could not be measured; then `note` says why."""

    bench: str
    name: str
    value: float | None
    unit: str
    interval: tuple[float, float] | None = None
    method: str = ""
    better: str = ""
    """"higher", "lower" or nothing, where it is neither."""
    deviation: float | None = None
    floor: float | None = None
    ceiling: float | None = None
    bar: float | None = None
    seeds: tuple[int, ...] = ()
    by_seed: tuple[float, ...] = ()
    """Of each seed, where `value` is their mean."""
    note: str = ""

    @property
    def passed(self) -> bool | None:
        """Whether the bar is met; None where there is none."""
        if self.bar is None or self.value is None:
            return None
        return self.value >= self.bar if self.better == "higher" else self.value <= self.bar

    def line(self) -> str:
        """The row for people."""
        if self.value is None:
            return f"{self.name:<52} {self.note}"
        parts = [f"{self.name:<52} {_short(self.value):>9} {self.unit:<7}"]
        if self.interval:
            parts.append(f"[{_short(self.interval[0])} .. {_short(self.interval[1])}]")
        if self.deviation is not None:
            parts.append(f"sd {_short(self.deviation)}")
        if self.floor is not None and self.ceiling is not None:
            parts.append(f"floor {_short(self.floor)} ceiling {_short(self.ceiling)}")
        if self.passed is not None:
            parts.append(f"bar {_short(self.bar or 0.0)}: {'met' if self.passed else 'MISSED'}")
        return "  ".join([*parts, *([self.note] if self.note else [])])


@dataclass(frozen=True)
class Results:
    """A whole run."""

    machine: Mapping[str, Fact]
    rows: tuple[Row, ...] = field(default=())

    def write(self, path: Path) -> None:
        """To a JSON file, whole or not at all."""
        write_json(path, {"format": FORMAT, "machine": dict(self.machine), "rows": [asdict(row) for row in self.rows]})

    @classmethod
    def read(cls, path: Path) -> "Results":
        """From a JSON file. Raises InvalidInput."""
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            if content["format"] != FORMAT:
                raise InvalidInput(f"{path}: results of another format; measure again with this version")
            rows = [Row(**{name: _tuple(value) for name, value in row.items()}) for row in content["rows"]]
            return cls(dict(content["machine"]), tuple(rows))
        except OSError as error:
            raise InvalidInput(f"{path}: cannot be opened ({error.strerror}); give a file written by --out") from None
        except (ValueError, KeyError, TypeError, AttributeError):
            raise InvalidInput(f"{path}: is not a file of results; give one written by --out") from None


def against(now: Results, before: Results) -> Iterator[str]:
    """Every number of this run beside the same one of an earlier run, as lines."""
    same = all(now.machine.get(fact) == before.machine.get(fact) for fact in ("cpu", "cores", "system"))
    yield "against an earlier run" + ("" if same else " on ANOTHER MACHINE: compare ratios and scores, not seconds")
    earlier = {(row.bench, row.name): row for row in before.rows}
    for row in now.rows:
        old = earlier.get((row.bench, row.name))
        if row.value is None or old is None or old.value is None:
            continue
        title = f"{row.bench}: {row.name}"
        if row.unit == "score":
            moved = f"{row.value - old.value:+.4f}"
        else:
            moved = f"x {row.value / old.value:.3f}" if old.value else "was 0"
        yield f"{title:<60} {_short(old.value):>9} -> {_short(row.value):>9} {row.unit:<7} {moved}  {_told(row, old)}"


def _told(row: Row, old: Row) -> str:
    """Whether two intervals leave it open that nothing has changed."""
    if row.interval is None or old.interval is None or row.value is None or old.value is None or not row.better:
        return ""
    if row.interval[0] <= old.interval[1] and old.interval[0] <= row.interval[1]:
        return "within the intervals"
    return "better" if (row.value > old.value) == (row.better == "higher") else "WORSE"


def machine() -> Mapping[str, Fact]:
    """Facts that explain a number: the machine, the code, the libraries; nothing that names whose machine it is."""
    return {
        "system": f"{platform.system()} {platform.machine()}",
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": 1,
        "load": round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None,
        "python": platform.python_version(),
        "commit": _commit(),
        **{name: _version(name) for name in _PACKAGES},
    }


def _cpu() -> str:
    facts = Path("/proc/cpuinfo")
    lines: Sequence[str] = facts.read_text(encoding="utf-8").splitlines() if facts.exists() else ()
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor()


def _commit() -> str:
    """The commit of the code that runs, with "-dirty" where files differ from it; empty outside a repository."""
    git = shutil.which("git")
    if git is None:
        return ""
    command = [git, "-C", str(Path(__file__).resolve().parent), "describe", "--always", "--dirty", "--abbrev=12"]
    told = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603  # nothing from outside
    return told.stdout.strip()


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"


def _tuple(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _short(value: float) -> str:
    if abs(value) >= 1000:  # noqa: PLR2004 - where decimals stop to matter
        return f"{value:,.0f}"
    return f"{value:.4f}" if abs(value) < 1 else f"{value:.2f}"
