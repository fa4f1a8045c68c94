"""What the outcomes of the benchmark of record say together: means over seeds, as Markdown, CSV and a plot a table.

Everything here is a function of outcomes; floor and ceiling of a repetition are its frame's, which every contestant
shares.
"""

import csv
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Final

from silosynth.common.engines import CODECS
from silosynth.server.files import write_text
from silosynth.simulations import compare_plot, compare_table
from silosynth.simulations.bench.results import machine
from silosynth.simulations.bench.scoring import LIKENESS, USE, signal_kept
from silosynth.simulations.bench.trial import FRAME, Contestant, Outcome
from silosynth.simulations.forecast import Known
from silosynth.simulations.repeats import Mean, mean

COSTS: Final = ("cpu_s", "peak_mib")
SHOWN: Final[Mapping[str, str]] = {
    "kept": "signal kept",
    "auc": "AUC",
    "ap": "average precision",
    "f1": "F1",
    "tvd1": "1-way",
    "tvd2": "2-way",
    "tvd3": "3-way",
    "shapes": "shapes",
    "pairs": "pair trends",
    "cpu_s": "CPU s",
    "peak_mib": "MiB",
}
MEANINGS: Final = (
    (
        "Means over seeds; beside signal kept its 95 % interval (Student's t). AUC, average precision and F1: of "
        "gradient boosting taught on synthetic rows, on held-out real rows. Signal kept: (AUC - .5) / (ceiling - .5). "
        "1-, 2-, 3-way: mean total variation from the training rows, ordered columns in twenty bins (150 triples). "
        "Shapes, pair trends: as SDMetrics. CPU s: learning, all sites and the coordinator together. MiB: peak of the "
        "whole process."
    ),
    (
        "Floor: every column shuffled apart. Ceiling: taught on real rows; for distances and shapes a bootstrap sample "
        "of the training rows. Where persons have several rows, scores take one of each, at random: studies count "
        "persons. Every seed has a partition, a hold-out and noise of its own; a name in round brackets ran centrally."
    ),
)

_CODE: Final = 8


@dataclass(frozen=True)
class Line:
    """All repetitions of one contestant on one table at one epsilon."""

    table: str
    contestant: str
    epsilon: float
    seeds: tuple[int, ...]
    means: Mapping[str, Mean] = field(repr=False)
    codes: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


def lines(outcomes: Sequence[Outcome]) -> list[Line]:
    """In the order of tables, floor and ceiling first; what never finished is told, without means."""
    frames = {(one.trial.table, one.trial.seed): one.scores for one in outcomes if one.trial.contestant.name == FRAME}
    out = [line for table in sorted({table for table, _ in frames}) for line in _of_frames(table, frames)]
    groups: dict[tuple[str, str, float], list[Outcome]] = {}
    for one in outcomes:
        if one.trial.contestant.name != FRAME:
            key = one.trial.table, _name(one.trial.contestant), one.trial.epsilon
            groups.setdefault(key, []).append(one)
    for (table, name, epsilon), group in groups.items():
        done = sorted((one for one in group if one.scores), key=lambda one: one.trial.seed)
        measured = [_measured(one, frames.get((table, one.trial.seed), {})) for one in done]
        codes = tuple(dict.fromkeys(one.code[:_CODE] for one in done))
        failed = tuple(f"seed {one.trial.seed}: {one.failed}" for one in group if one.failed)
        out.append(Line(table, name, epsilon, tuple(one.trial.seed for one in done), _means(measured), codes, failed))
    return sorted(out, key=lambda line: (line.table, line.epsilon))  # stable: contestants as they came


def _of_frames(table: str, frames: Mapping[tuple[str, int], Mapping[str, float]]) -> Iterator[Line]:
    for side in ("floor", "ceiling"):
        found = {seed: scores for (of, seed), scores in sorted(frames.items()) if of == table}
        sides = [
            {name: scores[f"{side}_{name}"] for name in (*LIKENESS, *USE) if f"{side}_{name}" in scores}
            for scores in found.values()
        ]
        yield Line(table, side, 0.0, tuple(found), _means(sides))


def _measured(one: Outcome, frame: Mapping[str, float]) -> dict[str, float]:
    out = {**one.scores, "cpu_s": one.cpu_s, "peak_mib": one.peak_mib}
    if "auc" in one.scores and "ceiling_auc" in frame:
        out["kept"] = signal_kept(one.scores["auc"], frame["ceiling_auc"])
    return out


def _means(measured: Sequence[Mapping[str, float]]) -> dict[str, Mean]:
    names = dict.fromkeys(name for one in measured for name in one)
    return {name: mean([one[name] for one in measured]) for name in names if all(name in one for one in measured)}


def _name(contestant: Contestant) -> str:
    return f"({contestant})" if contestant.central else str(contestant)


def line(outcome: Outcome) -> str:
    """One outcome for a terminal."""
    told = [
        f"{name} {value:.4f}"
        for name in ("auc", "ap", "tvd2", "tvd3")
        if (value := outcome.scores.get(name)) is not None
    ]
    return ", ".join([*told, f"{outcome.cpu_s:.1f} CPU s", f"{outcome.peak_mib:.0f} MiB"])


def as_markdown(found: Sequence[Line], facts: Mapping[str, object]) -> str:
    """For people."""
    parts = ["# Benchmark of record", "", ", ".join(f"{name} {value}" for name, value in facts.items()), ""]
    parts += [paragraph for one in MEANINGS for paragraph in (one, "")]
    for table in dict.fromkeys(one.table for one in found):
        head = ("epsilon", "", "seeds", *SHOWN.values())
        parts += [f"## {table}", "", f"| {' | '.join(head)} |", f"|{' --- |' * len(head)}"]
        parts += [f"| {' | '.join(_cells(one))} |" for one in found if one.table == table]
        failed = [
            f"- {one.contestant}, epsilon {one.epsilon:g}, {why}"
            for one in found
            if one.table == table
            for why in one.failed
        ]
        parts += ["", *failed, *([""] if failed else [])]
    return "\n".join(parts).rstrip() + "\n"


def _cells(one: Line) -> list[str]:
    epsilon = f"{one.epsilon:g}" if one.epsilon else ""
    return [epsilon, one.contestant, str(len(one.seeds)), *(_cell(name, one.means.get(name)) for name in SHOWN)]


def _cell(name: str, found: Mean | None) -> str:
    if found is None:
        return "-"
    if name in COSTS:
        return f"{found.value:.0f}"
    span = f" [{found.interval[0]:.3f}, {found.interval[1]:.3f}]" if name == "kept" and found.interval else ""
    return f"{found.value:.{4 if name.startswith('tvd') else 3}f}{span}"


def as_csv(found: Sequence[Line]) -> str:
    """For programs: a row a mean, with the ends of its interval."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(["table", "contestant", "epsilon", "seeds", "score", "mean", "deviation", "low", "high", "code"])
    for one in found:
        for name, value in one.means.items():
            ends = [f"{end:.6g}" for end in value.interval] if value.interval else ["", ""]
            seeds, codes = " ".join(map(str, one.seeds)), " ".join(one.codes)
            head = [one.table, one.contestant, f"{one.epsilon:g}", seeds]
            writer.writerow([*head, name, f"{value.value:.6g}", f"{value.deviation:.6g}", *ends, codes])
    return file.getvalue()


def as_forecast(outcomes: Sequence[Outcome]) -> str:
    """What `silosynth study forecast` rests on (simulations/forecast.py): a row an engine, table and epsilon."""
    frames = {(one.trial.table, one.trial.seed): one.scores for one in outcomes if one.trial.contestant.name == FRAME}
    groups: dict[tuple[str, str, float], list[Outcome]] = {}
    for one in outcomes:
        contestant = one.trial.contestant
        if one.scores and contestant.name in CODECS and not contestant.settings:
            groups.setdefault((one.trial.table, contestant.name, one.trial.epsilon), []).append(one)
    file = io.StringIO()
    writer = csv.DictWriter(file, [entry.name for entry in fields(Known)], lineterminator="\n")
    writer.writeheader()
    for (table, engine, epsilon), group in sorted(groups.items()):
        framed = [frames[key] for one in group if (key := (table, one.trial.seed)) in frames]
        if len(framed) < len(group):
            continue
        means = _means([_measured(one, frame) for one, frame in zip(group, framed, strict=True)])
        sides = _means(framed)
        kept, rate = means.get("kept"), sides.get("floor_ap")
        known = Known(
            table=table,
            engine=engine,
            epsilon=epsilon,
            units=group[0].units,
            columns=group[0].columns,
            rate=round(rate.value, 3) if rate else 0.0,
            kept=round(kept.value, 4) if kept else math.nan,
            tvd2=round(means["tvd2"].value, 5),
            floor_tvd2=round(sides["floor_tvd2"].value, 5),
        )
        writer.writerow(asdict(known))
    return file.getvalue()


def plot(found: Sequence[Line], table: str) -> str | None:
    """AUC against epsilon between floor and ceiling; None where there is nothing to draw."""
    here = [one for one in found if one.table == table and "auc" in one.means]
    rows = tuple(
        compare_table.Row(one.contestant, None, one.epsilon, one.seeds, {compare_table.WITH_TARGET: one.means["auc"]})
        for one in here
        if one.epsilon
    )
    sides = {one.contestant: {compare_table.WITH_TARGET: one.means["auc"].value} for one in here if not one.epsilon}
    if not rows or len(sides) < len(("floor", "ceiling")):
        return None
    return compare_plot.drawn(
        compare_table.Table(table, "", compare_table.WITH_TARGET, rows, sides["floor"], sides["ceiling"])
    )


def publish(folder: Path, outcomes: Sequence[Outcome]) -> None:
    """SUMMARY.md, results.csv, forecast.csv and TABLE.svg in `folder`."""
    found = lines(outcomes)
    write_text(folder / "forecast.csv", as_forecast(outcomes))
    write_text(folder / "SUMMARY.md", as_markdown(found, machine()))
    write_text(folder / "results.csv", as_csv(found))
    for table in dict.fromkeys(one.table for one in found):
        if (drawn := plot(found, table)) is not None:
            write_text(folder / f"{table}.svg", drawn)
