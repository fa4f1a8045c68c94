"""Which rows are learnt from and which are held out, unit by unit, by the site's own key.

Formal guarantee: let two tables differ by one unit. Under the same key, either the training units of both are equal and
the hold-out units of one are those of the other and one more, or the other way round; as multisets of units, each with
its rows and their number, which is all that a mechanism's answer depends on (client/mechanism.py). So what training
releases is private for a unit that is learnt from, what evaluation releases for one that is held out, and each is
post-processing for the other (privacy.Parallel). The argument:

1. *With a person key.* A unit is all rows of one identifier. Its part is a function of the key and of the identifier
   alone, and which of its rows count is one of the key, the identifier and what they hold (keyed.py). So no
   row of another unit has another part, or another fate, because of it.
2. *Without one* a row is a unit, and has no identifier; the number of a row is none, because one row more would rename
   all below it. It is named by what it holds, in fine cells, and by how many rows before it hold the same. One row more
   that holds c adds the one name (c, number of such rows) to the set of names, wherever it stands. Rows that hold the
   same are alike to everything after this module, so the part of that name gains one row c, and nothing else changes.
3. *The key* is of this site and this study, from the agent's key; it does not depend on rows. The claim holds for every
   key, hence whatever is known of it. That nobody else has it keeps others from choosing who is held out.

4. *One table.* A site whose process starts anew reads its rows again (source.py). A person key stays a person's, as
   long as it is spelled alike, which is assumed. A row without one that holds something else by then is another unit:
   what it was may have been learnt from, what it is may be held out, and that person would pay for both parts. So rows
   that change need a person key; without one the agent answers a study with the same rows or not at all (same_rows.py).

How large the parts are depends on rows and is told to nobody: an empty one answers with noise alone.
"""

from typing import TYPE_CHECKING

import pandas as pd

from silosynth.client.sources.keyed import Mask, split_holdout
from silosynth.client.sources.table import units_of
from silosynth.common.engine import Parted, Units

if TYPE_CHECKING:
    from silosynth.common.study import Study


def parted(
    study: "Study", frame: pd.DataFrame, ids: "pd.Series[str]", key: bytes, share: float | None = None
) -> Parted:
    """The units of typed rows in their two parts; about `share` of them, by default the study's, are held out."""
    held = split_holdout(ids, key, study.holdout if share is None else share)

    def units(mask: Mask) -> Units:
        rows, owners = frame[mask].reset_index(drop=True), ids[mask].reset_index(drop=True)
        return units_of(study.schema, rows, owners, key=key, most=study.max_rows_per_unit)

    return Parted(units(~held), units(held))
