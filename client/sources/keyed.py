"""Choices among units that nobody without the site's key can predict, and that do not depend on other units.

Formal guarantee: each choice is a function of the key and of one unit alone (its identifier, the order of its own
rows), so adding or removing another unit changes none of them.
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
    held = pd.Series([hashlib.blake2b(row, digest_size=16).hexdigest() for row in np.ascontiguousarray(codes)])
    return held + "-" + held.groupby(held).cumcount().astype(str)


def split_holdout(ids: "pd.Series[str]", key: bytes, share: float) -> Mask:
    """Which rows are held out, shape (rows,): about `share` of the units, each wholly on one side."""
    owner, units = pd.factorize(ids)
    held = _fractions(key, pd.Index([f"hold-out\x00{unit}" for unit in units])) < share
    return np.asarray(held[owner], dtype=np.bool_)


def keep_at_most(ids: "pd.Series[str]", key: bytes, rows: int) -> Mask:
    """Which rows stay when a unit may have `rows` of them, shape (rows,); a longer unit loses rows at random."""
    keep = np.ones(len(ids), dtype=np.bool_)
    many = np.flatnonzero(ids.map(ids.value_counts()).to_numpy() > rows)
    if len(many):
        unit = ids.iloc[many].reset_index(drop=True)
        words = "row\x00" + unit + "\x00" + unit.groupby(unit).cumcount().astype(str)
        luck = pd.Series(_fractions(key, words))
        keep[many] = luck.groupby(unit).rank(method="first").to_numpy() <= rows
    return keep
