"""Options that the commands of a site share."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

Home: TypeAlias = Annotated[
    Path, typer.Option("--home", envvar="SILOSYNTH_HOME", help="The site's folder, which `site init` made.")
]
HERE = Path()
StudyOf: TypeAlias = Annotated[
    str, typer.Argument(help="The study file (TOML) that the coordinator sent, or a digest.")
]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]
PassphraseFile: TypeAlias = Annotated[
    Path | None, typer.Option(help="A file whose first line is the passphrase of the officer's key.")
]


def passphrase_in(file: Path) -> bytes:
    """The first line of a file. Raises InvalidInput where there is none."""
    from silosynth.client.home import read_text
    from silosynth.common.errors import InvalidInput

    first = read_text(file, "write the passphrase into it, or leave --passphrase-file out to be asked").splitlines()
    if not first or not first[0]:
        raise InvalidInput(f"{file}: its first line is empty; write the passphrase there")
    return first[0].encode()
