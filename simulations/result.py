"""What a simulation gives back: its folder, and views of what is in it."""

import json
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from silosynth.common.engine import Generator
from silosynth.common.progress import silent
from silosynth.common.schema import Schema
from silosynth.server.publish import sampled


@dataclass(frozen=True)
class Result:
    """A finished study on this machine.

    `notes`: what a person should know about the input; `summary`: the scores that matter, as lines.
    """

    path: Path
    schema: Schema = field(repr=False)
    generator: Generator = field(repr=False)
    notes: tuple[str, ...] = ()
    summary: tuple[str, ...] = field(default=(), repr=False)

    def sample(self, rows: int, *, seed: int = 0) -> pd.DataFrame:
        """Fresh synthetic rows, free of charge: the same seed gives the same rows."""
        blocks = [self.schema.present(b) for b in sampled(self.generator, self.schema, rows, seed, silent)]
        return pd.concat(blocks, ignore_index=True)

    @cached_property
    def table(self) -> pd.DataFrame:
        """The published synthetic table."""
        return pd.read_parquet(self.path / "synthetic.parquet")

    @cached_property
    def certificate(self) -> dict[str, Any]:
        """certificate.json: what the study cost, against whom, and from which events that follows."""
        return self._json("certificate.json")

    @cached_property
    def metrics(self) -> dict[str, Any]:
        """metrics.json: every score between floor and ceiling. Empty scores where evaluation was switched off."""
        return self._json("metrics.json")

    def _json(self, name: str) -> dict[str, Any]:
        content: dict[str, Any] = json.loads((self.path / name).read_text(encoding="utf-8"))
        return content
