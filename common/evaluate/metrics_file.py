"""metrics.json: every score between its floor and its ceiling, and all that the report draws beside them.

Format 2. `scores`, `rows`, `notes`, `target`, `outcome` are for people; `columns` holds each column's bars and lost
codes; `pairs` the distances of 2-way tables, by position of their columns; `sections` whatever else was measured. Who
measures a part may write it under a name of its own instead (`attacks`, `federated`, `groups`: found.py).
report.html follows from this file, certificate.json and study.toml alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Final, get_type_hints

from silosynth.common.errors import InvalidInput
from silosynth.common.evaluate.found import with_found
from silosynth.common.evaluate.scores import ColumnDetail, PairDetail, Score, Scores
from silosynth.common.evaluate.sections import Scope, Sections
from silosynth.common.evaluate.stored import plain, restored

FORMAT: Final = 2

_KNOWN: Final = frozenset(("scores", "rows", "notes", "target", "outcome", "columns", "pairs", "sections", "federated"))
"""Fields of Scores that are read one by one; "federated" is told in a form of its own, which found.py reads."""

_NAMED: Final = {"method": "interval_method"}  # as JSON has always called it


@dataclass(frozen=True)
class Metrics:
    """The content of metrics.json. `published`: an ISO date; `input_notes`: what a person should know of the input."""

    scores: Scores
    scope: Scope
    seed: int | None = None
    published: str = ""
    input_notes: tuple[str, ...] = ()
    seconds: Mapping[str, float] = field(default_factory=dict)
    train_cpu_seconds: float | None = None
    peak_memory_mb: float | None = None


def to_json(metrics: Metrics) -> dict[str, Any]:
    """The content of metrics.json."""
    scores = metrics.scores
    out = scores.to_json() | {"format": FORMAT, "scope": str(metrics.scope)}
    for name, score in scores.scores.items():
        out["scores"][name] |= _raw(score, out["scores"][name])
    for column in scores.columns:
        out["columns"][column.name] |= {name: one for name, one in plain(column).items() if name != "name"}
    out["pairs"] = {"of": list(PairDetail.__dataclass_fields__), "rows": plain(scores.pairs)}
    out["sections"] = {name: value for name, value in plain(scores.sections).items() if value}
    facts = ("seed", "published", "input_notes", "seconds", "train_cpu_seconds", "peak_memory_mb")
    return out | {name: plain(getattr(metrics, name)) for name in facts}


def read(content: Any) -> Metrics:
    """What a metrics.json says. Raises InvalidInput for anything but one of this format."""
    if not isinstance(content, dict) or content.get("format") != FORMAT:
        raise InvalidInput(
            f"metrics.json: is not of format {FORMAT}, which this version reads; use the version of silosynth that the "
            "certificate names under 'code'"
        )
    try:
        scores = Scores(
            scores={name: _score(one, name) for name, one in content["scores"].items()},
            rows=restored(Mapping[str, int], content["rows"], "rows"),
            notes=restored(tuple[str, ...], content["notes"], "notes"),
            target=restored(str | None, content["target"], "target"),
            outcome=restored(str | None, content["outcome"], "outcome"),
            columns=tuple(
                restored(ColumnDetail, one | {"name": name}, f"columns.{name}")
                for name, one in content["columns"].items()
            ),
            pairs=_pairs(content["pairs"], len(content["columns"])),
            **_further(content),
            sections=with_found(restored(Sections, content["sections"], "sections"), content),
        )
        return _facts(scores, content)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise InvalidInput(f"metrics.json: {error}; it was changed by hand, or is cut off") from error


def _facts(scores: Scores, content: Mapping[str, Any]) -> Metrics:
    """Metrics around scores that are read already."""
    return Metrics(
        scores,
        restored(Scope, content["scope"], "scope"),
        restored(int | None, content["seed"], "seed"),
        restored(str, content["published"], "published"),
        restored(tuple[str, ...], content["input_notes"], "input_notes"),
        restored(Mapping[str, float], content["seconds"], "seconds"),
        restored(float | None, content["train_cpu_seconds"], "train_cpu_seconds"),
        restored(float | None, content["peak_memory_mb"], "peak_memory_mb"),
    )


def _raw(value: Score, said: Mapping[str, Any]) -> dict[str, Any]:
    """Fields that the form for people leaves out."""
    return {name: one for name, one in plain(value).items() if _NAMED.get(name, name) not in said}


def _score(content: Any, name: str) -> Score:
    named = {**content, **{own: content[said] for own, said in _NAMED.items() if said in content}}
    score: Score = restored(Score, named, f"scores.{name}")
    return score


def _further(content: Mapping[str, Any]) -> dict[str, Any]:
    """Further fields of Scores that stand in metrics.json under their own names, as they are."""
    hints = get_type_hints(Scores)
    further = {one.name for one in fields(Scores)} - _KNOWN
    return {name: restored(hints[name], content[name], name) for name in sorted(further & set(content))}


def _pairs(content: Any, columns: int) -> tuple[PairDetail, ...]:
    pairs: tuple[PairDetail, ...] = restored(tuple[PairDetail, ...], content["rows"], "pairs")
    if any(not 0 <= place < columns for pair in pairs for place in (pair.first, pair.second)):
        raise ValueError("pairs name a column that is not there")
    return pairs
