"""Studies of the GAN engine in which nobody is trusted, short ones, and what is asked of a site in them."""

from functools import cache

import numpy as np
from engine_fixtures import SCHEMA, each, rows, shards
from gan_made import SMALL, gan_study

from silosynth.client.engines.gan import Gan as SiteHalf
from silosynth.client.engines.gan_local import Round
from silosynth.common.engines import gan as engine
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.gan_net import initial_discriminator, initial_generator
from silosynth.common.study import Trust
from silosynth.server.engines.gan_local import GanLocal

NAMES = ["site0", "site1", "site2"]
COARSENING = Coarsening(tuple(tuple(cell % 3 if size > 2 else cell for cell in range(size)) for size in SCHEMA.sizes))
FEW = {"steps": 3, "local_steps": 2, "sample": 130, "fakes": 100, "components": 60}


@cache  # mutants clear it
def local_study(epsilon=1.0, trust=Trust.LOCAL, **settings):
    """A study of three sites of the fixtures' table."""
    return gan_study(epsilon, capacity=1300, trust=Trust(trust), **(SMALL | settings))


def few(epsilon=1.0, **settings):
    """One of few and short rounds."""
    return local_study(epsilon, **(FEW | settings))


def training(of, **given):
    """A task, new at every call."""
    shape, rng = engine.shape(of, COARSENING), np.random.default_rng(0)
    network = np.zeros((engine.MOMENTS, shape.size), dtype=np.float32)
    network[0] = initial_discriminator(shape, rng)
    generator = initial_generator(shape, [np.full(size, 1 / size) for size in shape.bins], 1.0, rng)
    facts = {"units": 300, "capacity": 1300, "steps": 0, "seed": 7} | given
    return engine.TrainDiscriminator(COARSENING, **facts, discriminator=network, generator=generator)


def round_of(of, **given):
    """What a site makes of such a task."""
    return Round(of, training(of, **given))


def run(of, seed=0, units=None, stop=None, begin=None):
    """A study through its states: the coordinator's half, states and what was asked, up to state number `stop`."""
    half, site, units = GanLocal(of, seed), SiteHalf(of), units or shards(rows(900))
    states, asked = [begin or half.start()], []
    while len(states) - 1 != stop and (one := half.next(states[-1])) is not None:
        asked.append(one)
        states.append(half.absorb_each(states[-1], one.tasks, each(of, site, one.tasks, units, seed)))
    return half, states, asked
