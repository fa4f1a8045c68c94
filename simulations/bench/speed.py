"""How fast the parts are, on rows that are made up in the shape of Adult: exact noise, sampling, training, a study."""

import importlib
import importlib.util
import math
import os
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import numpy as np

from silosynth.common.csprng import KEY_BYTES, Csprng
from silosynth.common.discrete import DiscreteGaussian
from silosynth.common.engine import Parted, Units
from silosynth.common.engines import SPLITS
from silosynth.common.engines.layouts import Pairs
from silosynth.common.engines.sampling import AutoregressiveGenerator
from silosynth.common.engines.tilt import BinsAndPairs, Tilt
from silosynth.common.generator import BLOCK_ROWS
from silosynth.common.plan import resolve
from silosynth.common.progress import Progress
from silosynth.common.scale import MICRO_BATCH
from silosynth.common.study import Member, Study
from silosynth.server.coordinator import Learnt
from silosynth.server.publish import TableFiles
from silosynth.simulations.bench.learn import learn
from silosynth.simulations.bench.made import ADULT_ROWS, made
from silosynth.simulations.bench.measure import Phases, interleaved, ranged, ratio
from silosynth.simulations.bench.quality import training
from silosynth.simulations.bench.results import Row
from silosynth.simulations.bench.tables import defined
from silosynth.simulations.local import simulate

_DEVIATIONS: Final = (10.0, 1e3, 1e6, 1e10)
"""Of noise, in grid units; a histogram's are about 1e5, a clipped sum's about 1e10."""

_OURS, _NUMPY, _OPENDP = "ours", "numpy normal", "OpenDP"
_SAMPLES: Final = 1 << 17
_PEER_SAMPLES: Final = 1 << 11  # OpenDP takes so much longer
_SITES: Final = 5
_SKETCH_STEPS: Final = 2  # steps of training behind the generator whose speed is taken: quality does not matter


def noise(seeds: tuple[int, ...], turns: int, progress: Progress) -> Iterator[Row]:
    """Exact samples per second, beside OpenDP's exact sampler and a normal sampler that is neither exact nor secret."""
    method = f"CPU, median and range of {turns} interleaved turns"
    for deviation in _DEVIATIONS:
        title = f"sd {deviation:g}"
        progress("noise", 0, 0, title)
        stream, law = Csprng(os.urandom(KEY_BYTES)), DiscreteGaussian(int(deviation) ** 2)
        insecure = np.random.default_rng(seeds[0])
        rivals: dict[str, Callable[[], object]] = {
            _OURS: partial(law.sample, _SAMPLES, stream),
            _NUMPY: partial(insecure.normal, 0, deviation, _SAMPLES),
        }
        if importlib.util.find_spec("opendp"):
            rivals[_OPENDP] = partial(_opendp(deviation), [0] * _PEER_SAMPLES)
        took = interleaved(rivals, turns)
        ours = took[_OURS].cpu_s
        rates = ranged([_SAMPLES / spent for spent in ours])
        yield Row("noise", title, rates.value, "1/s", rates.interval, method, "higher")
        times = ratio(took[_NUMPY].cpu_s, ours)
        yield Row("noise", f"{title}: {_NUMPY} / ours", times.value, "x", times.interval, method, note="for scale only")
        if _OPENDP in took:
            times = ratio([spent * _SAMPLES / _PEER_SAMPLES for spent in took[_OPENDP].cpu_s], ours)
            yield Row("noise", f"{title}: {_OPENDP} / ours", times.value, "x", times.interval, method)
        else:
            yield Row("noise", f"{title}: {_OPENDP} / ours", None, "x", note="opendp is not installed")


def sampling(seeds: tuple[int, ...], turns: int, progress: Progress) -> Iterator[Row]:
    """Synthetic rows per second and core: cells alone, typed rows, and rows in a file."""
    study, rng = _study(), np.random.default_rng(seeds[0])
    hurried = replace(study, settings=(("steps", float(_SKETCH_STEPS)),))
    schema, generator = study.schema, _learnt(hurried, seeds[0], progress).generator
    if not isinstance(generator, AutoregressiveGenerator):
        raise TypeError("the study's engine is the autoregressive one")
    duals = sum(generator.coarsening.sizes) + int(Pairs(generator.coarsening).offsets[-1])
    tilted = replace(generator, tilt=Tilt(BinsAndPairs(generator.coarsening), np.zeros(duals)))
    untilted = replace(generator, tilt=None)
    codes = generator.sample(BLOCK_ROWS, rng)
    typed = schema.decode(codes, rng)
    with TemporaryDirectory() as folder:

        def write(suffix: str) -> None:
            with TableFiles(schema, [Path(folder) / f"rows{suffix}"]) as files:
                files.add(typed)

        contestants: dict[str, Callable[[], object]] = {
            "cells, tilted": lambda: tilted.sample(BLOCK_ROWS, rng),
            "cells, without tilt": lambda: untilted.sample(BLOCK_ROWS, rng),
            "cells to typed values": lambda: schema.decode(codes, rng),
            "typed values to CSV": lambda: write(".csv"),
            "typed values to Parquet": lambda: write(".parquet"),
        }
        took = interleaved(contestants, turns)
    method = f"CPU, median and range of {turns} interleaved turns of {BLOCK_ROWS} rows"
    for name in contestants:
        rates = ranged([BLOCK_ROWS / spent for spent in took[name].cpu_s])
        yield Row("sampling", name, rates.value, "rows/s", rates.interval, method, "higher", seeds=seeds[:1])


def train(seeds: tuple[int, ...], progress: Progress) -> Iterator[Row]:
    """Whole training of an Adult-sized study with each engine: CPU seconds by phase, and rows of gradients a second."""
    for engine in SPLITS:
        study = replace(_study(), engine=engine)
        phases = [_phases(study, seed, progress) for seed in seeds]
        method = f"CPU of sites and coordinator, median and range of {len(seeds)} runs"
        whole = ranged([training(one) for one in phases])
        title = f"{engine}, {ADULT_ROWS} rows, epsilon {study.budget.epsilon:g}"
        yield Row("train", title, whole.value, "s", whole.interval, method, "lower", seeds=seeds)
        for phase in phases[0].cpu_s:
            spent = ranged([one.cpu_s[phase] for one in phases])
            yield Row("train", f"{engine}: {phase}", spent.value, "s", spent.interval, method, "lower", seeds=seeds)
        steps = {share.kind: share.repeats for share in SPLITS[engine](study)}
        if "gradient" in steps:
            visits = ADULT_ROWS * steps["gradient"]
            rates = ranged([visits / one.cpu_s["gradient"] for one in phases])
            title = f"{engine}: rows of gradients a second and core"
            yield Row("train", title, rates.value, "rows/s", rates.interval, method, "higher", seeds=seeds)


def study(seeds: tuple[int, ...], progress: Progress) -> Iterator[Row]:
    """simulate() from frames to report, on made rows: seconds of each phase."""
    found = []
    for seed in seeds:
        asked, rng = replace(_study(), holdout=0.2), np.random.default_rng(seed)
        rows = made(asked.schema, math.ceil(ADULT_ROWS / 0.8), rng)
        frame = asked.schema.present(asked.schema.decode(rows, rng))
        sites = {f"site-{at + 1}": frame.iloc[at::_SITES].reset_index(drop=True) for at in range(_SITES)}
        phases = Phases(progress)
        with TemporaryDirectory() as folder:
            simulate(asked, sites, out=Path(folder) / "study", seed=seed, progress=phases)
        phases.stop()
        found.append(phases)
    method = f"median and range of {len(seeds)} runs"
    for clock in ("CPU", "wall"):
        seconds = [one.cpu_s if clock == "CPU" else one.wall_s for one in found]
        whole = ranged([sum(one.values()) for one in seconds])
        title = f"whole, {clock}"
        yield Row("study", title, whole.value, "s", whole.interval, method, "lower", seeds=seeds)
        for phase in seconds[0]:
            spent = ranged([one[phase] for one in seconds])
            yield Row("study", f"{phase}, {clock}", spent.value, "s", spent.interval, method, "lower", seeds=seeds)


def _study() -> Study:
    """Adult's, with a roster of equal sites and its plan."""
    each = -(-ADULT_ROWS // _SITES)
    capacity = -(-each // MICRO_BATCH) * MICRO_BATCH
    return resolve(defined("adult"), tuple(Member(f"site-{at + 1}", capacity) for at in range(_SITES)))


def _learnt(study: Study, seed: int, progress: Progress) -> Learnt:
    planned = resolve(study, study.roster)
    rows = made(study.schema, ADULT_ROWS, np.random.default_rng(seed))
    units = {
        member.name: Parted.none_held_out(Units(rows[at::_SITES], np.arange(len(rows[at::_SITES]))))
        for at, member in enumerate(study.roster)
    }
    with TemporaryDirectory() as folder:
        return learn(planned, units, Path(folder), seed, progress)


def _phases(study: Study, seed: int, progress: Progress) -> Phases:
    phases = Phases(progress)
    _learnt(study, seed, phases)
    phases.stop()
    return phases


def _opendp(deviation: float) -> Any:
    """OpenDP's exact sampler as a function of the integers it adds noise to. It is a peer and no dependency."""
    opendp = importlib.import_module("opendp.prelude")
    opendp.enable_features("contrib")
    domain = opendp.vector_domain(opendp.atom_domain(T="i64"))
    return opendp.m.make_gaussian(domain, opendp.l2_distance(T="i64"), scale=deviation)
