"""The ledger against a model that fits on a page, under any sequence of calls and restarts."""

import tempfile
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from silosynth.client.entries import Planned, PlannedStep, Reserved
from silosynth.client.ledger import Ledger
from silosynth.client.refusal import Reason, Refused
from silosynth.common.privacy import Gaussian, View

EVENT = Gaussian(Fraction(7, 2), 4)
COST = Fraction(4, 49)
RELEASES = 3
CAP = 8 * COST

studies = st.sampled_from(["a" * 64, "b" * 64, "c" * 64])
places = {"study": studies, "release": st.integers(0, RELEASES), "attempt": st.integers(0, 2)}
contexts = st.sampled_from("xy")


class Page:
    """What the model remembers of a study: who reserved what, in order, and what was committed."""

    def __init__(self):
        self.open = True
        self.voided = False
        self.reserved = []  # (release, attempt, context), as they came
        self.payloads = {}  # (release, attempt) -> bytes
        self.receipt = None

    def may_reserve(self, release, attempt, context):
        if not self.open or release >= RELEASES:
            return False
        if not self.reserved:
            return release == 0
        last, tried, asked = self.reserved[-1]
        if (release, attempt) == (last, tried):
            return context == asked
        if release == last:
            return attempt > tried
        return release == last + 1 and any(place[0] == last for place in self.payloads)


class LedgerAgainstModel(RuleBasedStateMachine):
    """Two handles of one file stand for two processes."""

    @initialize()
    def begin(self):
        self.folder = tempfile.TemporaryDirectory()
        self.path = Path(self.folder.name) / "ledger.sqlite"
        self.handles = [Ledger(self.path), Ledger(self.path)]
        self.pages = {}
        self.charges = defaultdict(Fraction)  # by study
        self.made = 0

    def teardown(self):
        if hasattr(self, "handles"):
            for handle in self.handles:
                handle.close()
            self.folder.cleanup()

    @property
    def spent(self):
        return sum(self.charges.values(), Fraction(0))

    @staticmethod
    def capped(after):
        if after.lifetime.aggregate > CAP:
            raise Refused(Reason.LIFETIME_CAP)

    def agrees(self, expected, act):
        """`act` succeeds if it should, and raises Refused if not."""
        if expected:
            return act()
        with pytest.raises(Refused):
            act()
        return None

    @rule(study=studies, who=st.booleans())
    def plan(self, study, who):
        page = self.pages.get(study)
        expected = not page.voided if page else self.spent + RELEASES * COST <= CAP
        steps = (PlannedStep("count", 1, EVENT), PlannedStep("sum", RELEASES - 1, EVENT))
        self.agrees(expected, lambda: self.handles[who].plan(Planned(study, "s", "1e-05", True, steps), self.capped))
        if expected and page is None:
            self.pages[study] = Page()
            self.charges[study] = RELEASES * COST

    @rule(**places, context=contexts, who=st.booleans())
    def reserve(self, study, release, attempt, context, who):
        page = self.pages.get(study)
        may = page is not None and page.may_reserve(release, attempt, context)
        new = may and (release, attempt, context) not in page.reserved
        charge = COST if new and attempt else Fraction(0)
        expected = may and (not charge or self.spent + charge <= CAP)
        wanted = Reserved(study, release, attempt, context, EVENT)
        self.agrees(expected, lambda: self.handles[who].reserve(wanted, self.capped))
        if expected and new:
            page.reserved.append((release, attempt, context))
            self.charges[study] += charge

    @rule(**places, who=st.booleans())
    def commit(self, study, release, attempt, who):
        page = self.pages.get(study)
        newest = page.reserved[-1][:2] if page and page.reserved else None
        expected = page is not None and page.open and newest == (release, attempt)
        self.made += 1
        payload = str(self.made).encode()
        kept = self.agrees(expected, lambda: self.handles[who].commit(study, release, attempt, payload, 1))
        if expected:
            assert kept.payload == page.payloads.setdefault((release, attempt), payload)

    @rule(**places, context=contexts, who=st.booleans())
    def recall(self, study, release, attempt, context, who):
        page = self.pages.get(study)
        kept = self.handles[who].recall(study, release, attempt, context)
        newest = list(page.payloads)[-1] if page and page.payloads else None
        if newest == (release, attempt) and (release, attempt, context) in page.reserved:
            assert kept.payload == page.payloads[newest]
        else:
            assert kept is None

    @rule(study=studies, who=st.booleans())
    def void(self, study, who):
        page = self.pages.get(study)
        expected = page is not None and page.open
        self.agrees(expected, lambda: self.handles[who].void(study))
        if expected:
            page.open, page.voided = False, True
            self.charges[study] -= COST * (RELEASES - len({release for release, *_ in page.reserved}))

    @rule(study=studies, who=st.booleans())
    def settle(self, study, who):
        page = self.pages.get(study)
        said = self.agrees(page is not None and not page.voided, lambda: self.handles[who].settle(study))
        if said:
            page.open = False
            head, charges = said
            assert page.receipt in (None, said)
            assert self.handles[who].is_ancestor(head)
            assert charges.charged.aggregate == self.charges[study]
            listed = [(run.release + at, run.attempt) for run in charges.reserved for at in range(run.count)]
            assert listed == [(release, attempt) for release, attempt, _ in page.reserved]
            page.receipt = said

    @rule(who=st.booleans())
    def restart(self, who):
        self.handles[who].close()
        self.handles[who] = Ledger(self.path)

    @invariant()
    def spent_is_what_was_charged(self):
        if hasattr(self, "handles"):
            for handle in self.handles:
                assert handle.spent(View.AGGREGATE) == self.spent <= CAP
                assert handle.spent(View.LOCAL) == 4 * self.spent


LedgerAgainstModel.TestCase.settings = settings(
    max_examples=60, stateful_step_count=25, deadline=None, derandomize=True, database=None
)
TestLedger = LedgerAgainstModel.TestCase
