"""Real rows for three sites, one in CSV, one in Parquet, one in PostgreSQL where there is a server."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
import pandas as pd

from silosynth.common.study_file import read_study
from silosynth.simulations import demo

STUDY: Final = Path(__file__).with_name("study.toml")
SITES: Final = {"north": "site-1", "south": "site-2", "west": "site-6"}
FILED: Final = ("north", "south")
"""Sites whose rows are a file, on every machine."""

_EXACT: Final = ("xage", "income", "drugdol")
_CANARY: Final = re.compile(r"[0-9]{3,}[.][0-9]{2,}")
_LENGTH: Final = 8
"""Characters of a canary. With three digits before the point, no time of day in a header is one by chance."""


@dataclass(frozen=True)
class Rows:
    """What the lab's sites hold: a table of text cells for each, the study's columns and its unit."""

    tables: dict[str, pd.DataFrame]

    def canaries(self, site: str, count: int) -> Sequence[float]:
        """Numbers of a site that were recorded to many digits, at most `count`."""
        cells = set(np.concatenate([self.tables[site][name] for name in _EXACT]))
        exact = sorted(cell for cell in cells if len(cell) >= _LENGTH and _CANARY.fullmatch(cell))
        return [float(cell) for cell in np.random.default_rng(1).permutation(exact)[:count]]


def real_rows() -> Rows:
    """The rows of the lab. Raises NotPossible where the package that ships them is not installed."""
    study = read_study(STUDY.read_text(encoding="utf-8"), source=STUDY.name)
    columns = [study.unit, *study.schema.names]
    tables, whole = demo.sites(), demo.recorded()
    for name in _EXACT:  # the demo rounds them
        for site, exact in whole.groupby("site")[name]:
            tables[f"site-{site}"][name] = exact.to_numpy()
    return Rows({name: tables[origin][columns].astype(str) for name, origin in SITES.items()})
