"""A study on one machine: many sites, one coordinator, the same objects as between institutions, joined by a Grid.

`run` is the whole story. What it may do and a launch may not: work with bounds nobody has reviewed (it warns), without
noise or with noise that can be repeated (then everything is stamped NO PRIVACY), and hold rows back to score with.
"""

import importlib.util
import math
import threading
import time
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

from silosynth.client.app import client_app
from silosynth.client.site import Site
from silosynth.common.errors import NotPossible
from silosynth.common.evaluate import summary
from silosynth.common.plan import resolve
from silosynth.common.progress import Progress, silent
from silosynth.common.study import Study, Trust
from silosynth.server.app import server_app
from silosynth.server.certificate import Noise
from silosynth.server.coordinator import Learnt
from silosynth.server.journal import Journal
from silosynth.server.product import Product, publish
from silosynth.simulations import flower
from silosynth.simulations.cohort import Cohort, Rows, check_gaps, gather, study_of
from silosynth.simulations.exact import federated_and_exact
from silosynth.simulations.folder import SITES, Folder, check_path
from silosynth.simulations.grid import LocalGrid
from silosynth.simulations.homes import Homes, Resident, with_keys, write_units
from silosynth.simulations.product import judge
from silosynth.simulations.result import Result

Runtime = Literal["memory", "flower"]


@dataclass(frozen=True)
class How:
    """Everything about a simulation that is neither the study nor its rows."""

    out: Path
    seed: int = 0
    runtime: Runtime = "memory"
    evaluate: bool = True
    seeded_noise: bool = False
    resume: bool = False
    allow_gaps: bool = False
    plain_sums: bool = False
    """Secure sums without their masks, as a measure of what masks cost: nobody can ask for it from outside."""
    attack: bool = True
    """Whether to attack the table where it is scored; a comparison of many studies does not."""


def simulate(
    study: Study | Path | str,
    sites: Mapping[str, Rows],
    *,
    out: Path | str,
    seed: int = 0,
    runtime: Runtime = "memory",
    holdout: Rows | None = None,
    evaluate: bool = True,
    seeded_noise: bool = False,
    resume: bool = False,
    allow_gaps: bool = False,
    progress: Progress = silent,
) -> Result:
    """Run a whole study over `sites` and publish it in the folder `out`.

    Args:
        study: a study, or the path of its file.
        sites: rows of each site, by its name: a table (CSV, Parquet) or a frame.
        out: the folder to publish in; each site's policy and ledger live in `out`/sites and outlive the study.
        seed: of hold-out, network and sampling; never of noise, unless `seeded_noise`.
        runtime: "memory", or "flower" for Flower's own simulation engine (Ray).
        holdout: real rows to score with; by default the study's share of the rows is held back.
        evaluate: whether to score; without it `metrics.json` holds no scores.
        seeded_noise: noise from `seed`: repeatable, and stamped NO PRIVACY.
        resume: go on where a study in `out` was interrupted.
        allow_gaps: let sites take part that have no row, or a column without any value.
        progress: told where the work is.

    Raises:
        InvalidInput: study, rows or folder are not what they must be; nothing was written.
        StudyRefused: a site said no.
    """
    asked = study_of(study)
    cohort = gather(asked, sites, holdout, seed, progress)
    for note in cohort.warnings:
        warnings.warn(note, stacklevel=2)
    return run(asked, cohort, How(Path(out), seed, runtime, evaluate, seeded_noise, resume, allow_gaps), progress)


def run(asked: Study, cohort: Cohort, how: How, progress: Progress) -> Result:
    """The study `asked`, its roster and plan resolved for this cohort, run to its end and published.

    Sites get their keys before anything else: they are part of what a study is.
    """
    began, cpu_began = time.monotonic(), time.process_time()
    held_out = any(own.holdout.owner.size for own in cohort.units.values())
    study = resolve(replace(asked, evaluate=asked.evaluate and how.evaluate and held_out), cohort.roster)
    noise = Noise.NONE if math.isinf(study.budget.epsilon) else Noise.SEEDED if how.seeded_noise else Noise.SYSTEM
    check_gaps(cohort, allowed=how.allow_gaps)
    check_installed(how)
    check_path(how.out)
    if not (how.plain_sums and study.trust is Trust.SECURE_SUM):
        study = replace(study, roster=with_keys(how.out / SITES, study.roster, noise, how.seed))
    folder = Folder(how.out, study, resume=how.resume)
    homes = Homes(folder.sites, study, noise, how.seed)
    with homes.opened(cohort.units, progress) as sites:  # each approves, and pays for, the whole plan
        journal = folder.begin(noise, how.seed)
        fresh = not journal.releases
        learnt = _train(homes, sites, cohort, journal, how, progress)
    cpu_seconds = time.process_time() - cpu_began if fresh else None
    product = Product(study, learnt, journal.entries, journal.asked, noise, time.monotonic() - began, cpu_seconds)
    product = replace(product, federated=federated_and_exact(product, cohort.units, how.seed))
    scored = judge(study, cohort, how.seed, progress, attack=how.attack) if how.evaluate else None
    scores = publish(how.out, product, how.seed, progress, scored, cohort.notes)
    journal.close()
    lines = tuple(summary(scores)) if how.evaluate else ()
    return Result(how.out, study.schema, learnt.generator, cohort.notes, lines)


def check_installed(how: How) -> None:
    """Raise NotPossible now, not at the end of a study, where an extra is missing that it will need."""
    if how.runtime == "flower":
        flower.check()
    if how.evaluate and not all(map(importlib.util.find_spec, ("scipy", "sklearn"))):
        raise NotPossible(
            "scores need scikit-learn and scipy, which are not installed: pip install 'silosynth[demo]'; or leave "
            "scores out (evaluate=False; --no-scores on the command line)"
        )


def _train(
    homes: Homes, sites: Sequence[Site], cohort: Cohort, journal: Journal, how: How, progress: Progress
) -> Learnt:
    """The same ServerApp and the same ClientApp, on the Grid of either runtime."""
    delivered: list[Learnt] = []
    stop = threading.Event()
    server = server_app(homes.study, journal, how.seed, progress, delivered.append, stop)
    if how.runtime == "memory":
        client = client_app(lambda context: sites[int(context.node_config["partition-id"])])
        grid = LocalGrid(client, len(sites))
        server(grid, grid.context())
    else:
        progress("ray", 0, 0)
        with TemporaryDirectory() as private:  # to this user; gone when the study is
            write_units(Path(private), cohort.units)
            try:
                flower.run(server, client_app(Resident(homes, Path(private))), len(sites), stop)
            finally:
                homes.end_sessions(Path(private))
    return delivered[0]
