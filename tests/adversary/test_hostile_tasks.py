"""Tasks made to hurt: weights and coarsenings under which a row could stop a release, or reach another row."""

import mechanism_checks as checks
import numpy as np
import pytest
import torch
from engine_fixtures import SCHEMA, rows, study

from silosynth.client.engines.autoregressive import Autoregressive, check_rows_do_not_meet
from silosynth.common.engine import Parts
from silosynth.common.engines import autoregressive as engine
from silosynth.common.engines import autoregressive_terms as terms_module
from silosynth.common.engines.autoregressive_shape import Shape
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.errors import MalformedFrame, NotPossible

SHAPE = Shape((2, 3, 4), 4, 8, 48)


@pytest.mark.parametrize("bins", [(1, -1), (2, -1, 0), (-1, 0), (-(1 << 63), 0), (1 << 62, 0), ((1 << 63) - 1, 0)])
@pytest.mark.parametrize("kind", ["pairs", "gradient"])
def test_bins_that_are_none_are_refused_before_rows_are_read(bins, kind):
    maps = tuple((0,) * size for size in SCHEMA.sizes)
    hostile = (bins + (bins[0],) * (SCHEMA.sizes[0] - len(bins)), *maps[1:])
    with pytest.raises(MalformedFrame):
        engine.put_together(study(1.0), Parts(kind, hostile))


class Overflowing(checks.Dense):
    """Terms that do nothing about overflow."""

    def squared_norms(self):
        return (self.chosen**2).sum(axis=1)


def test_a_row_that_overflows_stops_no_release_even_where_warnings_are_errors():
    terms = Overflowing(np.array([[0.0, 0.0], [0.5, 0.5], [1e300, 0.0]]))
    with np.errstate(all="raise"):
        without, beside = (checks.clipped_sum(checks.Silent(), checks.units(rows), terms)[0] for rows in ([1], [1, 2]))
    assert without.any()
    assert np.array_equal(without, beside)


@pytest.mark.parametrize(("low", "high"), [(1e5, 1e30), (1e37, torch.inf)], ids=["large", "overflowing"])
def test_a_machine_whose_kernels_look_at_their_neighbours_values_is_refused(monkeypatch, low, high):
    def by_slot(*arguments):
        result = honest(*arguments)
        seen = result[:, ::7].abs()
        if ((low <= seen) & (seen <= high)).any():
            result[:, 1::7] = torch.nextafter(result[:, 1::7], torch.tensor(torch.inf))
        return result

    honest = terms_module._hidden
    monkeypatch.setattr(terms_module, "_hidden", by_slot)
    with pytest.raises(NotPossible, match="influence each other"):
        check_rows_do_not_meet.__wrapped__(SHAPE)


def test_a_site_half_computes_in_one_thread():
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        Autoregressive(study(1.0))
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_an_identity_coarsening_of_every_column_is_priced_by_what_it_answers():
    of = study(1.0)
    finest = Coarsening(tuple(tuple(range(size)) for size in SCHEMA.sizes))
    claim = Autoregressive(of).claim(engine.CountPairs(finest))
    mechanism = checks.metered(checks.Silent())
    Autoregressive(of).answer(engine.CountPairs(finest), checks.units(rows(50), columns=4), mechanism)
    assert mechanism._answers[0][1].shape == (claim.size,)
