"""What a comparison found: one row for each engine, way of trust and epsilon, means over seeds; as text of every kind.

Means and intervals are over repetitions in which everything random differed: partition, hold-out, first weights,
sampling and, always, the noise. Repetition k of every row has the same partition and the same hold-out, so rows can be
compared. Floor and ceiling depend on these alone, and are means over the same repetitions.
"""

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from silosynth.common.study import Trust
from silosynth.simulations.repeats import Mean, mean

WITH_TARGET: Final = "tstr_auc_gb"
WITHOUT_TARGET: Final = "pair_trends"
TITLES: Final[Mapping[str, str]] = {
    "tstr_auc_gb": "AUC",
    "tstr_f1_gb": "F1",
    "tvd2": "2-way distance",
    "pair_trends": "pair trends",
}
BRIEF: Final = ("tvd2", "pair_trends")
"""Scores a terminal shows beside utility."""

_UTILITY_AT: Final = 4  # its column, for people

MEANINGS: Final = (
    "AUC and F1: of a model (gradient boosting) trained on synthetic rows and tested on held-out real rows; 2-way "
    "distance: mean total variation of all tables of two columns, lower is better; pair trends: Column Pair Trends of "
    "SDMetrics over strongly associated pairs. The last two on samples as large as the hold-out, so that they can be "
    "compared with the ceiling; each study's metrics.json also has them on all rows."
)
FRAME: Final = (
    "Floor: the training rows with every column shuffled apart, so that nothing can be predicted (the target's base "
    "rate). Ceiling: real rows in the place of synthetic ones."
)
PRICE: Final = (
    "Each number comes from a study with a budget of its own, on the same rows: together they cost more than any "
    "epsilon here, and scores are computed from real rows without noise. A comparison is for choosing, on rows that "
    "may be pooled; its numbers are not for release under an epsilon."
)


@dataclass(frozen=True)
class Cell:
    """One study of the grid."""

    engine: str
    trust: Trust
    epsilon: float
    seed: int

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.engine}-{self.trust}-eps{self.epsilon:.12g}-seed{self.seed}"

    @property
    def title(self) -> str:
        """For people."""
        return f"{self.engine}, {self.trust}, epsilon {self.epsilon:g}, seed {self.seed}"


@dataclass(frozen=True)
class Framed:
    """A score between its floor and its ceiling."""

    value: float
    floor: float | None
    ceiling: float | None


@dataclass(frozen=True)
class Outcome:
    """What became of a cell: its scores, by name; or `reason`, why it has none."""

    cell: Cell
    scores: Mapping[str, Framed] = field(default_factory=dict)
    cpu_s: float | None = None
    reason: str = ""

    @classmethod
    def of(cls, cell: Cell, metrics: Mapping[str, Any]) -> "Outcome":
        """From the content of metrics.json."""
        scores = {}
        for name, one in metrics["scores"].items():
            frame = one.get("matched") or one  # distances shrink with rows: only samples of one size can be compared
            scores[name] = Framed(frame["value"], frame["floor"], frame["ceiling"])
        return cls(cell, scores, metrics.get("train_cpu_seconds"))


@dataclass(frozen=True)
class Row:
    """All repetitions of one engine, way of trust and epsilon."""

    engine: str
    trust: Trust | None
    """None where the rows were all in one place, or nothing is to be said about it."""
    epsilon: float
    seeds: tuple[int, ...]
    """Those that finished."""
    means: Mapping[str, Mean] = field(repr=False)
    cpu: Mean | None = None
    failed: int = 0
    reasons: tuple[str, ...] = ()
    """Why those failed."""

    @property
    def title(self) -> str:
        """Of its line in a drawing."""
        return self.engine if self.trust is None else f"{self.engine}, {self.trust}"

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        scores = {name: {"mean": one.value, "interval": one.interval} for name, one in self.means.items()}
        cpu_s = self.cpu.value if self.cpu else None
        return {
            "engine": self.engine,
            "trust": str(self.trust),
            "epsilon": self.epsilon,
            "seeds": self.seeds,
            "scores": scores,
            "train_cpu_s": cpu_s,
            "failed": self.failed,
            "reasons": self.reasons,
        }


@dataclass(frozen=True)
class Table:
    """The whole comparison."""

    name: str
    """Of the study."""
    command: str
    utility: str
    rows: tuple[Row, ...]
    floor: Mapping[str, float] = field(repr=False)
    ceiling: Mapping[str, float] = field(repr=False)

    @property
    def scores(self) -> tuple[str, ...]:
        """Names of the scores that were measured, utility first."""
        known = {name for row in self.rows for name in row.means}
        return (self.utility, *(name for name in TITLES if name in known and name != self.utility))

    @property
    def failures(self) -> tuple[str, ...]:
        """What did not finish, and why, a line each."""
        return tuple(
            f"{row.engine}, {row.trust}, epsilon {row.epsilon:g}: {reason}"
            for row in self.rows
            for reason in row.reasons
        )

    def to_json(self) -> dict[str, Any]:
        """For programs."""
        frame = {"floor": dict(self.floor), "ceiling": dict(self.ceiling)}
        return {"utility": self.utility, "rows": [row.to_json() for row in self.rows], **frame}


def tabulated(name: str, command: str, outcomes: Sequence[Outcome]) -> Table:
    """The table of the outcomes so far, in the order in which their rows first appear."""
    groups: dict[tuple[str, Trust, float], list[Outcome]] = {}
    for one in outcomes:
        groups.setdefault((one.cell.engine, one.cell.trust, one.cell.epsilon), []).append(one)
    measured = [one for one in outcomes if not one.reason]
    utility = WITH_TARGET if any(WITH_TARGET in one.scores for one in measured) else WITHOUT_TARGET
    frames = {score: [one.scores[score] for one in measured if score in one.scores] for score in TITLES}
    return Table(
        name,
        command,
        utility,
        tuple(_row(*key, group) for key, group in groups.items()),
        _means({score: [one.floor for one in found] for score, found in frames.items()}),
        _means({score: [one.ceiling for one in found] for score, found in frames.items()}),
    )


def _row(engine: str, trust: Trust, epsilon: float, outcomes: Sequence[Outcome]) -> Row:
    done = [one for one in outcomes if not one.reason]
    means = {}
    for score in TITLES:
        values = [one.scores[score].value for one in done if score in one.scores]
        if values and len(values) == len(done):  # of all repetitions or none: a gap may depend on the outcome
            means[score] = mean(values)
    spent = [one.cpu_s for one in done if one.cpu_s is not None]
    why: dict[str, list[str]] = {}
    for one in outcomes:
        if one.reason:
            why.setdefault(one.reason, []).append(str(one.cell.seed))
    reasons = tuple(f"seed {', '.join(seeds)}: {reason}" for reason, seeds in why.items())
    seeds = tuple(one.cell.seed for one in done)
    return Row(engine, trust, epsilon, seeds, means, mean(spent) if spent else None, len(outcomes) - len(done), reasons)


def _means(found: Mapping[str, Iterable[float | None]]) -> dict[str, float]:
    known = {score: [value for value in values if value is not None] for score, values in found.items()}
    return {score: mean(values).value for score, values in known.items() if values}


def as_csv(table: Table) -> str:
    """For programs: every mean with the ends of its interval (empty for one seed), floor and ceiling as first rows."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    ends = [f"{score}{end}" for score in table.scores for end in ("", "_low", "_high")]
    writer.writerow(["engine", "trust", "epsilon", "seeds", *ends, "train_cpu_s", "failed", "utility"])
    for title, frame in (("floor", table.floor), ("ceiling", table.ceiling)):
        cells = [cell for score in table.scores for cell in (_plain(frame.get(score)), "", "")]
        writer.writerow([title, "", "", "", *cells, "", "", table.utility])
    for row in table.rows:
        means = [cell for score in table.scores for cell in _three(row.means.get(score))]
        cpu = _plain(row.cpu.value if row.cpu else None)
        head = [row.engine, str(row.trust), f"{row.epsilon:.12g}", str(len(row.seeds))]
        writer.writerow([*head, *means, cpu, str(row.failed), table.utility])
    return file.getvalue()


def cells(table: Table, scores: Sequence[str] | None = None) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
    """Head and rows for people, of all or some scores; floor and ceiling last."""
    scores = table.scores if scores is None else scores
    head = ("engine", "trust", "epsilon", "seeds", *(TITLES[score] for score in scores), "CPU s")
    rows = []
    for row in table.rows:
        failed = f", {row.failed} failed" if row.failed else ""
        first = (row.engine, str(row.trust), f"{row.epsilon:g}", f"{len(row.seeds)}{failed}")
        means = (_spanned(row.means.get(score)) for score in scores)
        rows.append((*first, *means, _seconds(row.cpu)))
    for title, frame in (("floor", table.floor), ("ceiling", table.ceiling)):
        plain = (f"{frame[score]:.3f}" if score in frame else "-" for score in scores)
        rows.append((title, "", "", "", *plain, ""))
    return head, rows


def as_markdown(table: Table) -> str:
    """For people."""
    head, rows = cells(table)
    lines = [f"# {table.name}: engines compared", "", f"`{table.command}`", ""]
    lines += [f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    lines += ["", *(paragraph for one in notes(table) for paragraph in (one, ""))]
    if table.failures:
        lines += ["Did not finish:", "", *(f"- {line}" for line in table.failures)]
    return "\n".join(lines).rstrip() + "\n"


def as_lines(table: Table) -> list[str]:
    """For a terminal: the scores that matter, lined up, intervals of utility only."""
    brief = tuple(score for score in (table.utility, *BRIEF) if score in table.scores)
    head, rows = cells(table, tuple(dict.fromkeys(brief)))
    rows = [tuple(cell if at == _UTILITY_AT else cell.split(" [")[0] for at, cell in enumerate(row)) for row in rows]
    widths = [max(len(row[at]) for row in (head, *rows)) for at in range(len(head))]
    lined = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in (head, *rows))
    return [*(line.rstrip() for line in lined), *(f"failed: {line}" for line in table.failures)]


def notes(table: Table) -> tuple[str, ...]:
    """How to read the table, in words."""
    most = max((len(row.seeds) for row in table.rows), default=0)
    over = (
        "Means over seeds with 95 % intervals (Student's t). CPU s: training, all sites and the coordinator together, "
        "one process."
        if most > 1
        else "One seed: no intervals. Runs differ; three seeds or more tell by how much."
    )
    return f"{over} {MEANINGS}", FRAME, PRICE


def _three(found: Mean | None) -> tuple[str, str, str]:
    low, high = (found.interval if found else None) or (None, None)
    return _plain(found.value if found else None), _plain(low), _plain(high)


def _plain(number: float | None) -> str:
    return "" if number is None else f"{number:.6g}"


def _seconds(found: Mean | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.1f}" if found.value < 10 else f"{found.value:.0f}"  # noqa: PLR2004 - two digits are enough


def _spanned(found: Mean | None) -> str:
    if found is None:
        return "-"
    return f"{found.value:.3f}" + (
        f" [{found.interval[0]:.3f}, {found.interval[1]:.3f}]" if found.interval is not None else ""
    )
