"""The command line. It reads arguments, calls one function, and says what came of it; nothing else is decided here.

Exit codes: 0 success; 2 wrong input, with one clear message; 3 refused by a site; 1 anything else. Whatever is slow to
import is imported by the command that needs it, so that help comes at once.
"""

import gc
import json
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import click
import typer

from silosynth.common.errors import Declined, InvalidInput, NotPossible, SilosynthError, StudyRefused
from silosynth.simulations import (
    cli_audit,
    cli_bundle,
    cli_compare,
    cli_coordinator,
    cli_report,
    cli_site,
    cli_study,
    cli_verify,
)
from silosynth.simulations.cli_options import (
    AllowGaps,
    AsJson,
    Data,
    Engine,
    Epsilon,
    Holdout,
    Quiet,
    Seed,
    Sites,
    StudyFile,
    Trust,
)

if TYPE_CHECKING:
    from silosynth.simulations.result import Result

WRONG_INPUT: Final = 2
REFUSED: Final = 3
ANYTHING_ELSE: Final = 1

_INTERRUPTED: Final = 130  # what typer makes of Ctrl-C

app = typer.Typer(
    help="Synthetic tables from many institutions, without pooling their records.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(cli_compare.compare)
app.command()(cli_report.report)
app.command()(cli_bundle.bundle)
app.command()(cli_verify.verify)
app.command()(cli_audit.audit)
app.add_typer(cli_study.app, name="study")
app.add_typer(cli_site.app, name="site")
app.add_typer(cli_coordinator.app, name="coordinator")


class Runtime(StrEnum):
    """What carries messages between sites and coordinator."""

    MEMORY = "memory"
    FLOWER = "flower"


Out = Annotated[
    Path, typer.Option("--out", help="Folder to publish in; sites' ledgers live in it and outlive the study.")
]
On = Annotated[Runtime, typer.Option(help="`flower`: Flower's own simulation engine, on Ray.")]
Seeded = Annotated[bool, typer.Option("--seeded-noise", help="Repeatable noise from --seed; stamped NO PRIVACY.")]
NoScores = Annotated[bool, typer.Option("--no-scores", help="Do not score the result: faster, needs fewer packages.")]
Resume = Annotated[bool, typer.Option("--resume", help="Go on where a study in --out was interrupted.")]

_WHERE_CAPS_ARE: Final = "What a site allows stands in the policy.toml of its own folder; only its owner raises it"


@app.command()
def demo(
    *,
    out: Out,
    engine: Engine = None,
    trust: Trust = None,
    epsilon: Epsilon = None,
    runtime: On = Runtime.MEMORY,
    seed: Seed = 0,
    seeded_noise: Seeded = False,
    resume: Resume = False,
    no_scores: NoScores = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """A complete study on real rows of six sites: the RAND Health Insurance Experiment."""
    from silosynth.simulations.console import progress

    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        from silosynth.simulations import demo as data
        from silosynth.simulations.chosen import chosen
        from silosynth.simulations.cohort import gather
        from silosynth.simulations.local import How, run

        study, notes = chosen(data.study(), engine=engine, trust=trust, epsilon=epsilon)
        _note(notes)
        cohort = gather(study, data.sites(), None, seed, shown)
        # One site really did not record one column; the table is known, so nobody is asked.
        how = How(out, seed, runtime.value, not no_scores, seeded_noise, resume, allow_gaps=True)
        result = run(study, cohort, how, shown)
    _tell(result, as_json=as_json)


@app.command()
def simulate(
    study: StudyFile,
    *,
    data: Data,
    sites: Sites,
    out: Out,
    engine: Engine = None,
    trust: Trust = None,
    epsilon: Epsilon = None,
    runtime: On = Runtime.MEMORY,
    seed: Seed = 0,
    holdout: Holdout = None,
    seeded_noise: Seeded = False,
    resume: Resume = False,
    allow_gaps: AllowGaps = False,
    no_scores: NoScores = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Many sites on this machine: the same site, gate and coordinator as between institutions."""
    from silosynth.simulations.console import progress

    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        from silosynth.simulations.chosen import chosen
        from silosynth.simulations.cohort import check_gaps, split, study_of
        from silosynth.simulations.local import How, run

        asked, notes = chosen(study_of(study), engine=engine, trust=trust, epsilon=epsilon)
        cohort = split(asked, data, sites, holdout, seed, shown)
        check_gaps(cohort, allowed=allow_gaps)
        _note((*notes, *cohort.notes))
        how = How(out, seed, runtime.value, not no_scores, seeded_noise, resume, allow_gaps)
        result = run(asked, cohort, how, shown)
    _tell(result, as_json=as_json)


@app.command()
def sample(
    generator: Annotated[Path, typer.Argument(help="generator.safetensors of a finished study.")],
    rows: Annotated[int, typer.Option(min=1, help="As many as you like: it costs no privacy.")],
    output: Annotated[Path, typer.Option("-o", "--output", help="A .csv or .parquet file.")],
    seed: Annotated[int, typer.Option(min=0, help="The same seed gives the same rows.")] = 0,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Draw synthetic rows from a generator, in blocks."""
    from silosynth.simulations.console import progress

    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        from silosynth.server.publish import TableFiles, load_artefact, sampled

        artefact = load_artefact(generator)
        with TableFiles(artefact.schema, [output]) as files:
            for block in sampled(artefact.generator, artefact.schema, rows, seed, shown):
                files.add(block)
    print(json.dumps({"rows": rows, "file": str(output)}) if as_json else f"{rows} rows in {output}")


def main() -> None:
    """The entry point: turns every outcome into an exit code and at most one message."""
    code = _run(sys.argv[1:])
    gc.freeze()  # or the interpreter's last collection walks all of torch before the prompt comes back: seconds
    sys.exit(code)


def _run(arguments: list[str]) -> int:
    try:
        outcome = app(args=arguments, standalone_mode=False)
    except click.exceptions.ClickException as error:
        error.show()
        return error.exit_code
    except (InvalidInput, NotPossible) as error:
        print(f"error: {error}", file=sys.stderr)
        return WRONG_INPUT
    except (StudyRefused, Declined) as error:
        cure = f". {_WHERE_CAPS_ARE}" if isinstance(error, StudyRefused) else ""
        print(f"refused: {error}{cure}", file=sys.stderr)
        return REFUSED
    except SilosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        return ANYTHING_ELSE
    except (KeyboardInterrupt, click.exceptions.Abort):
        outcome = _INTERRUPTED
    if outcome == _INTERRUPTED:
        print(
            "\nstopped. What sites have answered is kept and not paid for again: the same command (demo, simulate: "
            "with --resume) goes on; at most the sum that was being asked is charged once more",
            file=sys.stderr,
        )
        return ANYTHING_ELSE
    return outcome if isinstance(outcome, int) else 0


def _note(notes: "tuple[str, ...]") -> None:
    for note in notes:
        print(f"note: {note}", file=sys.stderr)


def _tell(result: "Result", *, as_json: bool) -> None:
    """What a person wants to know at the end: scores in their frame, the price, where the files are."""
    if as_json:
        print(json.dumps({"out": str(result.path), "certificate": result.certificate, "metrics": result.metrics}))
        return
    for line in (*result.summary, "", *_price(result.certificate), f"\nfiles: {result.path}/"):
        print(line)
    print("read report.html first; synthetic.csv and synthetic.parquet hold the same rows")


def _price(paper: dict[str, Any]) -> list[str]:
    lines = [f"epsilon at delta {paper['delta']:g}, for adding or removing one {paper['unit']}:"]
    for view, against in paper["holds_against"].items():
        value = paper["epsilon"][view]
        shown = value if isinstance(value, str) else f"{value:.2f}"
        lines.append(f"  {shown:>6} against {against}")
    if "NO PRIVACY" in paper["noise"]:
        lines.append(f"  NO PRIVACY: noise was {paper['noise'].split(':')[0]}")
    return lines
