"""From typed values to a table people can open: whole numbers, ISO dates, the codes of the study file, empty cells.

The type of a presented column follows from the schema alone, so that a table written block by block has one type.
"""

import re
from typing import Literal

import numpy as np
import pandas as pd

from silosynth.common.arrays import Real, Values
from silosynth.common.column import Column, Kind

_INTEGER_CODE = re.compile(r"-?(0|[1-9]\d{0,17})")


def present_column(column: Column, typed: Values) -> Values:
    """One column as it is published: Int64, float64 or string, missing as an empty cell.

    Codes that are all integers give integers; OTHER, which is none, is then an empty cell too.
    """
    if column.coded:
        return _codes(column, typed)
    values = typed.to_numpy(np.float64)
    match column.kind:
        case Kind.INTEGER:
            return pd.Series(values).round().astype("Int64")
        case Kind.DATE:
            return _moments(values, 86400, "D")
        case Kind.DATETIME:
            return _moments(values, 1, "s")
        case _:
            return pd.Series(values if column.decimals is None else np.round(values, column.decimals))


def whole_codes(column: Column) -> bool:
    """Whether a coded column is published as whole numbers."""
    return all(_INTEGER_CODE.fullmatch(code) for code in column.codes)


def _codes(column: Column, typed: Values) -> Values:
    cells = typed.cat.codes.to_numpy(np.int64)  # -1 for missing, which picks the last entry below
    if whole_codes(column):
        numbers = pd.array([*(int(code) for code in column.codes), None, None], dtype="Int64")
        return pd.Series(numbers[cells])
    return pd.Series(pd.array([*column.labels, None], dtype="string")[cells])


def _moments(values: Real, seconds: int, unit: Literal["D", "s"]) -> Values:
    absent = np.isnan(values)
    moments = (np.where(absent, 0, values) * seconds).astype(np.int64).astype("datetime64[s]")
    words = np.datetime_as_string(moments, unit=unit).astype(object)
    words[absent] = None
    return pd.Series(pd.array(words, dtype="string"))
