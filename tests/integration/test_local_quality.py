"""Adult at five unlike sites that trust nobody, through simulate(), with real noise, as the benchmark measures it."""

import pytest

from silosynth.common.progress import silent
from silosynth.common.study import Trust
from silosynth.simulations.bench import local

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]


@pytest.mark.parametrize("epsilon", [1.0, 3.0])
def test_the_mixture_reaches_its_bar(epsilon):
    rows = list(local.local((0, 1, 2), silent, (epsilon,), (Trust.LOCAL,)))
    print("\n".join(row.line() for row in rows))
    if rows[0].value is None:
        pytest.skip(rows[0].note)
    assert [row.passed for row in rows if row.bar is not None] == [True]
