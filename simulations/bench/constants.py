"""Whether the constants of an engine's rule hold on tables that they were not chosen by: leave one table out.

    python -m silosynth.simulations.bench constants FOLDER [--tables T ...] [--epsilon E] [--seeds N]

Runs the engine with its defaults and with every constant changed by itself, as `bench quality` does and with the same
files. Then, for every table: the variant that keeps the most signal on average over all other tables, and how much less
of it that variant keeps here than the defaults do. Signal kept is (AUC - .5) / (ceiling - .5), a mean over seeds.
"""

import argparse
import statistics
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from silosynth.simulations.bench import record, record_table
from silosynth.simulations.bench.trial import Outcome

TABLES: Final = tuple(f"{name}@8000" for name in (*record.AGAINST, "diabetes130", "randhie"))
ENGINE: Final = "marginals"

VARIED: Final[Mapping[str, tuple[float, ...]]] = {
    "share_one_ways": (0.1, 0.3),
    "share_pairs": (0.04, 0.15),
    "share_target": (0.0, 0.1),
    "rounds": (1, 3),
    "usefulness": (2.5, 10.0),
    "cells": (50_000, 200_000),
    "pair_bins": (4, 8),
}
"""Values tried in place of each default, below and above it."""


@dataclass(frozen=True)
class Grid:
    """Signal kept, `kept[table][variant]`: for the same variants on every table. The first variant is the default."""

    kept: Mapping[str, Mapping[str, float]] = field(repr=False)

    @classmethod
    def of(cls, outcomes: Sequence[Outcome], tables: Sequence[str], epsilon: float) -> "Grid":
        """What is there of the engine's variants on all of these tables. Raises ValueError where nothing is."""
        found: dict[str, dict[str, float]] = {table: {} for table in tables}
        for line in record_table.lines(outcomes):
            if (
                line.table in found
                and line.epsilon == epsilon
                and line.contestant in variants()
                and "kept" in line.means
            ):
                found[line.table][line.contestant] = line.means["kept"].value
        shared = [name for name in variants() if all(name in of_table for of_table in found.values())]
        if shared[:1] != [ENGINE]:
            raise ValueError("the defaults were not measured on every table")
        return cls({table: {name: of_table[name] for name in shared} for table, of_table in found.items()})

    def chosen_without(self, table: str) -> str:
        """The variant that keeps the most on all other tables; the default in a tie."""
        others = [of_table for name, of_table in self.kept.items() if name != table]
        return max(self.kept[table], key=lambda variant: statistics.fmean(one[variant] for one in others))

    def loss(self, table: str) -> float:
        """Signal that the defaults keep of a table, less what the variant chosen without it keeps."""
        return self.kept[table][ENGINE] - self.kept[table][self.chosen_without(table)]

    def as_markdown(self) -> Iterator[str]:
        """Every variant on every table, then what is chosen without each."""
        names = list(self.kept)
        yield f"| variant | {' | '.join(names)} | mean |"
        yield f"| --- |{' --- |' * (len(names) + 1)}"
        for variant in self.kept[names[0]]:
            row = [self.kept[table][variant] for table in names]
            cells = " | ".join(f"{value:.3f}" for value in (*row, statistics.fmean(row)))
            yield f"| {variant.partition('[')[2].rstrip(']') or 'defaults'} | {cells} |"
        yield ""
        yield "| left out | chosen by the others | loss of signal kept |"
        yield "| --- | --- | --- |"
        for table in names:
            without = self.chosen_without(table).partition("[")[2].rstrip("]") or "defaults"
            yield f"| {table} | {without} | {self.loss(table):+.3f} |"


def variants() -> tuple[str, ...]:
    """The engine by itself, then with one constant changed."""
    changed = [f"{ENGINE}[{name}={value:g}]" for name, values in VARIED.items() for value in values]
    return ENGINE, *changed


def main(arguments: Sequence[str]) -> int:
    """Run what is not there yet, print what follows. Exit code 1 where a trial broke."""
    parser = argparse.ArgumentParser("python -m silosynth.simulations.bench constants", description=__doc__)
    parser.add_argument("folder", type=Path, help="of outcomes; new, or begun before")
    parser.add_argument("--tables", nargs="+", default=TABLES)
    parser.add_argument("--epsilon", type=float, default=1.0)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--any-code", action="store_true", help="let outcomes of other code stand")
    asked = parser.parse_args(arguments)
    if len(asked.tables) < 2:  # noqa: PLR2004
        parser.error("--tables: at least two, one to leave out")
    words = [str(asked.folder), "--tables", *asked.tables, "--contestants", *variants(), "--seeds", str(asked.seeds)]
    words += ["--only", f"*/*/{asked.epsilon:g}", *(["--any-code"] if asked.any_code else [])]
    code = record.main(words)
    try:
        grid = Grid.of(record.Record(asked.folder).outcomes(), asked.tables, asked.epsilon)
    except ValueError as error:
        print(error, file=sys.stderr)
        return 1
    print("\n".join(grid.as_markdown()))
    return code
