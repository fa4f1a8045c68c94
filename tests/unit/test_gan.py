"""The GAN's tasks and settings: how they are checked and travel, how a budget is divided, in both ways of trust."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from engine_fixtures import SCHEMA, study
from gan_made import gan_study

from silosynth.common.engine import Parts
from silosynth.common.engines import gan as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.errors import InvalidStudy, MalformedFrame
from silosynth.common.schema import Column, Kind, Schema
from silosynth.common.study import Step, Trust

COARSENING = Coarsening(tuple(tuple(cell % 3 if size > 2 else cell for cell in range(size)) for size in SCHEMA.sizes))
LOCAL = replace(
    gan_study(),
    trust=Trust.LOCAL,
    plan=(
        Step("one-ways", 1, Fraction(9)),
        Step("discriminator", 5, within=(Step("gradient", 10, Fraction(2), Fraction(1, 10)),)),
    ),
)
SHAPE = engine.shape(LOCAL, COARSENING)


def training(**changes):
    rng = np.random.default_rng(0)
    discriminator = rng.standard_normal((engine.MOMENTS, SHAPE.size)).astype(np.float32)
    generator = rng.standard_normal(SHAPE.generator_size).astype(np.float32)
    return replace(engine.TrainDiscriminator(COARSENING, 700, 2000, 20, 1 << 31, discriminator, generator), **changes)


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("speed", 1, "unknown; known are average, batch"),
        ("steps", 0, "positive whole number"),
        ("steps", 1.5, "positive whole number"),
        ("steps", 10**6, "at most 10000"),
        ("sample", 1.1, "positive whole number of at most 100000"),
        ("learning_rate", -1, "positive number"),
        ("share_one_ways", 1, "at most 0.9"),
    ],
)
def test_a_setting_that_means_nothing_is_refused_by_name(name, value, said):
    with pytest.raises(InvalidStudy, match=said):
        engine.settings(replace(study(), engine="gan", settings=((name, value),)))


def test_shares_must_leave_something_for_the_rounds():
    with pytest.raises(InvalidStudy, match="less than 1"):
        engine.settings(replace(study(), settings=(("share_one_ways", 0.5), ("share_pairs", 0.5))))


def test_settings_are_the_study_s():
    settled = engine.settings(gan_study(steps=7, likeness=0.25))
    assert (settled.steps, settled.likeness, settled.width) == (7, 0.25, 32)
    assert isinstance(settled.steps, int)


def test_with_secure_sums_the_rounds_are_sums_and_the_counts_come_first():
    shares = engine.split(gan_study(steps=7, share_one_ways=0.25, share_pairs=0.25))
    assert [(share.kind, share.repeats, share.share) for share in shares] == [
        ("one-ways", 1, Fraction(1, 4)),
        ("pairs", 1, Fraction(1, 4)),
        ("gradient", 7, Fraction(1, 2)),
    ]


def test_without_trust_a_round_is_what_a_site_learns_from_sampled_sums():
    rounds = engine.split(replace(LOCAL, settings=(("steps", 7), ("local_steps", 4), ("sample", 500))))[-1]
    assert (rounds.kind, rounds.repeats, rounds.rate) == ("discriminator", 7, None)
    (within,) = rounds.within
    assert (within.kind, within.repeats, within.rate) == ("gradient", 4, Fraction(1, 4))
    assert within.share == rounds.share
    assert rounds.sampled


@pytest.mark.parametrize("columns", [1, 51])
def test_tables_without_useful_pairs_count_none(columns):
    schema = Schema(tuple(Column(f"c{at}", Kind.BOOLEAN, codes=("no", "yes")) for at in range(columns)))
    assert [share.kind for share in engine.split(gan_study(schema=schema))] == ["one-ways", "gradient"]


def test_training_survives_being_taken_apart():
    task = training()
    again = engine.put_together(LOCAL, engine.take_apart(task))
    assert (again.coarsening, again.units, again.capacity) == (COARSENING, 700, 2000)
    assert (again.steps, again.seed) == (20, 1 << 31)
    assert np.array_equal(again.discriminator, task.discriminator)
    assert np.array_equal(again.generator, task.generator)
    assert engine.kind_of(again) == "discriminator"
    assert engine.answer_size(LOCAL, again) == 3 * SHAPE.size


GOOD = engine.take_apart(training())


@pytest.mark.parametrize(
    "parts",
    [
        replace(GOOD, kind="anything"),
        replace(GOOD, kind="gradient"),  # planned within a round, never asked for by itself
        replace(GOOD, lists=GOOD.lists[:-1]),
        replace(GOOD, lists=(*GOOD.lists, (1,))),
        replace(GOOD, lists=(*GOOD.lists[:-1], (0, 2000, 20, 5))),
        replace(GOOD, lists=(*GOOD.lists[:-1], (700, 0, 20, 5))),
        replace(GOOD, lists=(*GOOD.lists[:-1], (700, 2000, -1, 5))),
        replace(GOOD, lists=(*GOOD.lists[:-1], (700, 2000, 20, -5))),
        replace(GOOD, lists=(*GOOD.lists[:-1], (700, 2000, 20))),
        replace(GOOD, lists=GOOD.lists[1:]),
        replace(GOOD, tensor=GOOD.tensor[:-1]),
        replace(GOOD, tensor=np.append(GOOD.tensor[:-1], np.float32(np.inf))),
        Parts("one-ways", GOOD.lists),
        Parts("one-ways", (), np.zeros(1, dtype=np.float32)),
    ],
)
def test_malformed_training_is_refused(parts):
    with pytest.raises(MalformedFrame):
        engine.put_together(LOCAL, parts)


def test_weights_survive_being_integers_bit_for_bit():
    weights = training().discriminator
    weights[0, :4] = [-0.0, 1e-45, 3e38, -1.5]
    assert engine.unpacked(engine.packed(weights), SHAPE.size).tobytes() == weights.tobytes()
    assert engine.packed(weights).dtype == np.int64


@pytest.mark.parametrize("spoil", [lambda v: v[:-1], lambda v: v << 8, lambda v: v * 0 + 0x7F800000, lambda v: v | -1])
def test_integers_that_are_no_weights_are_refused(spoil):
    with pytest.raises(MalformedFrame):
        engine.unpacked(spoil(engine.packed(training().discriminator)), SHAPE.size)


def test_a_kind_outside_the_plan_has_no_step():
    assert engine.step_of(LOCAL, "gradient").rate == Fraction(1, 10)
    with pytest.raises(MalformedFrame):
        engine.step_of(LOCAL, "pairs")
