"""Options that several commands share, so that they mean the same everywhere."""

from pathlib import Path
from typing import Annotated, TypeAlias

import typer

StudyFile: TypeAlias = Annotated[Path, typer.Argument(help="The study file (TOML).")]
Data: TypeAlias = Annotated[Path, typer.Option(help="CSV (gz too) or Parquet.")]
Sites: TypeAlias = Annotated[str, typer.Option(help="A column, a number, or N:dirichlet=A:COLUMN[,COLUMN...].")]
Holdout: TypeAlias = Annotated[Path | None, typer.Option(help="Real rows to score with, instead of holding some back.")]
AllowGaps: TypeAlias = Annotated[bool, typer.Option("--allow-gaps", help="Sites may lack rows, or a column's values.")]
Engine: TypeAlias = Annotated[str | None, typer.Option(help="Instead of the study's; a wrong name lists all.")]
Trust: TypeAlias = Annotated[str | None, typer.Option(help="Instead of the study's: secure-sum, local.")]
Epsilon: TypeAlias = Annotated[float | None, typer.Option(help="Instead of the study's; `inf` is stamped NO PRIVACY.")]
Seed: TypeAlias = Annotated[int, typer.Option(min=0, help="Of splits, network and sampling; never of noise.")]
AsJson: TypeAlias = Annotated[bool, typer.Option("--json", help="Results as JSON on standard output.")]
Quiet: TypeAlias = Annotated[bool, typer.Option("--quiet", help="No progress.")]
