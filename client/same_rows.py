"""A study whose rows are persons is answered with the same rows from its first answer to its last.

Which part a row is in follows from what it holds (sources/split.py). A row that holds something else after a restart is
another unit: as what it was it may have been learnt from, as what it is it may be held out, and its person would pay
for both. Rows with a person key may change: a person's part does not.
"""

import hashlib
import hmac
from typing import TYPE_CHECKING

from silosynth.client.home import write_whole
from silosynth.common.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd


def check_same(path: "Path", names: "pd.Series[str]", key: bytes) -> None:
    """Keep a digest of all rows under `key` at `path`, or compare with the one that is there.

    `names`: of the rows, by what they hold (keyed.names_of_rows); their order does not matter. Raises InvalidInput.
    """
    held = hashlib.sha256("\n".join(sorted(names)).encode()).digest()
    digest = hmac.digest(key, b"silosynth/same rows\n" + held, "sha256").hex()
    if not path.exists():
        path.parent.mkdir(mode=0o700, exist_ok=True)
        write_whole(path, digest.encode())
    elif not hmac.compare_digest(path.read_bytes(), digest.encode()):
        raise InvalidInput(
            f"{path.name}: the rows are not those that this study began with, and no column says whose they are. Put "
            f"the extract back; or, if the ledger says that nothing was answered yet, delete {path}"
        )
