"""Plans, reservations and answers for tests of the ledger."""

from fractions import Fraction

import pytest

from silosynth.client.entries import Planned, PlannedStep, Reserved
from silosynth.client.refusal import Reason, Refused
from silosynth.common.privacy import Gaussian

EVENT = Gaussian(Fraction(7, 2), 4)
COST = Fraction(4, 49)
STUDY = "a" * 64
OTHER = "b" * 64


def planned(study=STUDY, repeats=3, *, event=EVENT, private=True):
    return Planned(
        study, "a study", "1e-05", private, (PlannedStep("first", 1, event), PlannedStep("sum", repeats, event))
    )


def reserved(release, attempt=0, *, study=STUDY, context="c", event=EVENT):
    return Reserved(study, release, attempt, context, event)


def anything(_):
    return None


def cap_of(limit):
    def check(after):
        if after.lifetime.aggregate > limit:
            raise Refused(Reason.LIFETIME_CAP)

    return check


def answered(ledger, release, attempt=0, *, study=STUDY, context="c", payload=b"x" * 16):
    ledger.reserve(reserved(release, attempt, study=study, context=context), anything)
    return ledger.commit(study, release, attempt, payload, 2)


def refused_with(reason):
    return pytest.raises(Refused, match=f"^{reason.value}$")
