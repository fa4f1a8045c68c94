"""Every way to ask honest sites different things, for up to five sites: which combinations of answers open?

Masks are unknown numbers, one for each key that the real derivations make and no colluder can: a site's answer is its
noised value plus a signed sum of them. A linear combination of answers opens if all unknowns cancel: the left null
space of the matrix of signs, found exactly, modulo a prime. The protocol holds if it is spanned by the totals over all
honest members of S for those questions that all of them answered, and by nothing else.

Labels stand for anything that a question says beside S: here task, attempt, or the transcript that the site joined.
"""

from dataclasses import replace
from itertools import combinations, product

import numpy as np
import pytest
from secagg_enemy import Colluder, confirmed_by_force, forged
from secagg_made import agreement_of, asked, derived, site_session

from silosynth.common.secagg import masks
from silosynth.common.secagg.encoding import prefixed
from silosynth.common.secagg.messages import read_opening
from silosynth.common.secagg.rounds import Round

PRIME = 2**61 - 1
LABELS = ({}, {"task": derived("other weights")}, {"transcript": 1}, {"attempt": 1})
CONTEXT = Round.context


class Search:
    """All answers that an honest site can be brought to give, as rows of signs, from real sessions."""

    def __init__(self, monkeypatch, n, c, t, labels, key=None):
        self.agreement = agreement_of(n, c, t)
        self.honest = range(n - c)
        self.sets = [s for k in range(t, n + 1) for s in combinations(range(n), k)]
        openings = [site_session(self.agreement, i).opening for i in self.honest]
        copied = {} if key is None else {"key": key}
        colluders = [
            [forged(self.agreement, i, nonce=derived(i, which), **copied) for i in range(n - c, n)] for which in (0, 1)
        ]
        self.openings = [[*openings, *one] for one in colluders]
        self.rows = {i: self._rows(monkeypatch, i, labels) for i in self.honest}
        self.known = self._known(labels) if key is None else set()

    def questions(self, labels):
        for members in self.sets:
            for label in range(labels):
                changes = dict(LABELS[label])
                yield members, label, changes.pop("transcript", 0), asked(members, size=1, **changes)

    def _rows(self, monkeypatch, site, labels):
        """The signs with which a site adds each mask, by question: recorded where it adds them."""
        rows, added = {}, []
        with monkeypatch.context() as patch:
            patch.setattr(masks, "add_mask", lambda _v, key, *, negative: added.append((key, -1 if negative else 1)))
            for members, label, transcript, question in self.questions(labels):
                if site in members:
                    _, sites = confirmed_by_force(self.agreement, self.honest, self.openings[transcript])
                    added.clear()
                    sites[site].begin(question).mask(np.zeros(1, dtype=np.int64))
                    row = {}
                    for key, sign in added:
                        row[key] = row.get(key, 0) + sign
                    rows[members, label] = {key: sign for key, sign in row.items() if sign}
        return rows

    def _known(self, labels):
        """Keys of masks that colluders compute from what they hold."""
        known = set()
        for members, _, which, question in self.questions(labels):
            transcript, _ = confirmed_by_force(self.agreement, (), self.openings[which])
            for i in set(members) - set(self.honest):
                colluder = Colluder(self.agreement, i)
                known |= {colluder.mask_key(transcript, j, question) for j in self.honest if j in members}
        return known

    def patterns(self, most):
        """Who is asked what: every site `most` questions or fewer."""
        options = [[some for k in range(most + 1) for some in combinations(self.rows[i], k)] for i in self.honest]
        for pattern in product(*options):
            asked_of = [(i, question) for i, some in zip(self.honest, pattern, strict=True) for question in some]
            if asked_of:
                yield asked_of

    def unknowns(self, site, question):
        return {key: sign for key, sign in self.rows[site][question].items() if key not in self.known}

    def violations(self, most=1):
        """Patterns in all, patterns in which more opens than promised, the fewest answers in what opens there.

        And patterns in which less opens: with masks that colluders do not know, a total may stay shut.
        """
        count, more, less, least = 0, 0, 0, len(self.agreement.roster)
        plain = {i: {question: self.unknowns(i, question) for question in self.rows[i]} for i in self.honest}
        for asked_of in self.patterns(most):
            count += 1
            opened = reduced(null_space([plain[i][question] for i, question in asked_of]))
            promised = reduced(self.promised(asked_of))
            if opened == promised:
                continue
            if reduced([*promised, *opened]) == promised:
                less += 1
                continue
            more += 1
            least = min([least, *(sum(1 for value in one if value) for one in opened)])
        return count, more, less, least

    def promised(self, asked_of):
        """Totals of questions that all honest members of their S have answered."""
        for question in {question for _, question in asked_of}:
            members = {i for i in question[0] if i in self.honest}
            if {i for i, one in asked_of if one == question} == members:
                yield [int(one == question) for _, one in asked_of]


def null_space(rows):
    """Vectors l with l @ rows = 0 modulo PRIME, for rows given as {unknown: coefficient}."""
    pivots, found = [], []
    for number, given in enumerate(rows):
        row, made = dict(given), [int(number == i) for i in range(len(rows))]
        for column, pivot, by in pivots:
            factor = row.get(column, 0)
            if factor:
                for key, value in pivot.items():
                    row[key] = (row.get(key, 0) - factor * value) % PRIME
                row = {key: value for key, value in row.items() if value}
                made = [(one - factor * other) % PRIME for one, other in zip(made, by, strict=True)]
        if not row:
            found.append(made)
            continue
        column = next(iter(row))
        inverse = pow(row[column], -1, PRIME)
        scaled = {key: value * inverse % PRIME for key, value in row.items()}
        pivots.append((column, scaled, [value * inverse % PRIME for value in made]))
    return found


def reduced(vectors):
    """The reduced echelon form of a basis: equal for equal spaces."""
    basis = []
    for given in vectors:
        vector = [value % PRIME for value in given]
        for other in basis:
            vector = without(vector, other)
        lead = next((value for value in vector if value), None)
        if lead is not None:
            vector = [value * pow(lead, -1, PRIME) % PRIME for value in vector]
            basis = sorted([*(without(other, vector) for other in basis), vector])
    return basis


def without(vector, pivot):
    at = next(i for i, value in enumerate(pivot) if value)
    return [(one - vector[at] * other) % PRIME for one, other in zip(vector, pivot, strict=True)]


@pytest.mark.parametrize(
    ("n", "c", "t", "labels", "patterns"),
    [
        (3, 1, 3, 4, 24),
        (4, 1, 3, 3, 2196),
        (4, 1, 4, 4, 124),
        (4, 2, 4, 4, 24),
        (5, 1, 5, 4, 624),
        (5, 2, 4, 3, 4095),
        (5, 3, 5, 4, 24),
        (4, 1, 3, 4, 4912),
        pytest.param(5, 1, 4, 3, 65535, marks=pytest.mark.slow),
        pytest.param(5, 1, 3, 2, 279840, marks=pytest.mark.slow),
    ],
)
def test_nothing_but_totals_over_all_honest_members_of_one_set_opens(n, c, t, labels, patterns, monkeypatch):
    count, more, less, _ = Search(monkeypatch, n, c, t, labels).violations()
    assert (count, more, less) == (patterns, 0, 0)


@pytest.mark.parametrize(("n", "c", "t", "patterns"), [(3, 1, 3, 255), (4, 1, 4, 4095), (4, 2, 4, 255)])
def test_nor_does_it_from_any_number_of_answers_together(n, c, t, patterns, monkeypatch):
    """Every site may have answered any of the four questions, or all: sums of attempts reveal no other sums."""
    count, more, less, _ = Search(monkeypatch, n, c, t, 4).violations(most=4)
    assert (count, more, less) == (patterns, 0, 0)


@pytest.mark.parametrize("field", ["members", "task", "transcript"])
def test_the_search_finds_what_opens_without_a_binding(field, monkeypatch):
    nothing = {"members": (), "task": bytes(32)}
    if field == "transcript":
        monkeypatch.setattr(Round, "context", lambda self, agreement, _t: CONTEXT(self, agreement, bytes(32)))
        bound = masks.pair_info
        monkeypatch.setattr(masks, "pair_info", lambda agreement, _t, *pair: bound(agreement, bytes(32), *pair))
    else:
        blank = {field: nothing[field]}
        monkeypatch.setattr(
            Round, "context", lambda self, agreement, transcript: CONTEXT(replace(self, **blank), agreement, transcript)
        )
    count, more, _, _ = Search(monkeypatch, 4, 1, 3, 3).violations()
    assert count == 2196
    assert more > 20


def test_the_search_finds_a_site_alone_where_a_copied_key_counts(monkeypatch):
    """Colluders announce the key of site 0; they know no mask, but those of one secret with two signs cancel."""
    agreement = agreement_of(3)
    key = read_opening(site_session(agreement, 0).opening, agreement).key
    _, more, less, _ = Search(monkeypatch, 3, 1, 3, 1, key=key).violations()
    assert (more, less) == (0, 1)  # not even the total: nobody has the colluder's masks
    monkeypatch.setattr(
        masks, "pair_info", lambda agreement, transcript, one, other: prefixed(transcript, *sorted((one[1], other[1])))
    )
    _, more, _, least = Search(monkeypatch, 3, 1, 3, 1, key=key).violations()
    assert more > 0
    assert least == 1
