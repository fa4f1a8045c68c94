"""The end of a study: a table is sampled from what was learnt, and everything a study publishes is written."""

import dataclasses
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from silosynth.common.evaluate import report
from silosynth.common.evaluate.federated import Federated, federated
from silosynth.common.evaluate.scores import Scores
from silosynth.common.generator import save
from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server.bundle import CERTIFICATE, hashes_of
from silosynth.server.certificate import Asked, Noise, certificate, completed
from silosynth.server.coordinator import Learnt
from silosynth.server.files import replace, write_json, write_text
from silosynth.server.journal import Entry
from silosynth.server.publish import TableFiles, sampled

SCORED_ROWS: Final = 200_000
"""Synthetic rows that are kept in memory to be scored; more are written, but not scored."""

Judge = Callable[[pd.DataFrame], Scores]
"""Scores synthetic rows."""


@dataclass(frozen=True)
class Product:
    """What training left."""

    study: Study
    learnt: Learnt
    entries: tuple[Entry, ...]
    asked: tuple[Asked, ...]
    noise: Noise
    seconds: float
    """Wall clock; in a simulation of sites and coordinator together, in this process."""
    cpu_seconds: float | None
    """Of the same; None where it is not known: a part ran in another process."""
    federated: Federated | None = None
    """What held-out units said, where more is known of it than their answers: in a simulation."""


def publish(
    out: Path, product: Product, seed: int, progress: Progress, judge: Judge | None = None, notes: tuple[str, ...] = ()
) -> Scores:
    """Write every file of the product, whole; certificate.json last. Without a judge, nothing is scored."""
    study = product.study
    paper = certificate(study, len(product.entries), product.noise, product.asked)
    replace(out / "generator.safetensors", save(product.learnt.generator, study, paper))
    began = time.monotonic()
    synthetic = _write_table(out, product, seed, progress)
    sampled_at = time.monotonic()
    scores = Scores({}, {"synthetic": len(synthetic)}) if judge is None else judge(synthetic)
    scores = dataclasses.replace(scores, federated=product.federated or heard_of(product, seed))
    ended = time.monotonic()
    seconds = {
        "total": round(product.seconds + ended - began, 3),
        "train": round(product.seconds, 3),
        "sample": round(sampled_at - began, 3),
        "evaluate": round(ended - sampled_at, 3),
    }
    metrics = scores.to_json() | {
        "seconds": seconds,
        "train_cpu_seconds": None if product.cpu_seconds is None else round(product.cpu_seconds, 3),
        "peak_memory_mb": peak_memory_mb(),
    }
    write_json(out / "metrics.json", metrics)
    write_text(out / "report.html", report.render(scores, paper, study, facts=_facts(seed, seconds, notes)))
    write_json(out / CERTIFICATE, completed(paper, hashes_of(out), product.learnt.receipts))
    return scores


def heard_of(product: Product, seed: int) -> Federated | None:
    """What the held-out units said, None where they were not asked."""
    heard, study = product.learnt.heard, product.study
    if heard is None:
        return None
    asked = {one.release: len(one.members) for one in product.asked}  # of the attempt that opened: the last
    first = study.training.releases
    answers = [asked.get(first + at, len(study.roster)) for at in range(len(heard.totals))]
    return federated(study, heard, answers, seed=seed)


def rows_of(product: Product) -> int:
    """Synthetic rows to publish: as many as the study says, or as there are units by the noisy totals."""
    return product.study.rows or max(1, round(product.learnt.units))


def peak_memory_mb() -> float:
    """Most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _facts(seed: int, seconds: Mapping[str, float], notes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Provenance for the report."""
    facts = [("Seed of splits, network and sampling", str(seed)), ("Seconds", f"{seconds['total']:.0f}")]
    return facts + [("Note on the input", note) for note in notes]


def _write_table(out: Path, product: Product, seed: int, progress: Progress) -> pd.DataFrame:
    """Write synthetic.csv and synthetic.parquet; the first SCORED_ROWS rows, typed."""
    study, kept, count = product.study, [], 0
    with TableFiles(study.schema, [out / "synthetic.csv", out / "synthetic.parquet"]) as files:
        for block in sampled(product.learnt.generator, study.schema, rows_of(product), seed, progress):
            files.add(block)
            if count < SCORED_ROWS:
                kept.append(block)
                count += len(block)
    return pd.concat(kept, ignore_index=True)
