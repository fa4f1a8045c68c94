"""The end of a study: a table is sampled from what was learnt, and everything a study publishes is written."""

import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pandas as pd

from silosynth.common.engine import Diagnosed
from silosynth.common.evaluate import report
from silosynth.common.evaluate.scores import Scores
from silosynth.common.generator import save
from silosynth.common.progress import Progress
from silosynth.common.study import Study
from silosynth.server.certificate import Asked, Noise, certificate
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


def publish(
    out: Path, product: Product, seed: int, progress: Progress, judge: Judge | None = None, notes: tuple[str, ...] = ()
) -> Scores:
    """Write every file of the product, whole; certificate.json last. Without a judge, nothing is scored."""
    study = product.study
    receipts = tuple(sorted(product.entries[-1].receipts.items())) if product.entries else ()
    paper = certificate(study, len(product.entries), product.noise, receipts, product.asked)
    replace(out / "generator.safetensors", save(product.learnt.generator, study, paper))
    began = time.monotonic()
    synthetic = _write_table(out, product, seed, progress)
    sampled_at = time.monotonic()
    scores = Scores({}, {"synthetic": len(synthetic)}) if judge is None else judge(synthetic)
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
    write_text(out / "report.html", report.render(scores, paper, study, facts=_facts(product, seed, seconds, notes)))
    write_json(out / "certificate.json", paper)
    return scores


def rows_of(product: Product) -> int:
    """Synthetic rows to publish: as many as the study says, or as there are units by the noisy totals."""
    return product.study.rows or max(1, round(product.learnt.units))


def peak_memory_mb() -> float:
    """Most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _facts(product: Product, seed: int, seconds: Mapping[str, float], notes: tuple[str, ...]) -> list[tuple[str, str]]:
    """Provenance for the report."""
    facts = [("Seed of splits, network and sampling", str(seed)), ("Seconds", f"{seconds['total']:.0f}")]
    if isinstance(product.learnt.generator, Diagnosed):
        misfit = product.learnt.generator.misfit
        facts.append(("Chi-square per counted cell", f"{misfit:.2f} (about 1: the model misses nothing but noise)"))
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
