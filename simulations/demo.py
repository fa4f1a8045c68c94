"""The demo: the RAND Health Insurance Experiment, real rows of six real sites, from a package that ships them.

The study file beside this module is an ordinary one. Here the table is only brought into its shape: whole numbers where
the study asks for no more, probabilities, costs and visits to yes or no, three indicators of health to one code.
"""

import importlib.resources
import importlib.util
from typing import Any, Final

import numpy as np
import pandas as pd

from silosynth.common.errors import NotPossible
from silosynth.common.study import Study
from silosynth.common.study_file import read_study

_WHOLE: Final = ("mdeoff", "xage", "educdec", "income", "mhi", "disea", "ghindx", "drugdol")
_LIKELY: Final = 0.5


def study() -> Study:
    """The demo's study."""
    text = (importlib.resources.files("silosynth.simulations") / "demo.toml").read_text(encoding="utf-8")
    return read_study(text, source="demo.toml")


def recorded() -> pd.DataFrame:
    """The whole table as it was published, as text. Raises NotPossible where the package that ships it is missing."""
    if importlib.util.find_spec("statsmodels") is None:
        raise NotPossible(
            "the demo's table comes with statsmodels, which is not installed: pip install 'silosynth[demo]'"
        )
    resource = importlib.resources.files("statsmodels") / "datasets" / "randhie" / "src" / "randhie.csv"
    with resource.open(encoding="ascii") as file:
        return pd.read_csv(file, dtype=str, keep_default_na=False)


def sites() -> dict[str, pd.DataFrame]:
    """The rows of each site, as text. Raises NotPossible, as `recorded` does."""
    table = recorded()
    rated = [table[column] == "1" for column in ("hlthg", "hlthf", "hlthp")]
    table["health"] = np.select(rated, ["good", "fair", "poor"], "excellent")
    table["inpatient"] = _yes(table["inpdol"], 0.0)
    table["visit"] = _yes(table["mdvis"], 0.0)
    for column in ("black", "physlm"):
        table[column] = _yes(table[column], _LIKELY)
    for column in _WHOLE:
        table[column] = pd.to_numeric(table[column]).round().astype("Int64").astype(object)
    return {f"site-{name}": rows.reset_index(drop=True) for name, rows in table.groupby("site")}


def _yes(numbers: "pd.Series[str]", above: float) -> "np.ndarray[Any, np.dtype[np.str_]]":
    return np.where(pd.to_numeric(numbers) > above, "true", "false")
