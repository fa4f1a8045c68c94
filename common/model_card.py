"""model_card.md: what a person must know before using the table or the generator. Markdown, under a head in YAML.

The head is that of Hugging Face's cards, with the scores under `model-index`. Its strings are JSON's, which YAML reads.
"""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from silosynth.common.evaluate.citing import citation
from silosynth.common.evaluate.figures import epsilon, number, span
from silosynth.common.evaluate.metrics_file import Metrics
from silosynth.common.evaluate.scores import Score, way
from silosynth.common.evaluate.words import GROUPS, MEANINGS, limits, no_privacy
from silosynth.common.study import Study

_SPECIAL: Final = re.compile(r"([\\`*_\[\]<>|#~])")
_TAGS: Final = ("synthetic-data", "tabular", "differential-privacy", "federated-learning")

_NOT_FOR: Final = (
    "Decisions about a single person: no row is a person, and the model may be wrong about anybody.",
    "Conclusions that were not confirmed on real rows at a site.",
    "Subgroups and codes that the limits below name.",
)


def model_card(study: Study, claims: Mapping[str, Any], metrics: Metrics) -> str:
    """The whole file. `claims`: of certificate.json."""
    return "\n".join([*_head(study, metrics), *_body(study, claims, metrics)]) + "\n"


def _head(study: Study, metrics: Metrics) -> Iterator[str]:
    yield "---"
    yield "library_name: silosynth"
    yield "license: other"
    yield "license_name: not-stated-in-the-study"
    yield "tags:"
    yield from (f"- {tag}" for tag in _TAGS)
    scores = metrics.scores.scores
    if scores:
        yield "model-index:"
        yield f"- name: {json.dumps(study.name, ensure_ascii=False)}"
        yield "  results:"
        yield "  - task:"
        yield "      type: tabular-classification"
        yield "    dataset:"
        yield "      name: real held-out rows"
        yield "      type: tabular"
        yield "    metrics:"
        for name, score in scores.items():
            yield f"    - type: {name}"
            yield f"      value: {score.value:.6g}"
            yield f"      name: {json.dumps(_title(name), ensure_ascii=False)}"
    yield "---"


def _body(study: Study, claims: Mapping[str, Any], metrics: Metrics) -> Iterator[str]:
    rows = metrics.scores.rows.get("synthetic")
    yield from ("", f"# {_safe(study.name)}: a synthetic table and its generator", "")
    broken = no_privacy(claims)
    if broken:
        yield from (f"**NO PRIVACY.** {broken} Nothing here is protected: treat it like the rows themselves.", "")
    yield (
        f"{'' if rows is None else f'{rows:,} '}synthetic rows of {len(study.schema.columns)} columns, drawn from a "
        f"generator (`{study.engine}`) that was learnt from noisy sums over the rows of {len(study.roster)} sites. "
        "Rows never left a site."
    )
    yield from ("", "## Intended use", "", _safe(study.purpose) or "The study states no purpose.", "")
    yield from ("Not for:", "", *(f"- {line}" for line in _NOT_FOR))
    yield from ("", "## Privacy", "", *_privacy(claims))
    yield from ("", "## Scores", "", *_scores(metrics))
    yield from ("", "## Limits", "", *(f"- {_safe(line)}" for line in limits(metrics.scores)))
    yield from ("", "## How it was made", "", *_made(study, claims, metrics))
    yield from ("", "## How to cite", "", f"> {_safe(citation(claims, study, metrics.published))}")
    yield from ("", "## How to check", "", "```", "silosynth verify .", "```", "")
    yield "It recomputes both epsilons from `study.toml` and the sites' signed receipts, and every file's hash."


def _privacy(claims: Mapping[str, Any]) -> Iterator[str]:
    both, against = claims.get("epsilon", {}), claims.get("holds_against", {})
    yield f"Unit: {_safe(str(claims.get('unit', 'row')))}. Neighbours: {_safe(str(claims.get('neighbours', '')))}."
    yield from ("", f"| Adversary | ε at δ = {claims.get('delta', '')} |", "| --- | ---: |")
    for view in ("aggregate", "local"):
        yield f"| {_safe(str(against.get(view, view)))} | {epsilon(both.get(view))} |"
    yield from ("", f"Noise: {_safe(str(claims.get('noise', '')))}. Sums: {_safe(str(claims.get('aggregation', '')))}.")


def _scores(metrics: Metrics) -> Iterator[str]:
    scores = metrics.scores.scores
    if not scores:
        yield "This study was not scored."
        return
    yield (
        "Floor: the training rows with every column shuffled apart. Ceiling: real held-out rows in their place. A "
        "score means nothing without both."
    )
    yield from ("", "| Score | Value | 95 % interval | Floor | Ceiling | Of the way |")
    yield "| --- | ---: | --- | ---: | ---: | ---: |"
    listed = [name for names in GROUPS.values() for name in names if name in scores]
    for name in (*listed, *(name for name in scores if name not in listed)):
        yield _score(name, scores[name])


def _score(name: str, score: Score) -> str:
    cells = (number(score.value), span(score), number(score.floor), number(score.ceiling), way(score) or "—")
    return f"| {_safe(_title(name))} | {' | '.join(cells)} |"


def _made(study: Study, claims: Mapping[str, Any], metrics: Metrics) -> Iterator[str]:
    yield f"- Study: `{study.digest}`"
    yield f"- Sites: {_safe(', '.join(member.name for member in study.roster))}"
    yield f"- Engine: `{study.engine}`; trust: {study.trust}"
    yield f"- Software: {_safe(str(claims.get('code', '')))}"
    if metrics.published:
        yield f"- Published: {metrics.published}"
    yield f"- Releases by the sites: {study.releases}"


def _title(name: str) -> str:
    return MEANINGS[name].title if name in MEANINGS else name


def _safe(text: str) -> str:
    """Text that Markdown shows as it is, on one line."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
