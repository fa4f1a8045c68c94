"""The rows of a simulation: read, held against the schema, spread over sites, and some of them held back to score with.

Only a simulation ever sees rows of several sites together; that is why it can say what they score.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, TypeAlias

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from silosynth.client.sources.keyed import split_holdout
from silosynth.client.sources.split import parted
from silosynth.client.sources.table import Table, read_table
from silosynth.common.engine import Parted
from silosynth.common.errors import InvalidInput
from silosynth.common.privacy import Part
from silosynth.common.progress import Progress
from silosynth.common.scale import MICRO_BATCH
from silosynth.common.schema import ColumnCounts
from silosynth.common.study import Member, Study, Trust
from silosynth.common.study_file import read_study
from silosynth.simulations.partition import assign, check_name, joined, parse

Rows: TypeAlias = pd.DataFrame | Path | str

_FEWEST_SITES: Final = 3
_FEW: Final = 5


@dataclass(frozen=True)
class Typed:
    """Typed rows and whose they are."""

    frame: pd.DataFrame = field(repr=False)
    ids: "pd.Series[str]" = field(repr=False)

    def where(self, mask: "np.ndarray[tuple[int], np.dtype[np.bool_]]") -> "Typed":
        """The rows that `mask` picks."""
        return Typed(self.frame[mask].reset_index(drop=True), self.ids[mask].reset_index(drop=True))

    def one_each(self, seed: int) -> "Typed":
        """A row of every unit, at random: everybody counts once, as in the sums that sites answer with."""
        order = np.random.default_rng([seed, 0x01]).permutation(len(self.frame))
        _, first = np.unique(self.ids.to_numpy()[order], return_index=True)
        return self.where(np.isin(np.arange(len(order)), order[first]))


@dataclass(frozen=True)
class Cohort:
    """What sites answer with, and what they are scored against."""

    units: Mapping[str, Parted] = field(repr=False)
    train: Typed = field(repr=False)
    holdout: Typed = field(repr=False)
    roster: tuple[Member, ...]
    notes: tuple[str, ...]
    warnings: tuple[str, ...]
    """Those of the notes that a launch would refuse."""
    gaps: tuple[str, ...] = ()
    """Sites without a row, and columns without a value at a site: more often a mistake than the truth."""
    sites: tuple[NDArray[np.str_], NDArray[np.str_]] | None = field(default=None, repr=False)
    """Where each row of `train` comes from, and of `holdout`; empty words where a hold-out of its own does not say."""


def study_of(study: Study | Path | str) -> Study:
    """A study, or the one in the file at a path. Raises InvalidInput."""
    if isinstance(study, Study):
        return study
    path = Path(study)
    try:
        return read_study(path.read_text(encoding="utf-8"), source=str(path))
    except OSError as error:
        raise InvalidInput(f"{path}: cannot be opened ({error.strerror}); check the path of the study file") from None
    except UnicodeDecodeError:
        raise InvalidInput(f"{path}: is not text in UTF-8; a study is a TOML file") from None


def gather(study: Study, sites: Mapping[str, Rows], holdout: Rows | None, seed: int, progress: Progress) -> Cohort:
    """The cohort of sites that come with their rows. Raises InvalidInput."""
    tables = {}
    for count, (name, rows) in enumerate(sites.items()):
        progress("read", count, len(sites), check_name(name))
        tables[name] = _table(study, rows, name)
    notes = _counted(study, tables.values())
    return _cohort(
        study, {name: Typed(t.frame, t.unit_ids) for name, t in tables.items()}, _held(study, holdout), seed, notes
    )


def split(study: Study, data: Path, spec: str, holdout: Path | None, seed: int, progress: Progress) -> Cohort:
    """The cohort of one table that is spread over sites as `spec` says (see partition). Raises InvalidInput."""
    by = parse(spec)
    progress("read", 0, 0, data.name)
    table = read_table(data, study.schema, study.unit, also=by.columns)
    named = assign(by, joined(table.also), table.unit_ids, seed)
    whole = Typed(table.frame, table.unit_ids)
    sites = {name: whole.where((named == name).to_numpy()) for name in sorted(named.unique())}
    return _cohort(study, sites, _held(study, holdout), seed, _counted(study, [table]))


def _cohort(study: Study, sites: Mapping[str, Typed], held: Typed | None, seed: int, notes: tuple[str, ...]) -> Cohort:
    _check_sites(study, len(sites))
    key = hashlib.sha256(f"silosynth/hold-out\n{seed}".encode()).digest()
    share = study.holdout if held is None else 0.0
    train, rest = {}, []
    for name, rows in sites.items():
        out = split_holdout(rows.ids, key, share)
        train[name] = rows.where(~out)
        rest.append(rows.where(out))
    units = {name: parted(study, rows.frame, rows.ids, key, share) for name, rows in sites.items()}
    pooled = _joined(train.values())
    if not len(pooled.frame):
        raise InvalidInput("no rows to learn from: give more rows, or hold fewer of them back")
    empty = [name for name, own in units.items() if not len(own.train.owner) and len(sites[name].frame)]
    quiet = [f"site {name}: no rows are left to learn from; it answers with noise alone" for name in empty]
    unread = _unreviewed(study)
    gaps = tuple(gap for name, own in sites.items() for gap in _gaps(name, own.frame))
    return Cohort(
        units=units,
        train=pooled,
        holdout=_joined(rest) if held is None else held,
        roster=tuple(Member(name, _capacity(own)) for name, own in units.items()),
        notes=(*unread, *notes, *quiet, *gaps),
        warnings=unread,
        gaps=gaps,
        sites=(_origins(train), _origins(dict(zip(sites, rest, strict=True)) if held is None else {"": held})),
    )


def _origins(parts: Mapping[str, Typed]) -> NDArray[np.str_]:
    return np.repeat(np.array(list(parts), dtype=np.str_), [len(part.frame) for part in parts.values()])


def check_gaps(cohort: Cohort, *, allowed: bool) -> None:
    """Raise InvalidInput for gaps nobody has said are true. A launch never asks: there it would tell about rows."""
    if cohort.gaps and not allowed:
        more = f" (and {len(cohort.gaps) - 1} more)" if len(cohort.gaps) > 1 else ""
        raise InvalidInput(
            f"{cohort.gaps[0]}{more}. If that is so, say it with --allow-gaps (allow_gaps=True): what is missing then "
            "counts as missing; if not, look at the file, the column's name and its missing codes"
        )


def _gaps(site: str, rows: pd.DataFrame) -> list[str]:
    if rows.empty:
        return [f"site {site} has no rows"]
    nothing = rows.columns[rows.isna().all()]
    return [f"site {site}: column {column!r} is missing in every row" for column in nothing]


def _check_sites(study: Study, sites: int) -> None:
    if study.trust is not Trust.SECURE_SUM:
        if not sites:
            raise InvalidInput("no sites: give at least one")
        return
    if sites < _FEWEST_SITES:
        raise InvalidInput(
            f"{sites} sites are too few for secure sums: with fewer than {_FEWEST_SITES}, a site can subtract its own "
            'answer and see the other. Bring more sites, or set trust = "local" under [study]: then every site adds '
            "all of the noise itself"
        )
    if sites - study.budget.colluders < _FEWEST_SITES - 1:
        raise InvalidInput(
            f"{study.budget.colluders} colluders among {sites} sites leave fewer than two honest ones to share the "
            'noise: bring more sites, lower `colluders` under [privacy], or set trust = "local" under [study]'
        )


def _table(study: Study, rows: Rows, name: str) -> Table:
    if not isinstance(rows, pd.DataFrame):
        return read_table(Path(rows), study.schema, study.unit)
    if rows.empty and set(study.schema.names) <= set(map(str, rows.columns)):
        nothing = study.schema.decode(
            np.zeros((0, len(study.schema.columns)), dtype=np.int32), np.random.default_rng(0)
        )
        return Table(nothing, pd.Series([], dtype=str), (ColumnCounts(),) * len(study.schema.columns), pd.DataFrame())
    if not rows.columns.is_unique:
        raise InvalidInput(f"site {name}: two columns of the frame have one name; rename one")
    # A frame takes the way of a file, so that one reader decides what a cell means.
    with TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.parquet"
        text = rows.rename(columns=str)
        for column in text.columns[[dtype == np.dtype(object) for dtype in text.dtypes]]:
            text[column] = text[column].map(str, na_action="ignore")
        text.to_parquet(path, index=False)
        return read_table(path, study.schema, study.unit)


def _held(study: Study, holdout: Rows | None) -> Typed | None:
    if holdout is None:
        return None
    table = _table(study, holdout, "hold-out")
    return Typed(table.frame, table.unit_ids)


def _joined(parts: Iterable[Typed]) -> Typed:
    parts = list(parts)
    return Typed(
        pd.concat([part.frame for part in parts], ignore_index=True),
        pd.concat([part.ids for part in parts], ignore_index=True),
    )


def _capacity(own: Parted) -> int:
    """What a site declares here: rows of its larger part, up to the next full micro-batch, which costs no work.

    Taken from data, as only a simulation may: between institutions a person declares it. No epsilon covers it.
    """
    rows = max(len(own.of(part).owner) for part in Part)
    return max(1, -(-rows // MICRO_BATCH)) * MICRO_BATCH


def _unreviewed(study: Study) -> tuple[str, ...]:
    names = study.schema.unreviewed
    if not names:
        return ()
    few = f"{', '.join(names[:_FEW])}{', ...' if names[_FEW:] else ''}"
    told = "epsilon does not cover what they tell, and a launch would refuse them"
    return (f"bounds or codes of {len(names)} columns were taken from data and reviewed by nobody ({few}): {told}",)


def _counted(study: Study, tables: Iterable[Table]) -> tuple[str, ...]:
    """The local data check in words: what did not fit the schema, and what became of it."""
    notes = []
    tables = list(tables)
    for at, column in enumerate(study.schema.columns):
        counts = sum((table.counts[at] for table in tables), ColumnCounts())
        if counts.out_of_bounds:
            notes.append(f"column {column.name!r}: {counts.out_of_bounds} values outside its bounds, moved to them")
        if counts.unknown:
            notes.append(
                f"column {column.name!r}: {counts.unknown} values outside its codes, counted as {column.other}"
            )
    return (*dict.fromkeys(note for table in tables for note in table.notes), *notes)
