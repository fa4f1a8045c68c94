"""Choices among units that nobody without the site's key can predict, and that do not depend on other units.

Formal guarantee: each choice is a function of the key and of one unit alone: its identifier, and what its rows hold. It
is none of the order in which they come, which a database, or whatever wrote a file, makes from all rows together. So
adding or removing another unit changes no choice.
"""

import hashlib
import hmac

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from silosynth.common.arrays import Codes, Real

Mask = NDArray[np.bool_]


def _fractions(key: bytes, words: "pd.Series[str] | pd.Index[str]") -> Real:
    """HMAC-SHA256 of each text as a number in [0, 1)."""
    first = [hmac.digest(key, word.encode(), "sha256")[:8] for word in words]
    return np.frombuffer(b"".join(first), dtype=">u8").astype(np.float64) / 2.0**64


def names_of_rows(codes: Codes) -> "pd.Series[str]":
    """Identifiers of rows that are persons, shape (rows,): what a row holds, and how many before it hold the same.

    Not their numbers: one row more would rename every row below it, and with the names all choices would change.
    """
    held = _digests(codes)
    return held + "-" + held.groupby(held).cumcount().astype(str)


def _digests(codes: Codes) -> "pd.Series[str]":
    """What rows hold, as 64 hexadecimal digits each."""
    return pd.Series([hashlib.sha256(row).hexdigest() for row in np.ascontiguousarray(codes)], dtype=object)


def split_holdout(ids: "pd.Series[str]", key: bytes, share: float) -> Mask:
    """Which rows are held out, shape (rows,): about `share` of the units, each wholly on one side."""
    owner, units = pd.factorize(ids)
    held = _fractions(key, pd.Index([f"hold-out\x00{unit}" for unit in units])) < share
    return np.asarray(held[owner], dtype=np.bool_)


def keep_at_most(ids: "pd.Series[str]", codes: Codes, key: bytes, rows: int) -> Mask:
    """Which rows stay when a unit may have `rows` of them, shape (rows,); a longer unit loses rows at random.

    A row's lot is drawn by what it holds, `codes` of shape (rows, columns), and by how many of its unit's rows before
    it hold the same: in another order the same rows stay, or their equals.
    """
    keep = np.ones(len(ids), dtype=np.bool_)
    many = np.flatnonzero(ids.map(ids.value_counts()).to_numpy() > rows)
    if len(many):
        unit = ids.iloc[many].reset_index(drop=True)
        row = _digests(codes[many]) + unit  # without a NUL, up to which alone pandas tells texts apart
        number = row.groupby(row).cumcount()
        words = [f"row\x00{held}\x00{at}" for held, at in zip(row.tolist(), number.tolist(), strict=True)]
        lots = [hmac.digest(key, word.encode(), "sha256") for word in words]  # whole: no two are one
        drawn = sorted(range(len(lots)), key=lots.__getitem__)
        unit = unit.iloc[drawn]
        keep[many[drawn]] = unit.groupby(unit).cumcount().to_numpy() < rows
    return keep
