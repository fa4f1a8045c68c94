"""A comparison: what the grid is, what the table says of repetitions, what the drawing shows of the table."""

import csv
import io
import itertools
import math
from xml.etree import ElementTree as ET

import pytest
from scipy import stats

from silosynth.common.engines import CODECS
from silosynth.common.errors import InvalidInput
from silosynth.common.study import Trust
from silosynth.simulations.compare import Grid, Source
from silosynth.simulations.compare_plot import _spread, drawn, page
from silosynth.simulations.compare_table import Cell, Framed, Outcome, as_csv, as_lines, as_markdown, tabulated

SVG = "{http://www.w3.org/2000/svg}"
AUC = {("one", 0.3): (0.70, 0.74, 0.72), ("one", 3.0): (0.84, 0.86, 0.88), ("two", 0.3): (0.6,) * 3}


def outcomes():
    found = [
        Outcome(
            Cell(engine, Trust.SECURE_SUM, epsilon, seed),
            {
                "tstr_auc_gb": Framed(value, 0.5 + 0.01 * seed, 0.9),
                "tvd2": Framed(0.03, 0.07, None),
            },
            cpu_s=10.0 + seed,
        )
        for (engine, epsilon), values in AUC.items()
        for seed, value in enumerate(values)
    ]
    refused = "the study was refused. site <North>: cap per study exhausted"
    return [*found, *(Outcome(Cell("two", Trust.SECURE_SUM, 3.0, seed), reason=refused) for seed in range(3))]


@pytest.fixture
def table():
    return tabulated("made", "silosynth compare study.toml", outcomes())


def test_a_grid_is_every_combination_one_seed_after_the_other():
    engine = next(iter(CODECS))
    grid = Grid.parse(f"{engine}, {engine}", "secure-sum,local", ".3,1,1.0", 2)
    assert (grid.engines, grid.epsilons) == ((engine,), (0.3, 1.0))  # nothing twice
    assert len(grid.cells) == len({cell.name for cell in grid.cells}) == 2 * 2 * 2
    assert [cell.seed for cell in grid.cells] == [0] * 4 + [1] * 4
    assert grid.cells[0].name == f"{engine}-secure-sum-eps0.3-seed0"


@pytest.mark.parametrize(
    ("wrong", "option", "cure"),
    [
        ({"engines": "carrier-pigeon"}, "--engines carrier-pigeon", "autoregressive"),
        ({"engines": " , "}, "--engines", "at least one"),
        ({"trusts": "blind"}, "--trusts blind", "secure-sum or local"),
        ({"epsilons": "1,much"}, "--epsilons much", ".3,1,3,10"),
        ({"epsilons": "1,0"}, "--epsilons 0", "above 0"),
        ({"epsilons": "nan"}, "--epsilons nan", "above 0"),
        ({"epsilons": "inf"}, "--epsilons inf", "1,10"),
        ({"seeds": 0}, "--seeds 0", "3 give an interval"),
    ],
)
def test_a_grid_of_what_there_is_not_names_option_and_cure(wrong, option, cure):
    given = {"engines": "autoregressive", "trusts": "secure-sum", "epsilons": "1", "seeds": 3} | wrong
    with pytest.raises(InvalidInput) as error:
        Grid.parse(**given)
    assert option in str(error.value)
    assert cure in str(error.value)


def test_means_and_intervals_are_students_over_seeds(table):
    row = table.rows[0]
    assert (row.engine, row.epsilon, row.seeds) == ("one", 0.3, (0, 1, 2))
    found = row.means["tstr_auc_gb"]
    expected = stats.t.interval(0.95, 2, loc=0.72, scale=stats.sem([0.70, 0.74, 0.72]))
    assert found.value == pytest.approx(0.72)
    assert found.interval == pytest.approx(expected)
    assert row.cpu.value == pytest.approx(11.0)
    assert table.floor["tstr_auc_gb"] == pytest.approx(0.51)  # hold-outs differ: the mean over repetitions
    assert "tvd2" not in table.ceiling


def test_a_score_that_one_repetition_lacks_has_no_mean():
    """A mean over those that happen to have it could flatter."""
    some = outcomes()[:3]
    some[1] = Outcome(some[1].cell, {"tvd2": Framed(0.03, 0.07, None)}, 10.0)
    row = tabulated("made", "", some).rows[0]
    assert set(row.means) == {"tvd2"}


def test_one_seed_has_no_interval():
    found = tabulated("made", "", outcomes()[:1])
    assert found.rows[0].means["tstr_auc_gb"].interval is None
    assert "no intervals" in as_markdown(found)
    assert drawn(found).count("<title>") == 1


def test_what_failed_is_told_once_with_its_seeds_everywhere(table):
    assert len(table.failures) == 1
    assert "two, secure-sum, epsilon 3: seed 0, 1, 2: the study was refused" in table.failures[0]
    assert "0, 3 failed" in as_markdown(table)
    assert "the study was refused" in "\n".join(as_lines(table))
    assert "site &lt;North&gt;" in page(table)  # text, never markup


def test_scores_of_unequal_samples_are_compared_at_one_size():
    score = {"value": 0.01, "floor": 0.5, "ceiling": 0.2, "matched": {"value": 0.21, "floor": 0.6, "ceiling": 0.2}}
    found = Outcome.of(Cell("one", Trust.LOCAL, 1.0, 0), {"scores": {"tvd2": score}})
    assert found.scores["tvd2"] == Framed(0.21, 0.6, 0.2)
    assert found.cpu_s is None


def test_a_csv_has_every_mean_with_its_ends(table):
    rows = list(csv.DictReader(io.StringIO(as_csv(table))))
    assert [row["engine"] for row in rows] == ["floor", "ceiling", "one", "one", "two", "two"]
    assert float(rows[2]["tstr_auc_gb"]) == pytest.approx(0.72)
    assert float(rows[2]["tstr_auc_gb_low"]) < 0.72 < float(rows[2]["tstr_auc_gb_high"])
    assert (rows[5]["tstr_auc_gb"], rows[5]["failed"], rows[5]["seeds"]) == ("", "3", "0")


def parsed(svg):
    return ET.fromstring(svg)  # noqa: S314 - our own words


def points(svg):
    """Place of each marker, by what is said of it."""
    found = {}
    for group in parsed(svg).iter(f"{SVG}g"):
        title = group.find(f"{SVG}title")
        if title is not None:
            x, y = group.find(f"{SVG}path").get("d").lstrip("M").split("a")[0].split("h")[0].split("l")[0].split()
            found[title.text] = float(x), float(y)
    return found


def test_the_drawing_has_a_line_for_each_engine_between_floor_and_ceiling(table):
    svg = drawn(table)
    drawing = parsed(svg)
    words = [element.text for element in drawing.iter(f"{SVG}text")]
    assert {"one, secure-sum", "two, secure-sum"} <= set(words)
    assert {"floor 0.510: independent columns", "ceiling 0.900: real rows"} <= set(words)
    assert {"0.3", "3", "epsilon (logarithmic)"} <= set(words)
    found = points(svg)
    assert len(found) == 3  # the fourth study failed
    low, high = (found[f"one, secure-sum, epsilon {e}: {v}"] for e, v in (("0.3", "0.720"), ("3", "0.860")))
    assert low[0] < high[0]
    assert low[1] > high[1]  # up is better
    assert "0.720 at epsilon 0.3" in drawing.get("aria-label")


def test_epsilon_has_a_logarithmic_axis():
    values = {0.1: 0.6, 1.0: 0.7, 10.0: 0.8}
    some = [Outcome(Cell("one", Trust.LOCAL, e, 0), {"tstr_auc_gb": Framed(v, 0.5, 0.9)}) for e, v in values.items()]
    (left, _), (middle, _), (right, _) = points(drawn(tabulated("made", "", some))).values()
    assert middle - left == pytest.approx(right - middle, abs=0.2)


def test_a_bar_too_long_for_the_picture_is_cut_at_its_edge():
    some = [
        Outcome(Cell("one", Trust.LOCAL, 1.0, seed), {"tstr_auc_gb": Framed(v, 0.5, 0.9)})
        for seed, v in enumerate((0.5, 0.9))
    ]
    assert tabulated("made", "", some).rows[0].means["tstr_auc_gb"].interval[0] < 0
    for path in parsed(drawn(tabulated("made", "", some))).iter(f"{SVG}path"):
        for part in path.get("d").replace("M", " M").split():
            assert "V-" not in part
    assert len(drawn(tabulated("made", "", []))) > 100  # nothing yet: an empty frame


def test_without_a_target_pair_trends_are_the_utility():
    some = [Outcome(Cell("one", Trust.LOCAL, 1.0, 0), {"pair_trends": Framed(0.9, 0.8, 0.95)})]
    found = tabulated("made", "", some)
    assert found.scores == ("pair_trends",)
    assert "Pair trends" in drawn(found)
    assert as_lines(found)[0].split()[:5] == ["engine", "trust", "epsilon", "seeds", "pair"]


def test_names_in_the_margin_never_overlap():
    placed = _spread([100.0, 101.0, 99.0, 300.0, 301.0])
    ordered = sorted(placed)
    assert all(b - a > 17.9 for a, b in itertools.pairwise(ordered))
    assert math.isclose(sum(placed), 901.0)  # they move apart, not away


def test_a_fingerprint_is_of_rows_and_split(tmp_path):
    data, other = tmp_path / "a.csv", tmp_path / "b.csv"
    data.write_text("x\n1\n")
    other.write_text("x\n2\n")
    same = Source(data, "3").fingerprint()
    assert same == Source(data, "3", allow_gaps=True).fingerprint()
    assert same not in {
        Source(other, "3").fingerprint(),
        Source(data, "4").fingerprint(),
        Source(data, "3", other).fingerprint(),
    }
    with pytest.raises(InvalidInput, match=r"nowhere\.csv"):
        Source(tmp_path / "nowhere.csv", "3").fingerprint()
