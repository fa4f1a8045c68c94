"""The array types that cross module borders, with their shape and meaning."""

from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

Codes: TypeAlias = NDArray[np.int32]
"""Fine cells of rows under a Schema, shape (rows, columns); column j holds values in [0, schema.sizes[j])."""

Index: TypeAlias = NDArray[np.int64]
"""Positions: of cells in a vector, of units among rows."""

Vector: TypeAlias = NDArray[np.int64]
"""An answer or a total: integers, in the grid units of its task, shape (size,)."""

Real: TypeAlias = NDArray[np.float64]
"""Ordinary numbers, for what is already private or public."""

Weights: TypeAlias = NDArray[np.float32]
"""A flat vector of network parameters, shape (parameters,)."""

Values: TypeAlias = "pd.Series[Any]"
"""One column of a table: text, typed values, or values as they are published."""
