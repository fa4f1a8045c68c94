"""A study, its certificate's claims, and scores with every optional section: what descriptions are written of."""

from fractions import Fraction

from silosynth.common.certificate import Noise
from silosynth.common.column import Column, Kind
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.scores import Bar, ColumnDetail, GroupDetail, Matched, PairDetail, Score, Scores
from silosynth.common.evaluate.sections import (
    AttackRow,
    AttackTable,
    Audit,
    Curve,
    FederatedScore,
    FederatedScores,
    RareCode,
    Reduction,
    Risk,
    Scope,
    Sections,
)
from silosynth.common.schema import Schema
from silosynth.common.study import Budget, Member, Step, Study
from silosynth.server.certificate import certificate

EVIL = "<script>alert(1)</script>\"'&{x}$y|`*_[z](http://x)"

SCHEMA = Schema(
    (
        Column("age", Kind.INTEGER, low=0, high=120),
        Column("sex", Kind.CATEGORICAL, codes=("m", "f")),
        Column("ill", Kind.BOOLEAN),
        Column("stage", Kind.CATEGORICAL, codes=("1", "2", "3")),
        Column("day", Kind.DATE, low=0, high=30_000),
        Column("at", Kind.DATETIME, low=0, high=86_400),
        Column("dose, mg", Kind.NUMBER, low=0, high=9, decimals=1),
        Column(EVIL, Kind.CATEGORICAL, codes=(EVIL, "b")),
    )
)


def study(**changes):
    roster = tuple(Member(name, 99) for name in ("North", "South", EVIL))
    plan = (Step("one-ways", 1, Fraction(20)), Step("gradient", 50, Fraction(73, 2)))
    given = {"target": "ill", "unit": "person", "roster": roster, "plan": plan, "purpose": f"Teaching. {EVIL}"}
    return Study(EVIL, SCHEMA, Budget(1.0, 1e-5, 1), **(given | changes))


def claims(of=None, noise=Noise.SYSTEM):
    of = of or study()
    return certificate(of, of.releases, noise)


def sections():
    curves = tuple(
        Curve(side, "gradient boosting", auc, ((0.0, 0.0), (0.2, top), (1.0, 1.0)))
        for side, auc, top in (("synthetic", 0.81, 0.6), ("real", 0.88, 0.75), ("floor", 0.49, 0.2))
    )
    rare = (
        RareCode("stage", "3", 0.004, 0.002, (0.0, 0.01)),
        RareCode("stage", EVIL, None, 0.0, (0.0, 0.003), suppressed=True),
    )
    attacks = AttackTable(
        (
            AttackRow(
                "dcr", "How many stand nearer than the nearest 1 %.", "Mann-Whitney", "persons",
                Risk(0.012, (0.008, 0.018)), Risk(0.01, (0.006, 0.016)), Risk(0.002, (-0.004, 0.008)), 0.97,
                found=False, reduction=Reduction(99.8, (99.0, 100.0)),
            ),
            AttackRow(
                "copies", EVIL, "Fisher", "persons",
                Risk(0.06, (0.05, 0.07)), Risk(0.001, (0.0, 0.004)), Risk(0.059, (0.045, 0.07)), 0.98, found=True,
            ),
        ),
        (("linkability", "fewer than four columns"),),
        Reduction(97.0, (95.0, 98.0)),
        0.001,
    )  # fmt: skip
    federated = FederatedScores(
        0.5,
        1e-5,
        (FederatedScore("tvd1", 0.031, (0.025, 0.037), 0.033), FederatedScore(EVIL, 0.8, (0.7, 0.9))),
        (EVIL,),
    )
    return Sections(curves, rare, attacks, federated, Audit(0.31, 1.0, 0.95, "aggregate", "500 canaries"))


def scores(**changes):
    bars = (Bar("0 to 60", 0.51234567, 0.5), Bar("60 to 120", 0.48765433, 0.5))
    given = {
        "scores": {
            "tstr_signal_kept": Score(0.82, 0.0, 1.0, (0.7, 0.9), "higher", "bootstrap"),
            "pair_trends": Score(0.93, 0.8, 0.98, (0.92, 0.94), "higher", "jackknife", Matched(500, 0.93, 0.8, 0.97)),
            "copies": Score(0.0, None, None, None, "lower", "Wilson"),
            "a_new_score": Score(0.5, 0.4, 0.9, (0.45, 0.55), "higher", "bootstrap"),
        },
        "rows": {"train": 1000, "holdout": 250, "synthetic": 1100},
        "notes": (f"a note of {EVIL}",),
        "target": "ill",
        "outcome": "ill is true",
        "columns": (
            ColumnDetail("age", "integer", 0.97, 0.02, 0.01, (0.0, 0.01), bars),
            ColumnDetail(EVIL, "categorical", None, 0.2, None, (0.1, 0.1), bars, (("b", 0.01),)),
        ),
        "pairs": (PairDetail(0, 1, 0.1, 0.2),),
        "groups": (
            GroupDetail("subgroup", "sex = f", 520, 0.04, 0.03, 0.78, 0.86),
            GroupDetail("subgroup", f"sex = {EVIL}", 60, None, None, None, None),
            GroupDetail("site", "north", 400, 0.05, 0.03, 0.7, 0.9),
        ),
        "sections": sections(),
    }
    return Scores(**(given | changes))


def metrics(of=None, **changes):
    given = {"seed": 7, "published": "2026-01-02", "input_notes": (EVIL,), "seconds": {"total": 12.5}}
    return Metrics(of or scores(), changes.pop("scope", Scope.SIMULATION), **(given | changes))
