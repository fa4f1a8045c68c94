"""What a site spent and what left it: `ledger`, `outbox`; and `unlock`, which frees a ledger that was barred."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from silosynth.simulations.cli_site_options import AsJson

_WIDE = 200

Folder = Annotated[Path | None, typer.Argument(help="Folder of a simulation, or of one site in it.")]
Home = Annotated[
    Path | None,
    typer.Option("--home", envvar="SILOSYNTH_HOME", help="The folder of a site between institutions (default: here)."),
]
Name = Annotated[
    str | None, typer.Option("--site", help="The site's name, in a simulation; not needed where there is only one.")
]


def ledger(folder: Folder = None, home: Home = None, site: Name = None, as_json: AsJson = False) -> None:
    """Every entry: plans, reservations, commits, refusals, chained by hashes; verified before it is shown."""
    from silosynth.client import outbox
    from silosynth.client.ledger import listing

    entries = listing(ledger_of(folder, site, home))
    if as_json:
        print(outbox.ledger_as_json(entries))
    else:
        draw(outbox.ledger_table(entries))


def left(folder: Folder = None, home: Home = None, site: Name = None, as_json: AsJson = False) -> None:
    """What left the site: task, size, noise, what it cost so far."""
    from silosynth.client import outbox

    lines = outbox.listing(ledger_of(folder, site, home))
    if as_json:
        print(outbox.as_json(lines))
    else:
        draw(outbox.table(lines))


_BARRED = """\
This ledger is barred since entry {seq}: others in study {study} have seen entries of it that are not in it.
One of two things is true:
  1. This file was put back from an older copy, or the machine was. Then what the site spent since is not in it, and to
     go on would spend it twice. Put the newest copy of agent/ledger.sqlite back instead; it is not barred. Do not go
     on here.
  2. They ({witness}) are wrong: their own files were damaged, or they lie to stop the study.
Go on here only after somebody has made sure that there is no newer copy, and has asked those institutions.
Freeing adds an entry to the ledger, for ever, and forgets nothing. Who decided, and why, is kept on this terminal
alone: write it into your own records."""


def unlock(
    home: Annotated[Path, typer.Option("--home", envvar="SILOSYNTH_HOME", help="The site's folder.")] = Path(),
    who: Annotated[str | None, typer.Option(help="Who decides.")] = None,
    why: Annotated[str | None, typer.Option(help="Why this is known to be the newest copy.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask; needs --who and --why.")] = False,
) -> None:
    """Go on after a ledger was barred, because others have seen entries that are not in it."""
    from contextlib import closing

    from silosynth.client.entries import Barred, Freed
    from silosynth.client.home import SiteHome
    from silosynth.client.ledger import Ledger, listing
    from silosynth.common.errors import InvalidInput

    path = SiteHome(home).ledger
    marks = [entry for entry in listing(path) if isinstance(entry.record, Barred | Freed)]
    barred = marks[-1].record if marks else None
    if not isinstance(barred, Barred):
        print("this ledger is not barred; nothing was changed")
        return
    witness = ", ".join(f"agent key {key[:16]}" for key, _, _ in barred.seen)
    print(_BARRED.format(seq=marks[-1].seq, study=barred.study, witness=witness), file=sys.stderr)
    if yes and not (who and why):
        raise InvalidInput("--yes needs --who and --why: somebody has to answer for it")
    who = who or typer.prompt("Who decides", err=True)
    why = why or typer.prompt("Why is this known to be the newest copy", err=True)
    if not yes and typer.prompt("Type `newest` to go on", err=True) != "newest":
        raise InvalidInput("nothing was changed: the ledger stays barred")
    with closing(Ledger(path)) as ledger:
        ledger.free(barred.study)
        head = ledger.head
    print(f"freed by {who}, because: {why}. The ledger's head is {head[:16]}; restart `silosynth site run`")


def ledger_of(folder: Path | None, site: str | None, home: Path | None = None) -> Path:
    """The ledger of one site: of a home, or below a simulation's folder. Raises InvalidInput, naming the sites."""
    from silosynth.client.home import SiteHome
    from silosynth.common.errors import InvalidInput

    if folder is None:
        own = SiteHome(home or Path())
        if not own.config.is_file():
            raise InvalidInput(f"{own.config}: there is no such file; give the site's folder with --home")
        if not own.ledger.is_file():
            raise InvalidInput(f"{own.ledger}: there is no ledger yet; it begins with the first `silosynth site run`")
        return own.ledger
    for found in (folder / "ledger.sqlite", SiteHome(folder).ledger):
        if found.is_file() and site is None:
            return found
    there = {path.parent.name: path for path in sorted((folder / "sites").glob("*/ledger.sqlite"))}
    if not there:
        raise InvalidInput(f"{folder}: no ledgers here; give the folder that a simulation was published in")
    if site is None and len(there) == 1:
        return next(iter(there.values()))
    if site not in there:
        raise InvalidInput(f"choose a site with --site: {', '.join(there)}")
    return there[site]


def draw(table: object) -> None:
    """A table on standard output; wide where that is no terminal."""
    from rich.console import Console

    console = Console()
    (console if console.is_terminal else Console(width=_WIDE)).print(table)
