"""`silosynth report`: report.html again, from metrics.json, certificate.json and study.toml alone.

Exit codes: 0 a report was written; 2 the folder lacks one of the three, or it cannot be read.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

Published = Annotated[Path, typer.Argument(help="Folder that a study was published in.")]
Output = Annotated[
    Path | None,
    typer.Option("-o", "--output", help="Where to write it (default: report.html, if it is the certified one)."),
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def report(published: Published, output: Output = None, as_json: AsJson = False) -> None:
    """Make report.html again, and say whether it is the certified one, byte for byte. No data is needed."""
    from silosynth.server.bundle import REPORT
    from silosynth.server.files import replace
    from silosynth.server.redrawn import redrawn

    page = redrawn(published)
    path = output or published / (REPORT if page.certified is not False else "report.rebuilt.html")
    replace(path, page.content)
    said = {
        True: "it is the certified one, byte for byte",
        False: (
            "it is NOT the certified one: the certified report was drawn by another version of silosynth, or the files "
            "beside it were changed; `silosynth verify` tells which"
        ),
        None: "the certificate names no report to compare it with",
    }[page.certified]
    print(json.dumps({"file": str(path), "certified": page.certified}) if as_json else f"{path}: {said}")
