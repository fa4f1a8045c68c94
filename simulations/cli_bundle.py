"""`silosynth bundle`: what a study published as one file, the same bytes every time, which `verify` accepts whole.

Exit codes: 0 the archive was written; 1 the folder's certificate does not hold, so nothing was; 2 there is none.
"""

import json
from pathlib import Path
from typing import Annotated

import typer

from silosynth.simulations.cli_verify import DOES_NOT_HOLD

Published = Annotated[Path, typer.Argument(help="Folder that a study was published in.")]
Output = Annotated[Path, typer.Option("-o", "--output", help="The .zip to write.")]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def bundle(published: Published, output: Output, as_json: AsJson = False) -> None:
    """Put table, generator, report, certificate and descriptions into one .zip, after verifying them."""
    from silosynth.common.errors import InvalidInput, NotCertified
    from silosynth.server.bundle import bundle as write
    from silosynth.server.bundle import hash_of

    if output.suffix.lower() != ".zip":
        raise InvalidInput(f"{output}: an archive is a .zip; choose such a name")
    if not published.is_dir():
        raise InvalidInput(f"{published}: is no folder; give the one that a study was published in")
    if not output.parent.is_dir():
        raise InvalidInput(f"{output.parent}: there is no such folder; make it first")
    try:
        names = write(published, output)
    except NotCertified as failed:
        said = {"written": False, "failed": failed.check, "cause": str(failed)}
        print(json.dumps(said) if as_json else f"nothing was written: DOES NOT HOLD: {failed.check}: {failed}")
        raise typer.Exit(DOES_NOT_HOLD) from None
    digest = hash_of(output)
    if as_json:
        print(json.dumps({"file": str(output), "sha256": digest, "files": names}))
    else:
        print(f"{output}: {len(names)} files, SHA-256 {digest}. Check it with: silosynth verify {output}")
