"""The benchmark of masks compares a masked study with one that is not."""

from silosynth.common.progress import silent
from silosynth.simulations.bench import masks
from silosynth.simulations.local import How


def test_one_of_each_turn_is_masked(monkeypatch):
    asked = []
    monkeypatch.setattr(masks, "run", lambda _study, _cohort, how, _progress: asked.append(how))
    rows = list(masks.masks((0, 1), silent))
    assert [how.plain_sums for how in asked] == [False, True] * 3
    assert len({how.out for how in asked}) == 6
    assert not any(how.evaluate for how in asked)
    assert isinstance(asked[0], How)
    assert [row.name for row in rows] == [
        "demo, masked, CPU",
        "demo, plain, CPU",
        "demo, masked / plain, CPU",
        "demo, masked / plain, wall",
    ]
    assert [row.bar for row in rows] == [None, None, masks.BAR, None]
