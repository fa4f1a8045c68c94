"""A released table against this site's own rows, exactly: for the institution's eyes only.

Nothing here can send: it reads rows as the agent does, computes, and gives values back; what is written stays in the
site's home. No epsilon covers it, the ledger is not opened, and nothing is spent.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from silosynth.client.home import SiteHome, read_site
from silosynth.client.keys import agent_key, key_of_rows
from silosynth.client.sources import open_source, split_holdout
from silosynth.client.sources.table import read_table
from silosynth.common.errors import InvalidInput
from silosynth.common.evaluate import evaluate
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.sections import Scope
from silosynth.common.progress import Progress
from silosynth.common.study import Study

MOST_ROWS: Final = 200_000
"""Of the released table, from its beginning, that are compared."""


@dataclass(frozen=True)
class Released:
    """The table that a study published."""

    study: Study
    table: Path


def compare(home: SiteHome, released: Released, seed: int, progress: Progress) -> Metrics:
    """Scores of a released table with the site's training rows, and attacks on its persons.

    Held-out rows are the ceiling, and the control group: the table cannot know them from the study. Which rows they are
    follows from the agent's key and the study, as it did when the study ran. `seed`: of samples, shuffles and models.
    Raises InvalidInput where rows or table cannot be read, or there are none.
    """
    study = released.study
    if not home.agent_key.is_file():
        raise InvalidInput(
            f"{home.agent_key}: there is no such file, so nobody can tell which rows were held out; give the home of "
            "the site that took part, with --home"
        )
    progress("read", 0, 2, "the released table")
    synthetic = read_table(released.table, study.schema, None).frame
    progress("read", 1, 2, "the site's own rows")
    config = read_site(home.config)
    own = open_source(config.source, study)
    held = split_holdout(own.unit_ids, key_of_rows(agent_key(home.agent), study.digest), study.holdout)
    train, holdout = own.frame[~held].reset_index(drop=True), own.frame[held].reset_index(drop=True)
    if not len(train) or not len(synthetic):
        empty = "this site has no rows to compare with" if len(synthetic) else f"{released.table}: has no rows"
        raise InvalidInput(f"{empty}; look at [data] in {home.config} and at the file that was released")
    persons = None if study.unit is None else (list(own.unit_ids[~held]), list(own.unit_ids[held]))
    scores = evaluate(
        study.schema,
        train,
        holdout,
        synthetic.iloc[:MOST_ROWS],
        study.target,
        seed=seed,
        progress=progress,
        persons=persons,
        attack=True,
    )
    notes = [f"compared with the rows of site {config.name} alone: others may have others"]
    if len(synthetic) > MOST_ROWS:
        notes.append(f"the first {MOST_ROWS:,} of {len(synthetic):,} released rows were compared")
    return Metrics(scores, Scope.SITE, seed, input_notes=tuple(notes))
