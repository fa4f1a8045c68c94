"""A made table of three clinics, and a study of it that runs in about a second."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd

STUDY = """
[study]
name = "made"
target = "ill"
unit = "person"
[privacy]
epsilon = {epsilon}
delta = 1e-5
colluders = 1
[engine]
steps = {steps}
[[columns]]
name = "age"
type = "integer"
min = 0
max = 99
[[columns]]
name = "sex"
type = "categorical"
codes = ["f", "m"]
[[columns]]
name = "dose"
type = "number"
min = 0
max = 10
decimals = 1
[[columns]]
name = "ill"
type = "boolean"
"""


def table(persons=400, seed=1):
    """Rows as text; a person has one or two; illness depends on age, clinics differ in size."""
    rng = np.random.default_rng(seed)
    person = np.repeat(np.arange(persons), rng.integers(1, 3, persons))
    age = rng.integers(18, 90, persons)[person]
    return pd.DataFrame(
        {
            "clinic": rng.choice(["North", "South", "West"], persons, p=[0.5, 0.3, 0.2])[person],
            "person": [f"p{one}" for one in person],
            "age": age.astype(str),
            "sex": rng.choice(["f", "m"], len(person)),
            "dose": np.round(rng.gamma(2, 1.0, len(person)).clip(0, 10), 1).astype(str),
            "ill": np.where(rng.random(len(person)) < age / 100, "true", "false"),
        }
    )


def written(folder: Path, *, epsilon="1.0", steps=3, persons=400):
    """A study file and a table in `folder`: their paths."""
    study, data = folder / "study.toml", folder / "table.csv"
    study.write_text(STUDY.format(epsilon=epsilon, steps=steps))
    table(persons).to_csv(data, index=False)
    return study, data


def silosynth(*arguments, **options):
    """The installed command in a process of its own."""
    code = "from silosynth.simulations.cli import main; main()"
    command = [sys.executable, "-W", "ignore", "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=240, check=False, **options)


def content(path: Path):
    """A JSON file."""
    return json.loads(path.read_text())


def totals(out: Path):
    """SHA-256 of the total of each absorbed release, in order."""
    lines = map(json.loads, (out / "journal.jsonl").read_text().splitlines()[1:])
    return [line["total"] for line in lines if "total" in line]
