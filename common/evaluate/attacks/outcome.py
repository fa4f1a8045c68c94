"""What attacks found, as values: every risk beside that of people who were not in the data.

A rate alone says nothing: half of all secrets can be guessed about anybody. What counts is how much more often an
attack succeeds against people whose rows were trained on (members) than against an equal number of held-out people
(control), and how that compares with publishing the real rows themselves.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from silosynth.common.evaluate.attacks.chance import Lead, Ranking, Rate

FORMAT: Final = 1

FALSE_ALARM: Final = 0.001
"""Chance, at most, that any attack on a table that owes its members nothing is reported as having found them."""

TESTS: Final = 8
"""Attacks that share it: each one is reported at p < FALSE_ALARM / TESTS."""


@dataclass(frozen=True)
class Reduction:
    """How much less a synthetic table gives to an attack than the real rows would, in percent, with 95 % interval.

    0: as much as publishing the real rows; 100: no more than nothing. The lead from publishing is taken as given.
    """

    percent: float
    interval: tuple[float, float]


@dataclass(frozen=True)
class Attack:
    """One attack: members against the control group."""

    name: str
    says: str
    method: str
    tried_on: str  # what `members` and `control` count: persons or predicates
    members: Rate
    control: Rate
    lead: Lead
    ranking: Ranking | None = field(default=None, repr=False)

    @property
    def found(self) -> bool:
        """Whether members were found, at this attack's share of FALSE_ALARM."""
        return self.lead.p_value < FALSE_ALARM / TESTS

    @property
    def words(self) -> str:
        """What came of it, in two sentences."""
        verdict = "chance does not explain that" if self.found else "no more than chance explains"
        rates = f"{self.members.value:.1%} among members, {self.control.value:.1%} in the control group"
        return f"{self.says} {rates}: {verdict}."

    @property
    def reduction(self) -> Reduction | None:
        """Against publishing the real rows; None where that would not help this attack either."""
        ceiling = self.lead.ceiling
        if ceiling <= LEAST_CEILING:
            return None
        low, high = self.lead.interval
        return Reduction(_percent(self.lead.value, ceiling), (_percent(high, ceiling), _percent(low, ceiling)))

    def to_json(self) -> dict[str, Any]:
        """As in metrics.json."""
        out: dict[str, Any] = {
            "found": self.found,
            "p_value": float(f"{self.lead.p_value:.3g}"),
            "members": _rate(self.members),
            "control": _rate(self.control),
            "tried_on": self.tried_on,
            "lead": {
                "value": round(self.lead.value, 6),
                "interval": _ends(self.lead.interval),
                "floor": 0,
                "ceiling": round(self.lead.ceiling, 6),
                "better": "lower",
            },
            "reduction_percent": None if self.reduction is None else _reduction(self.reduction),
            "says": self.says,
            "words": self.words,
            "method": self.method,
        }
        if self.ranking is not None:
            auc = {"value": round(self.ranking.auc, 6), "interval": _ends(self.ranking.auc_interval), "floor": 0.5}
            out |= {"auc": auc, "at_false_positive_rate": self.ranking.at}
        return out


LEAST_CEILING: Final = 0.05
"""Where publishing the real rows puts members no further ahead than this, a share of it means nothing."""


@dataclass(frozen=True)
class Skipped:
    """An attack that was not run, and why."""

    name: str
    why: str


@dataclass(frozen=True)
class Attacks:
    """All attacks on one table."""

    done: tuple[Attack, ...]
    skipped: tuple[Skipped, ...]
    rows: tuple[tuple[str, int], ...]

    def __iter__(self) -> Iterator[Attack]:
        return iter(self.done)

    @property
    def found(self) -> tuple[str, ...]:
        """Names of the attacks that found members."""
        return tuple(attack.name for attack in self.done if attack.found)

    @property
    def reduction(self) -> Reduction | None:
        """Over all attacks, each weighted by what it gains from the real rows; ends hold however attacks depend."""
        shown = [(attack.lead.ceiling, attack.reduction) for attack in self.done]
        some = [(weight, one) for weight, one in shown if one is not None]
        total = sum(weight for weight, _ in some)
        if not some:
            return None
        low, high = (sum(weight * one.interval[end] for weight, one in some) / total for end in (0, 1))
        return Reduction(sum(weight * one.percent for weight, one in some) / total, (low, high))

    @property
    def worst(self) -> Attack | None:
        """The attack whose risk was reduced least."""
        judged = [(attack.reduction.percent, attack) for attack in self.done if attack.reduction is not None]
        return min(judged, key=lambda pair: pair[0])[1] if judged else None

    def to_json(self) -> dict[str, Any]:
        """As in metrics.json."""
        return {
            "format": FORMAT,
            "found": list(self.found),
            "false_alarm_rate": FALSE_ALARM,
            "reduction_percent": None if self.reduction is None else _reduction(self.reduction),
            "worst": None if self.worst is None else self.worst.name,
            "attacks": {attack.name: attack.to_json() for attack in self.done},
            "skipped": {one.name: one.why for one in self.skipped},
            "rows": dict(self.rows),
        }


def _percent(lead: float, ceiling: float) -> float:
    return 100 * min(1.0, max(0.0, 1 - lead / ceiling))


def _rate(one: Rate) -> dict[str, Any]:
    return {"value": round(one.value, 6), "interval": _ends(one.interval), "hits": one.hits, "of": one.of}


def _reduction(one: Reduction) -> dict[str, Any]:
    return {"value": round(one.percent, 2), "interval": [round(end, 2) for end in one.interval]}


def _ends(interval: tuple[float, float]) -> list[float]:
    return [round(end, 6) for end in interval]
