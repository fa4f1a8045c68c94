"""`silosynth site run`: a site's processes, for as long as it takes part."""

from pathlib import Path
from typing import Annotated

import typer

from silosynth.client.run import Part

Home = Annotated[Path, typer.Option("--home", help="The site's folder.")]
Only = Annotated[
    Part | None,
    typer.Option(help="Run only this part: for containers and units, where each has a user of its own."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Events as JSON lines.")]


def run(home: Home = Path(), only: Only = None, as_json: AsJson = False) -> None:
    """Take part in approved studies until stopped: the agent, which reads rows, and the relay, which has a network."""
    from silosynth.client import run as site
    from silosynth.client.home import SiteHome

    raise typer.Exit(site.run(SiteHome(home.resolve()), only, as_json=as_json))
