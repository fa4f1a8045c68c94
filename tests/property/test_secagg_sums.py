"""Sums are exact whoever answers: every set and every drop-out pattern of small rosters, random ones of large."""

from itertools import chain, combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from secagg_made import R32, R64, Session, agreement_of, asked

from silosynth.common.errors import QuorumLost
from silosynth.common.secagg import messages
from silosynth.common.secagg.roster import Roster

RINGS = {32: R32, 64: R64}
SIZE = 3


@pytest.fixture
def verified_once(monkeypatch):
    """Thousands of signatures are the same few hundred: all sites are one process here."""
    verified, found = messages._verified, {}

    def once(kind, frame, agreement):
        if frame not in found:
            found[frame] = verified(kind, frame, agreement)
        return found[frame]

    monkeypatch.setattr(messages, "_verified", once)


@pytest.fixture(autouse=True)
def no_end_of_retries(monkeypatch):
    """One session for all patterns; how often a site lets itself be asked again in one is tested elsewhere."""
    monkeypatch.setattr(Roster, "retries", 10_000)


def subsets(sites, least):
    return chain.from_iterable(combinations(sites, k) for k in range(least, len(sites) + 1))


def values_of(n, bits, seed=0):
    """Values as large as their sum may be."""
    bound = RINGS[bits].largest // n
    return np.random.default_rng(seed).integers(-bound, bound, (n, SIZE), endpoint=True)


def run(session, question, silent, values):
    """The total, asked again without those who are silent in each attempt; and the answers that were paid for."""
    tally = session.coordinator.tally(question)
    paid = 0
    for gone in silent:
        for site in tally.missing:
            masked = session.sites[site].begin(tally.asked).mask(values[site])
            paid += 1
            if site not in gone:
                tally.accept(masked)
        if not tally.missing:
            return tally, paid
        question = tally.retry()
    for site in tally.missing:
        tally.accept(session.sites[site].begin(question).mask(values[site]))
        paid += 1
    return tally, paid


@pytest.mark.parametrize(("n", "bits"), [(3, 32), (3, 64), (4, 32), (4, 64), (5, 32), (5, 64), (6, 32), (6, 64)])
def test_every_set_and_every_pattern_of_drop_outs(n, bits):
    """Every S, every set of members that are silent once: the total of the rest, or an end that says what was spent."""
    session, values = Session.confirmed(agreement_of(n)), values_of(n, bits)
    patterns = ((members, silent) for members in subsets(range(n), 3) for silent in subsets(members, 0))
    for number, (members, silent) in enumerate(patterns):
        question = asked(members, attempt=2 * number, ring=RINGS[bits], size=SIZE)
        left = [site for site in members if site not in silent]
        if len(left) < 3:
            with pytest.raises(QuorumLost, match=f"{len(left)} of at least 3"):
                run(session, question, [silent], values)
            continue
        tally, paid = run(session, question, [silent], values)
        assert tally.total().tolist() == values[left].sum(axis=0).tolist()
        assert tally.asked.members == tuple(left)
        assert paid == sum(len(one.asked) for one in tally.attempts)  # charges equal attempts
        assert len(tally.attempts) == 1 + bool(silent)


@pytest.mark.parametrize("bits", RINGS)
@pytest.mark.parametrize("n", [7, 8, 9, 10, 11, 12, 30])
def test_random_sets_and_drop_outs_of_larger_rosters(n, bits, verified_once):
    rng = np.random.default_rng(n)
    session, values = Session.confirmed(agreement_of(n)), values_of(n, bits)
    for release in range(6):
        members = tuple(sorted(rng.permutation(n)[: rng.integers(5, n + 1)].tolist()))
        silent = [set(rng.permutation(members)[: rng.integers(0, len(members) - 2)].tolist())]
        left = [site for site in members if site not in silent[0]]
        silent.append(set(left[: rng.integers(0, len(left) - 2)]))
        tally, paid = run(session, asked(members, release=release, ring=RINGS[bits], size=SIZE), silent, values)
        assert tally.total().tolist() == values[list(tally.asked.members)].sum(axis=0).tolist()
        assert paid == sum(len(one.asked) for one in tally.attempts)


def test_a_hundred_sites(verified_once):
    session = Session.confirmed(agreement_of(100, 30, 40, releases=4))
    for release, (bits, silent) in enumerate(((32, []), (64, [set(range(0, 100, 3))]))):
        values = values_of(100, bits)
        tally, _ = run(session, asked(range(100), release=release, ring=RINGS[bits], size=SIZE), silent, values)
        assert len(tally.asked.members) == (100 if not silent else 66)
        assert tally.total().tolist() == values[list(tally.asked.members)].sum(axis=0).tolist()


FIVE = agreement_of(5)


@settings(deadline=None, max_examples=30)
@given(st.data(), st.sampled_from(sorted(RINGS)), st.integers(1, 40))
def test_any_values_of_any_size(data, bits, size):
    bound = RINGS[bits].largest // 5
    columns = st.lists(st.integers(-bound, bound), min_size=size, max_size=size)
    values = [np.array(data.draw(columns), dtype=np.int64) for _ in range(5)]
    session = Session.confirmed(FIVE)
    tally = session.coordinator.tally(asked(range(5), ring=RINGS[bits], size=size))
    for site, value in zip(session.sites, values, strict=True):
        tally.accept(site.begin(tally.asked).mask(value))
    assert tally.total().tolist() == sum(values).tolist()
