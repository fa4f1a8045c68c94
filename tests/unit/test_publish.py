"""Published files are whole or absent, blocks make one table, and a certificate can be recomputed by hand."""

import dataclasses
import json
import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pandas as pd
import pyarrow.parquet
import pytest
from small_study import SCHEMA, study

from silosynth.common import accounting
from silosynth.common.errors import InvalidInput
from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Parallel, Repeated
from silosynth.common.progress import silent
from silosynth.common.sampled import certify, epsilon_of
from silosynth.common.study import Step, Trust
from silosynth.server import publish
from silosynth.server.certificate import Asked, Noise, certificate, performed, prices
from silosynth.server.files import write_json
from silosynth.server.publish import TableFiles, load_artefact, sampled

ROWS = publish.sample_blocks.__globals__["BLOCK_ROWS"] + 100  # two blocks


class Uniform:
    """A generator of independent cells."""

    def sample(self, rows, rng):
        return np.stack([rng.integers(0, size, rows) for size in SCHEMA.sizes], axis=1).astype(np.int32)


def write(paths, rows=ROWS, seed=1):
    with TableFiles(SCHEMA, paths) as files:
        for block in sampled(Uniform(), SCHEMA, rows, seed, silent):
            files.add(block)


def test_csv_and_parquet_hold_the_same_rows_whatever_a_block_lacks(tmp_path):
    paths = [tmp_path / "t.csv", tmp_path / "t.parquet"]
    write(paths)
    parquet = pd.read_parquet(paths[1])
    assert len(parquet) == ROWS
    assert (str(parquet["age"].dtype), str(parquet["sex"].dtype)) == ("Int64", "string")
    csv = pd.read_csv(paths[0], dtype=parquet.dtypes.to_dict(), keep_default_na=False, na_values=[""])
    pd.testing.assert_frame_equal(csv, parquet)
    assert pyarrow.parquet.ParquetFile(paths[1]).num_row_groups == 2
    assert sorted(path.name for path in tmp_path.iterdir()) == ["t.csv", "t.parquet"]


def test_the_seed_decides_and_a_longer_table_begins_with_whole_blocks(tmp_path):
    write([tmp_path / "a.csv"])
    write([tmp_path / "b.csv"])
    write([tmp_path / "c.csv"], seed=2)
    write([tmp_path / "d.csv"], rows=ROWS + 5000)
    text = {name: (tmp_path / f"{name}.csv").read_text() for name in "abcd"}
    assert text["a"] == text["b"] != text["c"]
    first = text["a"].splitlines()[: ROWS - 99]
    assert text["d"].splitlines()[: ROWS - 99] == first


def test_a_table_that_fails_half_way_leaves_nothing_and_keeps_what_was_there(tmp_path):
    target = tmp_path / "t.csv"
    target.write_text("before")

    def fail():
        with TableFiles(SCHEMA, [target, tmp_path / "t.parquet"]) as files:
            files.add(next(sampled(Uniform(), SCHEMA, 10, 1, silent)))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert [path.name for path in tmp_path.iterdir()] == ["t.csv"]
    assert target.read_text() == "before"


def test_other_kinds_of_table_are_refused(tmp_path):
    with pytest.raises(InvalidInput, match=r"\.csv or \.parquet"):
        TableFiles(SCHEMA, [tmp_path / "t.xlsx"])
    with pytest.raises(FileNotFoundError), TableFiles(SCHEMA, [tmp_path / "no" / "t.csv"]):
        pass


def test_json_never_holds_nan(tmp_path):
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "m.json", {"x": math.nan})
    assert not list(tmp_path.iterdir())


def test_a_generator_that_cannot_be_read_is_wrong_input(tmp_path):
    path = tmp_path / "generator.safetensors"
    for content in (b"", b"nonsense", b"\xff" * 100):
        path.write_bytes(content)
        with pytest.raises(InvalidInput, match=r"generator\.safetensors"):
            load_artefact(path)


def test_only_performed_releases_are_priced():
    events = performed(study(), 3)
    train = Composed((Repeated(1, Gaussian(Fraction(20), 2)), Repeated(2, Gaussian(Fraction(20), 2))))
    assert events == Parallel((train, Composed(())))
    assert prices(study(), 3).aggregate == accounting.epsilon(Fraction(3, 400), 1e-5)
    assert prices(study(), 3).local == accounting.epsilon(Fraction(6, 400), 1e-5)
    assert prices(study(), 3).aggregate < prices(study(), 4).aggregate


def test_a_certificate_can_be_recomputed_and_is_json():
    paper = json.loads(json.dumps(certificate(study(), 4, Noise.SYSTEM), allow_nan=False))
    spent = sum(Fraction(event["mu_squared"]["local"]) for event in paper["events"])
    assert spent == Fraction(8, 400)
    assert paper["epsilon"]["local"] == accounting.epsilon(spent, paper["delta"])
    assert paper["assumptions"] == {"sites": 3, "colluders": 1, "threshold": 3, "trust": "secure-sum"}
    assert (paper["unit"], paper["neighbours"], paper["aggregation"]) == (
        "row",
        "adding or removing one row",
        "plain-sum",
    )
    assert "coordinator itself" in paper["holds_against"]["aggregate"]


def test_masked_sums_are_certified_by_what_was_asked_not_by_what_was_planned():
    """Release 1 was asked twice, the second time of two of the three sites, and so were those after it."""
    roster = tuple(dataclasses.replace(member, key=f"{at:064x}") for at, member in enumerate(study().roster))
    keyed = dataclasses.replace(study(), roster=roster, threshold=3)
    rounds = [(0, 0, 3), (1, 0, 3), (1, 1, 2), (2, 0, 2), (3, 0, 2)]
    asked = [Asked(release, attempt, tuple(range(sites)), "aa") for release, attempt, sites in rounds]
    paper = certificate(keyed, 4, Noise.SYSTEM, asked)
    assert [(one["kind"], one["count"], one["shares"]) for one in paper["events"]] == [
        ("first", 1, 2), ("more", 1, 2), ("more", 3, 1),
    ]  # fmt: skip
    for view, mu_squared in (("aggregate", Fraction(5, 400)), ("local", Fraction(2 + 2 + 3, 400))):
        assert sum(Fraction(one["mu_squared"][view]) for one in paper["events"]) == mu_squared
        assert paper["epsilon"][view] == accounting.epsilon(mu_squared, 1e-5)
    assert paper["aggregation"] == "secure-sum"
    assert paper["attempts"] == {
        "asked": 5, "releases": 4, "sessions": 1, "retries": [{"release": 1, "attempt": 1, "sites": 2}],
    }  # fmt: skip
    assert paper["rounds"] == [
        {"release": 0, "count": 2, "attempt": 0, "sites": [0, 1, 2], "session": "aa"},
        {"release": 1, "count": 1, "attempt": 1, "sites": [0, 1], "session": "aa"},
        {"release": 2, "count": 2, "attempt": 0, "sites": [0, 1], "session": "aa"},
    ]
    assert "the coordinator included" in paper["holds_against"]["aggregate"]


@pytest.mark.parametrize("noise", [Noise.NONE, Noise.SEEDED])
def test_noise_that_protects_nobody_has_no_finite_epsilon(noise):
    asked = study(multiplier=None) if noise is Noise.NONE else study()
    paper = certificate(asked, 4, noise)
    assert paper["epsilon"] == {"aggregate": "inf", "local": "inf"}
    assert "NO PRIVACY" in paper["noise"]
    assert ("epsilon_with_real_noise" in paper) == (noise is Noise.SEEDED)
    if noise is Noise.NONE:
        assert performed(asked, 1).parts[0] == Composed((Repeated(1, NoPrivacy()),))


def test_without_trust_both_epsilons_are_one():
    alone = study()
    object.__setattr__(alone, "trust", Trust.LOCAL)
    paper = certificate(alone, 4, Noise.SYSTEM)
    assert paper["epsilon"]["aggregate"] == paper["epsilon"]["local"]


def learning():
    """A count, then three times a discriminator that a site trains by itself on sampled sums."""
    step = Step("discriminator", 3, within=(Step("gradient", 20, Fraction(2), Fraction(1, 20)),))
    step = replace(step, certified=certify(step.history(1)))
    return replace(study(), trust=Trust.LOCAL, plan=(Step("first", 1, Fraction(20)), step))


def test_a_certified_step_is_charged_whole_once_it_was_begun():
    asked = learning()
    step = asked.plan[1]
    assert performed(asked, 1).parts[0] == Composed((Repeated(1, Gaussian(Fraction(20), 1)),))
    for releases in (2, 3, 4):
        assert performed(asked, releases).parts[0].events[1] == step.history(1)
    assert prices(asked, 1).local < prices(asked, 2).local == prices(asked, 4).local


def test_a_certificate_says_what_a_sampled_study_costs_alone_and_in_a_ledger():
    asked = learning()
    paper = json.loads(json.dumps(certificate(asked, 3, Noise.SYSTEM), allow_nan=False))
    spent = sum(Fraction(event["mu_squared"]["local"]) for event in paper["events"])
    charged = paper["charged_in_ledgers"]
    assert Fraction(charged["mu_squared"]) == spent == Fraction(1, 400) + asked.plan[1].certified
    assert charged["epsilon"] == accounting.epsilon(spent, 1e-5)
    whole = Composed(tuple(step.history(1) for step in asked.plan))
    assert paper["epsilon"]["local"] == epsilon_of(whole, 1e-5) < charged["epsilon"]
    assert paper["events"][1] == {
        "kind": "discriminator",
        "count": 2,
        "planned": 3,
        "mechanism": "learnt at the site, from these sums each time",
        "within": [
            {
                "kind": "gradient",
                "count": 20,
                "mechanism": "sampled gaussian",
                "multiplier": "2",
                "shares": 1,
                "rate": "1/20",
            }
        ],
        "mu_squared": {view: str(asked.plan[1].certified) for view in ("aggregate", "local")},
    }
    assert "secret coin" in paper["assumptions"]["sampling"]
    assert "privacy loss" in paper["accountant"]


def test_a_sampled_study_without_noise_has_no_epsilon():
    bare = Step("discriminator", 3, within=(Step("gradient", 20, None, Fraction(1, 20)),))
    paper = certificate(replace(learning(), plan=(bare,)), 3, Noise.NONE)
    assert paper["epsilon"] == {"aggregate": "inf", "local": "inf"}
    assert "charged_in_ledgers" not in paper
