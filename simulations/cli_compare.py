"""`silosynth compare`: engines, ways of trust and epsilons on one table, in one table and one plot."""

import json
import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from silosynth.simulations.cli_options import AllowGaps, AsJson, Data, Holdout, Quiet, Sites, StudyFile

_SOME_FAILED = 1


def compare(
    study: StudyFile,
    *,
    data: Data,
    sites: Sites,
    out: Annotated[Path, typer.Option("--out", help="Folder of the comparison; in it, the same command goes on.")],
    engines: Annotated[str | None, typer.Option(help="With commas between; without it, the study's.")] = None,
    trusts: Annotated[str, typer.Option(help="With commas between: secure-sum,local.")] = "secure-sum",
    epsilons: Annotated[str, typer.Option(help="With commas between.")] = ".3,1,3,10",
    seeds: Annotated[int, typer.Option(help="Repetitions of each study; with two or more there is an interval.")] = 3,
    holdout: Holdout = None,
    allow_gaps: AllowGaps = False,
    keep: Annotated[bool, typer.Option("--keep", help="Keep every synthetic table, too.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a grid of whole studies, each with real noise, and draw utility against epsilon."""
    from silosynth.simulations.console import progress

    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        from silosynth.simulations.cohort import study_of
        from silosynth.simulations.compare import Comparison, Grid, Source
        from silosynth.simulations.compare_table import as_lines

        asked = study_of(study)
        grid = Grid.parse(asked.engine if engines is None else engines, trusts, epsilons, seeds)
        comparison = Comparison(asked, Source(data, sites, holdout, allow_gaps), grid, out, shown)
        for note in comparison.notes:
            print(f"note: {note}", file=sys.stderr)
        command = [
            *("silosynth", "compare", study.name, "--data", data.name, "--sites", sites),
            *(("--holdout", holdout.name) if holdout else ()),
            *("--engines", ",".join(grid.engines), "--trusts", ",".join(grid.trusts)),
            *("--epsilons", ",".join(f"{epsilon:g}" for epsilon in grid.epsilons), "--seeds", str(seeds)),
        ]
        table = comparison.run(keep=keep, command=shlex.join(command))
    if as_json:
        print(json.dumps({"out": str(out)} | table.to_json()))
    else:
        print("\n".join([*as_lines(table), f"\nread {out / 'compare.html'}; the same table: compare.md, compare.csv"]))
    if table.failures:
        print(
            "studies failed: the same command tries them again where they stopped; delete a study's folder under "
            f"{out / 'runs'} to begin it anew",
            file=sys.stderr,
        )
        raise typer.Exit(_SOME_FAILED)
