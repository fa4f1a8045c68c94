"""`silosynth site`: what a site of a simulation remembers. It reads a ledger that may be in use and changes nothing."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="What a site spent, and what left it.", no_args_is_help=True)

Folder = Annotated[Path, typer.Argument(help="Folder of a simulation, or of one site in it.")]
Name = Annotated[str | None, typer.Option("--site", help="The site's name; not needed where there is only one.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


@app.command()
def ledger(folder: Folder, site: Name = None, as_json: AsJson = False) -> None:
    """Every entry: plans, reservations, commits, refusals, chained by hashes; verified before it is shown."""
    from silosynth.client import outbox
    from silosynth.client.ledger import listing

    entries = listing(ledger_of(folder, site))
    if as_json:
        print(outbox.ledger_as_json(entries))
    else:
        _draw(outbox.ledger_table(entries))


@app.command(name="outbox")
def left(folder: Folder, site: Name = None, as_json: AsJson = False) -> None:
    """What left the site: task, size, noise, what it cost so far."""
    from silosynth.client import outbox

    lines = outbox.listing(ledger_of(folder, site))
    if as_json:
        print(outbox.as_json(lines))
    else:
        _draw(outbox.table(lines))


def ledger_of(folder: Path, site: str | None) -> Path:
    """The ledger of one site below a folder. Raises InvalidInput, naming the sites there are."""
    from silosynth.common.errors import InvalidInput

    if (folder / "ledger.sqlite").is_file() and site is None:
        return folder / "ledger.sqlite"
    found = {path.parent.name: path for path in sorted((folder / "sites").glob("*/ledger.sqlite"))}
    if not found:
        raise InvalidInput(f"{folder}: no ledgers here; give the folder that a simulation was published in")
    if site is None and len(found) == 1:
        return next(iter(found.values()))
    if site not in found:
        raise InvalidInput(f"choose a site with --site: {', '.join(found)}")
    return found[site]


def _draw(table: object) -> None:
    from rich.console import Console

    console = Console()
    console.print(table, width=None if console.is_terminal else 200)
