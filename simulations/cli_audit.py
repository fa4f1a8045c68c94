"""`silosynth audit`: canaries in a simulated study, and what somebody who sees every sum can tell of them."""

import json
import sys
from typing import Annotated

import typer

from silosynth.simulations.cli_options import AllowGaps, AsJson, Data, Engine, Epsilon, Quiet, Seed, Sites, StudyFile

_REFUTED = 1


def audit(
    study: StudyFile,
    *,
    data: Data,
    sites: Sites,
    canaries: Annotated[int, typer.Option(help="Made-up units, each in by a secret coin: more show more.")] = 500,
    engine: Engine = None,
    epsilon: Epsilon = None,
    seed: Seed = 0,
    allow_gaps: AllowGaps = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Try to refute a study's epsilon: run it with canaries and real noise, and guess who was in. Exit code 1 if so."""
    from silosynth.simulations.console import progress

    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        from silosynth.simulations.audit import audit as run
        from silosynth.simulations.chosen import chosen
        from silosynth.simulations.cohort import check_gaps, split, study_of

        asked, notes = chosen(study_of(study), engine=engine, epsilon=epsilon)
        cohort = split(asked, data, sites, None, seed, shown)
        check_gaps(cohort, allowed=allow_gaps)
        for note in (*notes, *cohort.notes):
            print(f"note: {note}", file=sys.stderr)
        found = run(asked, cohort, canaries, seed, shown)
    if as_json:
        print(json.dumps(found.to_json()))
    else:
        print("\n".join(found.words))
    if not found.holds:
        raise typer.Exit(_REFUTED)
