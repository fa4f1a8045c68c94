"""The end of a study: a table is sampled from what was learnt, and everything a study publishes is written."""

import dataclasses
import resource
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import pandas as pd

from silosynth.common.croissant import File, croissant
from silosynth.common.engine import Diagnosed
from silosynth.common.evaluate import metrics_file, report
from silosynth.common.evaluate.federated import Federated, federated
from silosynth.common.evaluate.federated_shown import shown
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.scores import Scores
from silosynth.common.evaluate.sections import Scope
from silosynth.common.generator import save
from silosynth.common.model_card import model_card
from silosynth.common.privacy import Part, View
from silosynth.common.progress import Progress
from silosynth.common.sampled import epsilon_of
from silosynth.common.sdv_metadata import sdv_metadata
from silosynth.common.study import Study
from silosynth.server.bundle import CERTIFICATE, REPORT, TABLES, hash_of, hashes_of
from silosynth.server.certificate import Asked, Noise, certificate, completed, performed
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
    claims = certificate(product.study, len(product.entries), product.noise, product.asked)
    replace(out / "generator.safetensors", save(product.learnt.generator, product.study, claims))
    began = time.monotonic()
    synthetic = _write_table(out, product, seed, progress)
    sampled_at = time.monotonic()
    scores = Scores({}, {"synthetic": len(synthetic)}) if judge is None else judge(synthetic)
    said = product.federated or heard_of(product, seed)
    scores = scores if said is None else _heard(product, scores, said)
    ended = time.monotonic()
    measured = Metrics(
        scores,
        Scope.RELEASE if judge is None else Scope.SIMULATION,
        seed,
        datetime.now(UTC).date().isoformat(),
        notes,
        {
            "total": round(product.seconds + ended - began, 3),
            "train": round(product.seconds, 3),
            "sample": round(sampled_at - began, 3),
            "evaluate": round(ended - sampled_at, 3),
        },
        None if product.cpu_seconds is None else round(product.cpu_seconds, 3),
        peak_memory_mb(),
        _misfit(product),
    )
    content = metrics_file.to_json(measured)
    write_json(out / "metrics.json", content)
    _describe(out, product, claims, metrics_file.read(content))
    return scores


def _describe(out: Path, product: Product, claims: Mapping[str, Any], metrics: Metrics) -> None:
    """Everything that is said of what was written: for people, for catalogues, for whoever checks it."""
    study, receipts = product.study, product.learnt.receipts
    tables = {name: File(hash_of(out / name), (out / name).stat().st_size) for name in TABLES}
    write_json(out / "croissant.json", croissant(study, claims, metrics, tables))
    write_json(out / "sdv_metadata.json", sdv_metadata(study.schema))
    write_text(out / "model_card.md", model_card(study, claims, metrics))
    (out / REPORT).unlink(missing_ok=True)  # of an earlier study
    paper = completed(claims, hashes_of(out), receipts)
    write_text(out / REPORT, report.render(metrics, paper, study))
    write_json(out / CERTIFICATE, completed(claims, hashes_of(out), receipts))


def heard_of(product: Product, seed: int) -> Federated | None:
    """What the held-out units said, None where they were not asked."""
    heard, study = product.learnt.heard, product.study
    if heard is None:
        return None
    asked = {one.release: len(one.members) for one in product.asked}  # of the attempt that opened: the last
    first = study.training.releases
    answers = [asked.get(first + at, len(study.roster)) for at in range(len(heard.totals))]
    return federated(study, heard, answers, seed=seed)


def _heard(product: Product, scores: Scores, said: Federated) -> Scores:
    study, epsilon = product.study, None
    events = dict(zip(Part, performed(study, len(product.entries), product.asked).parts, strict=True))[Part.HOLDOUT]
    if product.noise is Noise.SYSTEM:
        epsilon = epsilon_of(events, study.budget.delta, View.AGGREGATE)
    across, codes = shown(said, epsilon, study.budget.delta)
    sections = dataclasses.replace(scores.sections, federated=across, rare=codes)
    return dataclasses.replace(scores, federated=said, sections=sections)


def rows_of(product: Product) -> int:
    """Synthetic rows to publish: as many as the study says, or as there are units by the noisy totals."""
    return product.study.rows or max(1, round(product.learnt.units))


def peak_memory_mb() -> float:
    """Most memory this process ever held."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return round(peak / (1 << 20 if sys.platform == "darwin" else 1 << 10), 1)


def _misfit(product: Product) -> float | None:
    generator = product.learnt.generator
    return generator.misfit if isinstance(generator, Diagnosed) else None


def _write_table(out: Path, product: Product, seed: int, progress: Progress) -> pd.DataFrame:
    """Write synthetic.csv and synthetic.parquet; the first SCORED_ROWS rows, typed."""
    study, kept, count = product.study, [], 0
    with TableFiles(study.schema, [out / name for name in TABLES]) as files:
        for block in sampled(product.learnt.generator, study.schema, rows_of(product), seed, progress):
            files.add(block)
            if count < SCORED_ROWS:
                kept.append(block)
                count += len(block)
    return pd.concat(kept, ignore_index=True)
