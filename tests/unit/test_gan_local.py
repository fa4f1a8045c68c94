"""Where nobody is trusted: a discriminator is trained at a site, generators are taught at the coordinator."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from engine_fixtures import SCHEMA, answer, each, rows, shards, tvd_of_pairs
from gan_local_made import COARSENING, FEW, NAMES, few, local_study, round_of, run, training

from silosynth.client.engines import gan_local as site_module
from silosynth.client.engines.gan import Gan as SiteHalf
from silosynth.client.engines.gan_local import Ask, DiscriminatorLearner, Round
from silosynth.common import scale
from silosynth.common.engine import Each, Units
from silosynth.common.engines import gan as engine
from silosynth.common.engines.gan_generator import GanGenerator
from silosynth.common.engines.gan_learning import Critic, Lesson, generator_gradient
from silosynth.common.engines.mixture import Mixture
from silosynth.common.errors import AnswerRejected, Diverged, MalformedFrame, NotPossible
from silosynth.common.generator import load, save
from silosynth.common.privacy import Composed, Gaussian, NoPrivacy, Repeated, Sampled
from silosynth.server.engines import ENGINES
from silosynth.server.engines.gan import Gan
from silosynth.server.engines.gan_local import GanLocal

NOBODY = Units(np.zeros((0, 4), dtype=np.int32), np.zeros(0, dtype=np.int64))


# At a site


def test_a_claim_is_one_event_of_all_the_sums_of_a_round():
    of = few()
    _, gradient = of.plan[0], of.plan[1].within[0]
    claim = SiteHalf(of).claim(training(of))
    sums = Repeated(FEW["local_steps"], Sampled(gradient.rate, Gaussian(gradient.multiplier, 1)))
    assert claim.event == Composed((sums,))
    assert claim.size == 3 * engine.shape(of, training(of).coarsening).size
    exact = few(math.inf)
    assert SiteHalf(exact).claim(training(exact)).event == Composed((Repeated(FEW["local_steps"], NoPrivacy()),))


def test_steps_are_those_of_torch_s_adam_along_the_mean_over_the_expected_units():
    asked = round_of(few(), units=500, steps=0)
    learner, rng = DiscriminatorLearner(asked), np.random.default_rng(1)
    theirs = torch.nn.Parameter(torch.from_numpy(asked.task.discriminator[0].copy()))
    adam = torch.optim.Adam([theirs], lr=asked.settings.learning_rate, betas=(0.5, 0.99))
    while (ask := learner.next()) is not None:
        np.testing.assert_allclose(ask.weights, theirs.detach().numpy(), atol=1e-6)
        total = rng.integers(-(2**34), 2**34, theirs.numel())
        theirs.grad = torch.from_numpy(total / 2**30 / (500 * float(asked.rate))).float()
        adam.step()
        learner.absorb(ask, total)
    sent = engine.unpacked(learner.answer(), asked.shape.size)
    np.testing.assert_allclose(sent[0], theirs.detach().numpy(), atol=1e-6)
    np.testing.assert_allclose(
        sent[1:], [adam.state[theirs][of].numpy() for of in ("exp_avg", "exp_avg_sq")], rtol=1e-3, atol=1e-7
    )


def test_steps_go_on_where_the_round_before_ended():
    asked = round_of(few(), steps=40)
    learner = DiscriminatorLearner(asked)
    seen = []
    while (ask := learner.next()) is not None:
        seen.append(ask.step)
        learner.absorb(ask, np.zeros(asked.shape.size, dtype=np.int64))
    assert seen == list(range(40, 40 + FEW["local_steps"]))


def test_fakes_weigh_as_much_as_the_units_expected_in_a_sample():
    of = few()
    for units in (1, 300, 1300):
        asked = round_of(of, units=units)
        gradients = asked.gradients(Ask(0, asked.task.discriminator[0]))
        blocks = scale.sampled_slots(asked.rate, 1300, 1) // scale.SAMPLED_BLOCK
        made = sum(len(asked.public(0, block)) for block in range(blocks))
        assert made >= asked.settings.fakes
        assert gradients.public_weight * made == pytest.approx(float(asked.rate) * units)


def test_fakes_are_those_of_the_task_s_generator_and_seed():
    of = few()
    first, same, other = (round_of(of, seed=seed).public(3, 1) for seed in (7, 7, 8))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)
    assert not torch.equal(first, round_of(of, seed=7).public(4, 1))
    assert not torch.equal(first, round_of(of, seed=7).public(3, 0))
    certain = round_of(of)
    certain.task.generator[:] = -50
    certain.task.generator.reshape(-1, certain.shape.all_bins)[:, certain.shape.offsets[:-1]] = 50
    assert (certain.public(0, 0).argmax(1) == 0).all()
    assert certain.public(0, 0).sum() == 4 * certain.fakes


def test_a_generator_s_step_leaves_no_trace_in_the_discriminator_s_gradients():
    of, codes = few(), rows(scale.SAMPLED_BLOCK)
    asked = round_of(of)
    gradients = asked.gradients(Ask(0, asked.task.discriminator[0]))
    before = gradients(0, codes)
    critic = Critic(0.0, asked.task.discriminator[0])
    marginals = [np.full(size, 1 / size) for size in asked.shape.bins]
    lesson = Lesson(0, asked.settings, marginals, np.random.default_rng(0))
    assert np.abs(generator_gradient(asked.shape, asked.task.generator, [critic], lesson)).max() > 0
    after = gradients(0, codes)
    assert all(one.tobytes() == other.tobytes() for one, other in zip(before, after, strict=True))


def test_a_sample_of_nobody_is_an_answer():
    of = few(math.inf, sample=1)
    for units in (NOBODY, shards(rows(300))[0]):
        trained = engine.unpacked(answer(of, SiteHalf(of), training(of), units), round_of(of).shape.size)
        assert np.isfinite(trained).all()
        assert not np.array_equal(trained[0], training(of).discriminator[0])


def test_a_diverged_discriminator_gets_an_answer():
    of = few(math.inf, local_steps=2)
    for amplified in (1e15, 1e30):
        task = training(of)
        task.discriminator[0] *= np.float32(amplified)
        assert answer(of, SiteHalf(of), task, shards(rows(300))[0]).shape == (3 * round_of(of).shape.size,)


def test_a_study_without_samples_is_refused():
    of = few()
    gradient = replace(of.plan[1].within[0], rate=None)
    of = replace(of, plan=(of.plan[0], replace(of.plan[1], within=(gradient,))))
    with pytest.raises(MalformedFrame, match="samples"):
        Round(of, training(of))


def test_a_machine_whose_rows_meet_takes_no_part(monkeypatch):
    true = site_module.one_hot
    monkeypatch.setattr(site_module, "one_hot", lambda shape, bins: true(shape, bins) + 1e-3 * bins.mean())
    site_module._check.cache_clear()
    with pytest.raises(NotPossible, match="influence each other"):
        answer(few(), SiteHalf(few()), training(few()), NOBODY)
    site_module._check.cache_clear()


# At the coordinator


def test_the_engine_s_half_is_that_of_its_trust():
    assert type(ENGINES["gan"](few(), 0)) is GanLocal
    assert type(ENGINES["gan"](local_study(trust="secure-sum"), 0)) is Gan


def test_every_site_is_asked_by_itself_and_each_trains_its_own():
    of = few(10.0)
    half, states, asked = run(of)
    assert all(isinstance(one, Each) and list(one.tasks) == NAMES for one in asked)
    assert [engine.kind_of(one.tasks["site0"]) for one in asked] == ["one-ways", *["discriminator"] * FEW["steps"]]
    assert half.next(states[-1]) is None
    for at, (name, task) in enumerate(asked[-1].tasks.items()):
        begun = asked[1].tasks[name]
        assert (begun.steps, task.steps) == (0, FEW["local_steps"] * (FEW["steps"] - 1))
        assert task.capacity == 1300
        assert abs(task.units - 300) < 60
        assert not np.array_equal(task.generator, begun.generator)
        assert np.array_equal(task.discriminator, states[-2].critics[at])
    assert len({task.seed for one in asked[1:] for task in one.tasks.values()}) == 3 * FEW["steps"]


@pytest.mark.parametrize("conditional", [1, 0])
def test_a_resumed_study_ends_in_the_same_generator_bit_for_bit(conditional):
    of = few(conditional=conditional)
    half, states, _ = run(of)
    for early in states:
        frozen = {name: array.copy() for name, array in half.freeze(early).items()}
        again, later, _ = run(of, begin=GanLocal(of, 0).thaw(frozen))
        assert save(again.finish(later[-1]), of, {}) == save(half.finish(states[-1]), of, {})
    made = load(save(half.finish(states[-1]), of, {})).generator.sample(500, np.random.default_rng(0))
    assert np.array_equal(made, half.finish(states[-1]).sample(500, np.random.default_rng(0)))
    other, ends, _ = run(of, seed=1)
    assert not np.array_equal(other.finish(ends[-1]).sample(500, np.random.default_rng(0)), made)


def after_a_round_with(of, spoil):
    half, states, asked = run(of, stop=2)
    answers = each(of, SiteHalf(of), asked[1].tasks, shards(rows(900)))
    return half.absorb_each(states[1], asked[1].tasks, {name: spoil(name, one) for name, one in answers.items()})


def moved(name, sent):
    task_size = sent.size // 3
    if name != "site1":
        return sent
    network = engine.unpacked(sent, task_size)
    network[0] += 0.5
    return engine.packed(network)


def test_a_site_s_discriminator_teaches_that_site_s_generator_alone():
    as_sent, one_moved = (after_a_round_with(few(), spoil) for spoil in (lambda _, sent: sent, moved))
    same = [np.array_equal(*pair) for pair in zip(as_sent.students, one_moved.students, strict=True)]
    assert same == [True, False, True]


def test_odds_of_all_sites_teach_one_generator():
    as_sent, one_moved = (after_a_round_with(few(conditional=0), spoil) for spoil in (lambda _, sent: sent, moved))
    assert len(as_sent.students) == 1
    assert not np.array_equal(as_sent.students, one_moved.students)


def test_a_discriminator_is_believed_by_its_share_of_signal():
    """Twice the persons are four times the signal; without noise there is nothing to doubt."""
    found = {}
    for epsilon in (0.3, 3.0, math.inf):
        half, shape = GanLocal(few(epsilon), 0), engine.shape(few(epsilon), COARSENING)
        found[epsilon] = [half._believed(np.array([units]), shape) for units in (0.0, 100.0, 200.0, 1e9)]
    assert found[math.inf] == [1.0] * 4
    for believed in (found[0.3], found[3.0]):
        assert believed[0] == 0.0
        assert believed[-1] == pytest.approx(1.0, abs=1e-3)
        few_units, many = (one / (1 - one) for one in believed[1:3])
        assert many == pytest.approx(4 * few_units)
    assert found[0.3][1] < found[3.0][1]


def test_generators_share_the_components_and_are_mixed_by_noisy_sizes():
    for conditional, kind, components in ((1, Mixture, 20), (0, GanGenerator, 60)):
        of = few(10.0, conditional=conditional, components=60)
        codes = rows(1200)
        units = [Units(codes[part], np.arange(len(codes[part]))) for part in np.split(np.arange(1200), [100, 500])]
        half, states, _ = run(of, units=units)
        made = half.finish(states[-1])
        assert type(made) is kind
        assert (made.components[0] if conditional else made).shape.components == components
        if conditional:
            np.testing.assert_allclose(made.shares, [100 / 1200, 400 / 1200, 700 / 1200], atol=0.04)
        assert abs(half.units(states[-1]) - 1200) < 100


def test_a_site_keeps_its_own_frequencies_as_far_as_noise_lets_it():
    codes = rows(900)
    by_age = codes[np.argsort(codes[:, 0], kind="stable")]
    units = [Units(part, np.arange(300)) for part in np.split(by_age, 3)]
    apart = {}
    for epsilon in (math.inf, 10.0, 0.02):
        _, states, _ = run(few(epsilon, bins=5), units=units, stop=1)
        known = states[-1].known
        assert all(np.isclose(column.sum(), 1) and (column >= 0).all() for site in known.marginals for column in site)
        ages = [site[0] for site in known.marginals]
        apart[epsilon] = np.abs(ages[0] - ages[2]).sum() / 2
        if epsilon == math.inf:
            bins = known.all.coarsening.arrays[0]
            truth = np.bincount(bins[units[0].codes[:, 0]], minlength=len(ages[0])) / 300
            np.testing.assert_allclose(ages[0], truth, atol=1e-6)
    assert apart[math.inf] > 0.9
    assert apart[10.0] > 0.5
    assert apart[0.02] < 0.9


def test_what_a_site_learns_is_no_sum():
    half = GanLocal(few(), 0)
    with pytest.raises(NotImplementedError):
        half.absorb(half.start(), engine.CountOneWays(), np.zeros(1, dtype=np.int64))


def test_an_answer_of_another_length_is_rejected_by_name():
    with pytest.raises(AnswerRejected, match="site1"):
        after_a_round_with(few(), lambda name, sent: sent[:-1] if name == "site1" else sent)


def test_a_discriminator_that_ran_away_stops_the_study_and_says_what_was_spent():
    with pytest.raises(
        Diverged, match=r"round 1: site site1 sent.*2 of 4 releases.*epsilon of [0-9.]+,.*learning_rate"
    ):
        after_a_round_with(few(), lambda name, sent: sent * 0 + 0x7FC00000 if name == "site1" else sent)


def test_a_generator_that_ran_away_stops_the_study():
    of = few()
    half, states, asked = run(of, stop=2)
    answers = each(of, SiteHalf(of), asked[1].tasks, shards(rows(900)))
    sick = replace(states[1], students=states[1].students + np.float32(np.inf))
    with np.errstate(all="ignore"), pytest.raises(Diverged, match=r"round 1: the generator's.*2 of 4 releases"):
        half.absorb_each(sick, asked[1].tasks, answers)
    assert half.next(half.absorb_each(states[1], asked[1].tasks, answers)) is not None  # the state before goes on


@pytest.mark.parametrize("conditional", [1, 0])
def test_learning_beats_independent_columns(conditional):
    codes, rng = rows(3600), np.random.default_rng(9)
    of = local_study(
        10.0,
        steps=15,
        local_steps=3,
        sample=130,
        width=16,
        learning_rate=0.03,
        conditional=conditional,
        generator_steps=6,
    )
    half, states, _ = run(of, units=shards(codes))
    made = half.finish(states[-1]).sample(3600, rng)
    shuffled = np.stack([rng.permutation(column) for column in codes.T], axis=1)
    coarse = np.array([20, 1, 1, 1])
    sizes = [size // by + 1 for size, by in zip(SCHEMA.sizes, coarse, strict=True)]
    distance, floor = (tvd_of_pairs(codes // coarse, table // coarse, sizes) for table in (made, shuffled))
    assert distance < 0.8 * floor


def test_no_rows_at_all_still_make_a_generator():
    of = few()
    half, states, _ = run(of, units=[NOBODY] * 3)
    assert half.finish(states[-1]).sample(50, np.random.default_rng(0)).shape == (50, 4)


def test_the_plan_s_rate_is_the_study_s():
    assert few(sample=325).plan[1].within[0].rate == Fraction(1, 4)
