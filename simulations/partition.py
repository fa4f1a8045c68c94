"""How one table becomes many sites: by a column, evenly, or unevenly on purpose. A unit's rows stay together.

Splits: `HOSPITAL` (a site for each value of that column), `5` (five sites, units dealt at random),
`5:dirichlet=0.5:DIED` (five sites; for each value of DIED, its units spread over sites with Dirichlet(0.5) shares, so
that sites differ in label and in size: Hsu, Qi, Brown 2019), `5:dirichlet=0.5:SEX,DIED` (the same for each combination
of values).
"""

import re
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
import pandas as pd

from silosynth.common.errors import InvalidData, InvalidInput

MAX_SITES: Final = 1000

_EVEN: Final = re.compile(r"[0-9]+")
_UNEVEN: Final = re.compile(r"([0-9]+):dirichlet=([^:]+):(.+)")
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,63}")


@dataclass(frozen=True)
class ByColumn:
    """A site for each value of `column`."""

    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """What must be known of a row."""
        return (self.column,)


@dataclass(frozen=True)
class Even:
    """`sites` random sites of equal size."""

    sites: int
    columns: tuple[str, ...] = ()


@dataclass(frozen=True)
class Uneven:
    """`sites` random sites whose shares of each value of a column follow a Dirichlet distribution.

    `column`: its name, or several with commas between them: then each combination of values is spread by itself.
    """

    sites: int
    alpha: float
    column: str

    @property
    def columns(self) -> tuple[str, ...]:
        """What must be known of a row."""
        return tuple(dict.fromkeys(self.column.split(",")))


Split: TypeAlias = ByColumn | Even | Uneven


def parse(text: str) -> Split:
    """The split that `--sites` names. Raises InvalidInput."""
    if _EVEN.fullmatch(text):
        return Even(_count(text))
    if found := _UNEVEN.fullmatch(text):
        try:
            alpha = float(found[2])
        except ValueError:
            alpha = -1.0
        if not 0 < alpha < np.inf:
            raise InvalidInput(f"--sites {text}: the Dirichlet parameter must be a positive number, such as 0.5")
        return Uneven(_count(found[1]), alpha, found[3])
    if ":dirichlet" in text:
        raise InvalidInput(f"--sites {text}: write it as N:dirichlet=A:COLUMN, for example 5:dirichlet=0.5:DIED")
    return ByColumn(text)


def assign(split: Split, values: "pd.Series[str] | None", ids: "pd.Series[str]", seed: int) -> "pd.Series[str]":
    """The site of each row, by name.

    Args:
        split: from `parse`.
        values: the text of the split's column, one a row (of several columns: `joined`); None for Even.
        ids: the unit of each row; rows of a unit go to one site, but for ByColumn, where the table says who has it.
        seed: of the random splits.

    Raises:
        InvalidData: a row does not say which site has it, or a value cannot be the name of a folder.
    """
    if isinstance(split, ByColumn):
        return _by_column(split.column, values)
    rng = np.random.default_rng([seed, 0x51])
    unit_of_row, units = pd.factorize(ids)
    order = rng.permutation(len(units))
    site_of_unit = np.empty(len(units), dtype=np.int64)
    if isinstance(split, Even) or values is None:
        site_of_unit[order] = np.arange(len(units)) % split.sites
    else:
        first_row = np.zeros(len(units), dtype=np.int64)
        first_row[unit_of_row[::-1]] = np.arange(len(ids))[::-1]
        label = pd.factorize(values.fillna("").iloc[first_row])[0]
        for value in range(label.max(initial=-1) + 1):
            members = order[label[order] == value]
            edges = np.cumsum(rng.dirichlet(np.full(split.sites, split.alpha)))[:-1] * len(members)
            site_of_unit[members] = np.searchsorted(edges, np.arange(len(members)), side="right")
    names = np.array(site_names(split.sites))
    return pd.Series(names[site_of_unit[unit_of_row]], index=ids.index, dtype=object)


def joined(columns: pd.DataFrame) -> "pd.Series[str] | None":
    """One text a row that tells combinations of values apart; None without columns."""
    if len(columns.columns) <= 1:
        return columns.iloc[:, 0] if len(columns.columns) else None
    numbers = columns.fillna("").groupby(list(columns.columns), sort=False).ngroup()
    return numbers.astype(str)


def site_names(sites: int) -> list[str]:
    """Names of sites that have none, in order."""
    return [f"site-{i + 1:0{len(str(sites))}d}" for i in range(sites)]


def check_name(name: str) -> str:
    """`name`, if a site can have it. Raises InvalidInput."""
    if not _NAME.fullmatch(name) or name.rstrip(" .") != name:
        raise InvalidInput(
            f"{name!r} cannot name a site: a name is at most 64 letters, digits, spaces, points, hyphens, underscores, "
            "the first a letter or digit; rename it"
        )
    return name


def _by_column(column: str, values: "pd.Series[str] | None") -> "pd.Series[str]":
    text = pd.Series(dtype=object) if values is None else values.fillna("").str.strip()
    if (empty := np.flatnonzero(text == "")).size:
        raise InvalidData(
            f"column {column!r}, row {empty[0] + 1}: no site ({empty.size} such rows); every row must say which site "
            "has it: fill it in or leave the row out"
        )
    if text.nunique() > MAX_SITES:
        raise InvalidInput(
            f"--sites {column}: more than {MAX_SITES} sites; name the column that says which site has a row"
        )
    for name in text.unique():
        check_name(name)
    lower = pd.Series(text.unique()).str.lower()
    if lower.duplicated().any():
        raise InvalidData(f"column {column!r}: two sites differ only in upper and lower case; spell each site one way")
    return text


def _count(text: str) -> int:
    sites = int(text)
    if not 1 <= sites <= MAX_SITES:
        raise InvalidInput(f"--sites {text}: between 1 and {MAX_SITES} sites")
    return sites
