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

from silosynth.common.schema import Schema
from silosynth.common.study import Study
from silosynth.common.study_file import read_study
from silosynth.simulations import demo
from silosynth.simulations.partition import Uneven, assign, joined

_COUNTRIES: Final = 12
_TRAINED_ON: Final = 0.8  # of Adult
_DEALT_SITES: Final = 5
_BY_LABEL: Final = Uneven(_DEALT_SITES, 0.5, "income>50K")
_BY_LABEL_AND_MORE: Final = Uneven(_DEALT_SITES, 0.3, "relationship,income>50K")
_ELSEWHERE: Final = "ELSEWHERE"
_WORKING_AGE: Final = 16
_ICD_9: Final[Mapping[int, str]] = {
    1: "infectious",
    140: "neoplasms",
    240: "endocrine",
    250: "diabetes",
    251: "endocrine",
    280: "blood",
    290: "mental",
    320: "nervous",
    390: "circulatory",
    460: "respiratory",
    520: "digestive",
    580: "genitourinary",
    630: "pregnancy",
    680: "skin",
    710: "musculoskeletal",
    740: "congenital",
    760: "perinatal",
    780: "symptoms",
    800: "injury",
}
"""The first category of each chapter of ICD-9; diabetes, which all these patients have, by itself."""


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


def ist_whole(seed: int, target: str = "DIED") -> Case | None:
    """All its patients: the countries of `ist`, and all others as one site. Another `target` may stand for DIED."""
    del seed
    path = _find("ist/ist.csv.gz")
    if path is None:
        return None
    table, study = _read(path), defined("ist")
    largest = table["COUNTRY"].value_counts().index[:_COUNTRIES]
    columns = [replace(one, name=target) if one.name == study.target else one for one in study.schema.columns]
    study = replace(study, target=target, schema=Schema(tuple(columns)))
    return Case(study, _grouped(table, table["COUNTRY"].where(table["COUNTRY"].isin(largest), _ELSEWHERE)))


def credit_default(seed: int) -> Case | None:
    """Five sites that differ in size and in how often clients default. None where it is not there."""
    path = _find("credit_default/UCI_Credit_Card.csv.gz")
    return None if path is None else spread(defined("credit_default"), _read(path), seed)


def sdnist(seed: int) -> Case | None:
    """Its twenty areas, each a site. None where it is not there."""
    del seed
    path = _find("sdnist_national2019/national2019.csv.gz")
    if path is None:
        return None
    table = _read(path)
    table = table[pd.to_numeric(table["AGEP"]) >= _WORKING_AGE]
    table["HIGH_INCOME"] = _flag(table["PINCP_DECILE"].isin(["8", "9"]))
    return Case(defined("sdnist"), _grouped(table, table["PUMA"]))


def diabetes130(seed: int) -> Case | None:
    """Five sites that differ in size and in how often patients come back. None where it is not there."""
    path = _find("diabetes130/diabetic_data.csv.gz")
    if path is None:
        return None
    table = _read(path, missing="?")
    table["READMITTED_30"] = _flag(table["readmitted"] == "<30")
    for column in ("diag_1", "diag_2", "diag_3"):
        table[column] = chapters(table[column])
    return spread(defined("diabetes130"), table, seed)


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


def _read(path: Path, missing: str | None = None) -> pd.DataFrame:
    return pd.read_csv(path, dtype=str, keep_default_na=False, na_values=missing)


def spread(study: Study, table: pd.DataFrame, seed: int) -> Case:
    """Five sites, Dirichlet .5 on the target; a unit's rows stay together."""
    split = Uneven(_DEALT_SITES, 0.5, str(study.target))
    ids = pd.Series(table.index.astype(str)) if study.unit is None else table[study.unit]
    return Case(study, _grouped(table, assign(split, joined(table[list(split.columns)]), ids, seed)))


def _flag(true: "pd.Series[bool]") -> "pd.Series[str]":
    return true.map({True: "1", False: "0"})


def chapters(diagnoses: "pd.Series[str]") -> "pd.Series[str]":
    """Chapters of ICD-9 codes such as 250.83, V57 or E885; missing stays missing."""
    firsts = np.array(list(_ICD_9))
    numbers = pd.to_numeric(diagnoses.str.partition(".")[0], errors="coerce")
    at = np.searchsorted(firsts, numbers.fillna(1), side="right") - 1
    names = pd.Series(np.array(list(_ICD_9.values()))[at], index=diagnoses.index, dtype=object)
    names = names.mask(diagnoses.str.startswith("E", na=False), "external")
    names = names.mask(diagnoses.str.startswith("V", na=False), "supplementary")
    return names.where(diagnoses.notna(), np.nan)


def _grouped(table: pd.DataFrame, site: "pd.Series[str]") -> dict[str, pd.DataFrame]:
    return {str(name): rows.reset_index(drop=True) for name, rows in table.groupby(site)}


def _find(name: str) -> Path | None:
    named = os.environ.get("SILOSYNTH_DATA")
    beside = [Path(__file__).resolve().parents[2].parent, Path.cwd().parent, Path.cwd()]
    folders = [Path(named)] if named else [place / "shared" / "data" for place in beside]
    return next((folder / name for folder in folders if (folder / name).exists()), None)
