"""Real tables to measure quality on, where they are: each becomes a study, its sites' rows and maybe a hold-out.

Looked for in the folder that SILOSYNTH_DATA names, else in ../shared/data beside the repository or beside the current
folder. None is part of this package.
"""

import importlib.resources
import importlib.util
import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from silosynth.common.study import Study
from silosynth.common.study_file import read_study
from silosynth.simulations import demo
from silosynth.simulations.partition import Uneven, assign, joined

_COUNTRIES: Final = 12
_TRAINED_ON: Final = 0.8  # of Adult
_ADULT_SITES: Final = 5
_BY_LABEL: Final = Uneven(_ADULT_SITES, 0.5, "income>50K")
_BY_LABEL_AND_MORE: Final = Uneven(_ADULT_SITES, 0.3, "relationship,income>50K")


@dataclass(frozen=True)
class Case:
    """What a simulation is given."""

    study: Study
    sites: Mapping[str, pd.DataFrame] = field(repr=False)
    holdout: pd.DataFrame | None = field(default=None, repr=False)


def adult(seed: int, split: Uneven = _BY_LABEL) -> Case | None:
    """Sites that differ in label and size; the research notes' test rows held out. None where it is not there."""
    path = _find("adult/pgm_adult.csv.gz")
    if path is None:
        return None
    study = defined("adult")
    table = _read(path)[list(study.schema.names)]
    order = np.random.RandomState(0).permutation(len(table))  # the split that others report on
    cut = int(_TRAINED_ON * len(table))
    train, test = (table.iloc[part].reset_index(drop=True) for part in (order[:cut], order[cut:]))
    ids = pd.Series(train.index.astype(str))
    named = assign(split, joined(train[list(split.columns)]), ids, seed)
    return Case(study, _grouped(train, named), test)


def adult_unlike(seed: int) -> Case | None:
    """Five sites that differ in what relates to what: each relationship with each label is spread by itself."""
    return adult(seed, _BY_LABEL_AND_MORE)


def ist(seed: int) -> Case | None:
    """The twelve countries with most patients, each a site. None where it is not there."""
    del seed  # the sites are real
    path = _find("ist/ist.csv.gz")
    if path is None:
        return None
    table = _read(path)
    largest = table["COUNTRY"].value_counts().index[:_COUNTRIES]
    table = table[table["COUNTRY"].isin(largest)]
    return Case(defined("ist"), _grouped(table, table["COUNTRY"]))


def randhie(seed: int, target: str = "visit") -> Case | None:
    """The demo's study and its six real sites. None where statsmodels, which ships the table, is not installed."""
    del seed
    if importlib.util.find_spec("statsmodels") is None:
        return None
    return Case(replace(demo.study(), target=target), demo.sites())


def defined(name: str) -> Study:
    """The study in NAME.toml beside this module."""
    text = (importlib.resources.files("silosynth.simulations") / "bench" / f"{name}.toml").read_text(encoding="utf-8")
    return read_study(text, source=f"{name}.toml")


def _read(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False)


def _grouped(table: pd.DataFrame, site: "pd.Series[str]") -> dict[str, pd.DataFrame]:
    return {str(name): rows.reset_index(drop=True) for name, rows in table.groupby(site)}


def _find(name: str) -> Path | None:
    named = os.environ.get("SILOSYNTH_DATA")
    beside = [Path(__file__).resolve().parents[2].parent, Path.cwd().parent, Path.cwd()]
    folders = [Path(named)] if named else [place / "shared" / "data" for place in beside]
    return next((folder / name for folder in folders if (folder / name).exists()), None)
