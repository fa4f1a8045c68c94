"""Studies of the marginals engine that learn in seconds, wide tables, and models small enough for brute force."""

from dataclasses import replace

import numpy as np
from engine_fixtures import shards, study, total

from silosynth.client.engines.marginals import Marginals as SiteHalf
from silosynth.common.engines.coarsening import Coarsening
from silosynth.common.engines.marginals_tree import Tree, maximal
from silosynth.common.plan import resolve
from silosynth.common.schema import Column, Kind, Schema
from silosynth.server.engines.marginals import Marginals

SIZES = (3, 2, 4, 2, 3)
TABLES = ((0, 1), (0, 2), (1, 3), (0, 1, 3), (2, 4))
SMALL = {"iterations": 60, "components": 50}


def marginals_study(epsilon=1.0, target="smoker", **given):
    """A study of the fixtures' table with the marginals engine; settings by name."""
    of = study(epsilon, **{name: given.pop(name) for name in ("schema", "capacity", "trust", "sites") if name in given})
    settings = tuple((SMALL | given).items())
    return resolve(replace(of, engine="marginals", settings=settings, target=target, plan=()), of.roster)


def run(of, codes, seed=0, stop=None, state=None):
    """A study played until `stop` releases, from `state`; its coordinator's half and the state it ends in."""
    half, site, units = Marginals(of, seed), SiteHalf(of), shards(codes, len(of.roster))
    state = state or half.start()
    while state.released != stop and (task := half.next(state)) is not None:
        state = half.absorb(state, task, total(of, site, task, units, seed))
    return half, state


def as_they_are(sizes):
    """A coarsening that merges nothing."""
    return Coarsening(tuple(tuple(range(size)) for size in sizes))


def small_tree(seed=0):
    """A structure over SIZES whose cliques make a loop, potentials, and its distribution by brute force."""
    tree = Tree(SIZES, maximal(len(SIZES), (*TABLES, (1, 4))))
    flat = np.random.default_rng(seed).normal(0, 1, int(tree.offsets[-1]))
    return tree, flat, brute(tree, flat)


def brute(tree, flat):
    """The distribution of potentials, cell by cell: shape tree.sizes."""
    log = np.zeros(tree.sizes)
    for at, (clique, shape) in enumerate(zip(tree.cliques, tree.shapes, strict=True)):
        part = flat[tree.offsets[at] : tree.offsets[at + 1]].reshape(shape)
        log += part.reshape([size if column in clique else 1 for column, size in enumerate(tree.sizes)])
    whole = np.exp(log - log.max())
    return whole / whole.sum()


def summed(whole, table):
    """A marginal of a distribution, flat."""
    return whole.sum(axis=tuple(at for at in range(whole.ndim) if at not in table)).ravel()


def wide(columns, rows, seed=0):
    """A schema of so many columns in pairs that go together, and codes of rows."""
    schema = Schema(tuple(Column(f"c{at}", Kind.CATEGORICAL, codes=("a", "b", "c")) for at in range(columns)))
    rng = np.random.default_rng(seed)
    codes = rng.integers(0, 3, (rows, columns))
    codes[:, 1::2] = np.where(rng.random((rows, columns // 2)) < 0.9, codes[:, : columns // 2 * 2 : 2], codes[:, 1::2])
    return schema, codes.astype(np.int32)
