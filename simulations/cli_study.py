"""`silosynth study`: draft a study file, check one, and read one in words before anybody approves it."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

app = typer.Typer(help="Write, check and read study files.", no_args_is_help=True)

File = Annotated[Path, typer.Argument(help="The study file (TOML).")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


@app.command()
def new(
    source: Annotated[Path, typer.Option("--from", help="A table, or a data dictionary.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="The study file to write.")],
    target: Annotated[str | None, typer.Option(help="The column a model should predict.")] = None,
    unit: Annotated[str | None, typer.Option(help="The column that says which person a row is about.")] = None,
) -> None:
    """Draft a study; whatever came from rows is marked unreviewed, for a person to confirm."""
    from silosynth.client.draft import draft
    from silosynth.common.errors import InvalidInput
    from silosynth.server.files import write_text

    if output.exists():
        raise InvalidInput(f"{output} exists; nothing is overwritten: choose another name")
    if not output.parent.is_dir():
        raise InvalidInput(f"{output.parent} is no folder; make it first")
    write_text(output, draft(source, target=target, unit=unit))
    print(f"{output}: read it, correct it, and remove `unreviewed` from each column you have confirmed")


@app.command()
def check(
    study: File,
    data: Annotated[Path | None, typer.Option(help="Also read this table as the study would.")] = None,
    as_json: AsJson = False,
) -> None:
    """Whether a file is a study that can run; with --data, how a table fits it."""
    from silosynth.simulations.chosen import imagined
    from silosynth.simulations.cohort import study_of

    asked = study_of(study)
    imagined(asked, sites=3)  # settings and budget make a plan
    unreviewed = list(asked.schema.unreviewed)
    found: dict[str, Any] = {"study": asked.name, "columns": len(asked.schema.columns), "unreviewed": unreviewed}
    lines = [f"{study}: a study of {len(asked.schema.columns)} columns"]
    if unreviewed:
        lines.append(f"not yet reviewed, so no launch, only simulations: {', '.join(unreviewed)}")
    if data is not None:
        from silosynth.client.sources.check import as_lines, local_check

        lines += (fit := as_lines(local_check(data, asked)))
        found["data"] = fit
    print(json.dumps(found) if as_json else "\n".join(lines))


@app.command()
def show(
    study: File,
    sites: Annotated[int, typer.Option(min=1, help="As if so many sites took part.")] = 5,
    as_json: AsJson = False,
) -> None:
    """A study in words: what would leave each site, and at what epsilon."""
    from silosynth.common.describe import describe
    from silosynth.server.certificate import prices
    from silosynth.simulations.chosen import imagined
    from silosynth.simulations.cohort import study_of

    asked = study_of(study)
    if not asked.plan:
        asked = imagined(asked, sites)
    words = describe(asked)
    price = prices(asked, asked.releases)
    epsilon = {"aggregate": str(price.aggregate), "local": str(price.local)}
    print(json.dumps({"digest": asked.digest, "epsilon": epsilon, "words": words}) if as_json else words, end="")


@app.command()
def forecast(
    study: File,
    units: Annotated[
        int | None, typer.Option(min=1, help="About how many persons there are, if the file does not say.")
    ] = None,
    sites: Annotated[int, typer.Option(min=1, help="As if so many sites took part.")] = 5,
    rate: Annotated[
        float | None, typer.Option(min=0.0, max=1.0, help="About the share of the outcome asked for.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """What to expect of a study before its budget is spent, from the benchmark of record. Reads no rows."""
    from dataclasses import replace

    from silosynth.simulations.cohort import study_of
    from silosynth.simulations.forecast import forecast as forecast_of
    from silosynth.simulations.forecast import recorded

    asked = study_of(study)
    asked = asked if units is None else replace(asked, units=units)
    found = forecast_of(asked, recorded(), sites=sites, rate=rate or None)
    print(json.dumps(found.to_json()) if as_json else "\n".join(found.lines()))
