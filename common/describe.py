"""A study in plain words, for the person who answers for the data: what leaves, what it costs, what is not promised.

A pure function of the study: every number here is the one that the gate and the ledger act on.
"""

import hashlib
import math
import re
import textwrap
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

from silosynth.common import accounting, sampled, secagg_study
from silosynth.common.column import Column, Kind
from silosynth.common.engines import heldout
from silosynth.common.privacy import Event, View, mu_squared
from silosynth.common.secagg.roster import grouped
from silosynth.common.study import Step, Study, Trust

_KINDS = {
    "one-ways": "how often each value of each column stands in the table, each column by itself",
    "pairs": "how often each pair of coarse values of two columns stands together",
    "target": "how often coarse values of the column to predict stand together with those of one or two others",
    "marginals": "how often values of two or three columns stand together, in tables that the sums before suggest",
    "gradient": "how the model's parameters should move to fit the rows better, each person's part bounded",
    "holdout-one-ways": "held-out persons only: how often each value of each column stands in their rows",
    "holdout-pairs": "held-out persons only: how often pairs of coarse values of some columns stand together",
    "holdout-scores": "held-out persons only: how models that were trained on synthetic rows score them, by outcome",
    "holdout-groups": "held-out persons only: how such a model scores the persons of each subgroup, by outcome",
    "learn": "a model of its rows",
    "discriminator": "a network that tells its rows from synthetic ones",
}
_CODES_SHOWN = 12
_WIDTH = 100
_BULLET = re.compile(r" *(- |[0-9]+\. )?")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


_HELD_OUT = (
    " They answer, with noise, how good the synthetic table is. A keyed hash of each person alone says who is held "
    "out, so each pays either for the model or for this, and it costs nobody anything on top."
)
_ROWS_STAY = (
    "Rows never leave. A site answers with sums of whole numbers over all its persons, to which it has added noise "
    "before they leave. Nothing else about its rows is sent: no exact counts, no error texts, no bounds."
)
_CHOSEN = (
    "Which values are put together, which tables are counted beyond those named here, and which models are tried on "
    "held-out persons is the coordinator's choice; the price below covers whatever it chooses."
)
_LEARNT = "Or it answers with what it learnt by itself, and that it learnt from such noisy sums alone."
_NOT_PROMISED = (
    "- That a statement about all persons stays unknown: whether a person is in the table is hidden, not what all say.",
    "- This price for a person at several sites, or under several keys at one site: each presence costs again.",
    "- Secrecy of the column names, bounds and codes above, of the list of sites, and of the totals themselves.",
    "- That this is all a site ever spends: every study that a site answers adds to the others in its ledger.",
    "- That the synthetic table is right: rare groups are noisy, and each score has its interval in the report.",
)
_NOT_MASKED = (
    "- The smaller epsilon against the coordinator itself: the sites of this study have no keys, so answers are added "
    "without masking them. Whoever runs the coordinator could look at one site's noisy answer, and then the larger "
    "epsilon holds."
)
_KEYS = (
    "- Anything at all against somebody who sits on the roster under other names: a key proves which agent speaks, not "
    "whose it is. Compare the roster's fingerprint with the other institutions, over a telephone and not through the "
    "coordinator: {fingerprint}."
)
_RETRIES = (
    "- This price if sites drop out or are restarted: a sum that a site did not answer is asked again, at most "
    "{attempts} times in all, of at least {threshold} sites, and each time it costs its price again. A site that is "
    "stopped in order pays nothing for it; one that was killed pays for all that is left of the study once more, and "
    "for sums asked again ({retries}), because it cannot prove to itself what it answered."
)
_MASKED = (
    "Each site adds masks to its answer before it leaves, which cancel in the sum over all sites that were asked, and "
    "in nothing else: the coordinator, whatever it sends, can read totals, and no site's answer."
)


def describe(study: Study) -> str:
    """The study in words, ending with its digest, which is what a person approves."""
    sections = (
        (f"Study {study.name!r}", _purpose(study)),
        ("What leaves a site", _leaves(study)),
        ("What it costs a person's privacy", _costs(study)),
        ("Columns", _columns(study)),
        *([("Who takes part", _members(study))] if study.roster else []),
        ("What is not promised", _limits(study)),
        ("Identity", _identity(study)),
    )
    return "\n\n".join("\n".join([title, "-" * len(title), *map(_wrapped, lines)]) for title, lines in sections) + "\n"


def plan_event(study: Study) -> Event | None:
    """The whole plan as one event; None where it is not resolved, or has a step without noise."""
    if not study.plan or any(step.noiseless for step in study.plan):
        return None
    return study.history


def _wrapped(line: str) -> str:
    """A line as it is shown. A study comes from others: no text of it may steer a terminal, or begin a line."""
    line = "".join(letter if letter.isprintable() else "?" if letter.strip() else " " for letter in line)
    bullet = _BULLET.match(line)
    hanging = " " * len(bullet[0] if bullet else "")
    return textwrap.fill(line, _WIDTH, subsequent_indent=hanging, break_long_words=False, break_on_hyphens=False)


def _purpose(study: Study) -> list[str]:
    unit = (
        f"The person is recognised by the column {study.unit!r}, which is never modelled; of a person at most "
        f"{study.max_rows_per_unit} rows are used, and together they weigh as much as one."
        if study.unit
        else "Each row is taken for one person. If a person can have several rows, the study must name a person key."
    )
    lines = [f"Purpose: {study.purpose or 'not stated; ask for one before you approve.'}", unit]
    if study.target:
        lines.append(f"The synthetic table is to help predict {study.target!r}.")
    lines.append(f"{study.holdout:.0%} of the persons at each site are held out: they are never used for the model.")
    if study.asks_held_out:
        lines[-1] += _HELD_OUT
    return lines


def _leaves(study: Study) -> list[str]:
    learnt = any(step.within for step in study.plan)
    lines = [f"{_ROWS_STAY} {_LEARNT}" if learnt else _ROWS_STAY]
    if study.masked:
        lines.append(_MASKED)
    if not study.plan:
        return [*lines, "How many sums, and how noisy, is fixed when the study is launched: the plan is not there yet."]
    said = f"; about {study.units:,} persons are said to take part, which nobody checks" if study.units else ""
    lines.append(f"The engine is {study.engine!r}{said}. {_CHOSEN}")
    for number, step in enumerate(study.plan, start=1):
        if not step.within:
            lines.append(f"  {number}. {_sums(step)}" + (_grouped(study) if step.kind == heldout.GROUPS else ""))
            continue
        times = "1 answer" if step.repeats == 1 else f"{step.repeats} answers"
        what = _KINDS.get(step.kind, "a model")
        each = "" if step.repeats == 1 else "each time "
        lines.append(
            f"  {number}. {times} ({step.kind}): {what}, which the site learns by itself, {each}from the sums below; "
            "they stay at the site, only what was learnt leaves:"
        )
        lines += [f"     - {_sums(inner)}" for inner in step.within]
    return lines


def _grouped(study: Study) -> str:
    """The columns whose subgroups are told apart."""
    names = (study.schema.names[column] for column in heldout.grouped(study))
    return f" The subgroups are those of {', '.join(names)}."


def _sums(step: Step) -> str:
    times = "1 sum" if step.repeats == 1 else f"{step.repeats} sums"
    noise = "WITHOUT NOISE" if step.multiplier is None else f"noise multiplier {float(step.multiplier):.4g}"
    over = "" if step.rate is None else f", each over a secret random {100 * float(step.rate):.3g} % of the persons"
    return f"{times} ({step.kind}, {noise}{over}): {_KINDS.get(step.kind, 'sums of this kind')}."


def _costs(study: Study) -> Iterator[str]:
    budget = study.budget
    if math.isinf(budget.epsilon):
        yield "NO PRIVACY: epsilon is infinite. Only a simulation may run this; nobody should approve it for real rows."
        return
    yield (
        f"The budget is epsilon {budget.epsilon:g} at delta {budget.delta:g}. A person who is in the table or is not "
        "changes the odds of anything anybody could conclude by a factor of at most e^epsilon, but for a chance delta."
    )
    event = plan_event(study)
    if event is None or study.shares < 1:
        yield "Both epsilons of the plan are computed when the plan and the sites are fixed."
        return
    spent = {view: sampled.epsilon_of(event, budget.delta, view) for view in View}
    if study.trust is Trust.SECURE_SUM:
        yield (
            f"- epsilon {spent[View.AGGREGATE]:.3f} against everybody who sees only totals over the "
            f"{len(study.roster)} sites, even together with {budget.colluders} of the sites;"
        )
        alone = "if masks fail" if study.masked else "if one site's answer is seen alone"
        yield f"- epsilon {spent[View.LOCAL]:.3f} against all others together, or {alone}."
    else:
        yield f"- epsilon {spent[View.LOCAL]:.3f} against everybody: each site adds all of the noise by itself."
    if sampled.is_sampled(event):
        charged = accounting.epsilon(mu_squared(event, View.LOCAL), budget.delta)
        yield (
            f"In a site's ledger, among other studies, it takes as much room as epsilon {charged:.3f}: what sums over "
            "random samples cost adds up to less by itself than with whatever else may follow."
        )


def _members(study: Study) -> Iterator[str]:
    for member in study.roster:
        yield f"  {member.name}: answers with at most {member.capacity:,} rows"
        for whose, key in (("agent", member.key), ("officer", member.officer)):
            if key:
                yield f"     {whose + ' key':<12}{_fingerprint(key)}"
    if study.masked:
        yield f"Fingerprint of the roster: {secagg_study.roster(study).fingerprint}."


def _fingerprint(key: str) -> str:
    return grouped(hashlib.sha256(bytes.fromhex(key)).digest())


def _identity(study: Study) -> Iterator[str]:
    if study.code:
        yield f"Sites run software of digest {study.code}, and refuse the study where they have another one installed."
    yield f"Digest {study.digest}. A study that differs in anything that matters has another digest."


def _columns(study: Study) -> Iterator[str]:
    columns = study.schema.columns
    yield f"{len(columns)} columns are modelled; all others stay unread."
    for column in columns:
        mark = f"  [UNREVIEWED: {', '.join(column.unreviewed)} taken from data]" if column.unreviewed else ""
        yield f"  {column.name}: {column.kind.value}, {_values(column)}{mark}"
    if study.schema.unreviewed:
        yield (
            f"Bounds or codes of {len(study.schema.unreviewed)} of {len(study.schema.columns)} columns are taken from "
            "data, and no person has confirmed them. They can reveal a single person: a real launch is refused until "
            "they are replaced and the mark is deleted."
        )


def _values(column: Column) -> str:
    if column.coded:
        shown = ", ".join(column.codes[:_CODES_SHOWN])
        more = len(column.codes) - _CODES_SHOWN
        text = shown + (f" and {more} more codes" if more > 0 else "")
    else:
        low, high = (_number(column, bound) for bound in column.bounds)
        text = f"{low} to {high}" + (f" {column.unit}" if column.unit else "")
    return text + (f"; missing: {', '.join(column.missing)}" if column.missing else "")


def _number(column: Column, value: float) -> str:
    match column.kind:
        case Kind.DATE:
            return (_EPOCH + timedelta(days=value)).date().isoformat()
        case Kind.DATETIME:
            return (_EPOCH + timedelta(seconds=value)).replace(tzinfo=None).isoformat(sep=" ")
        case _:
            return f"{value:.15g}"


def _limits(study: Study) -> tuple[str, ...]:
    if study.trust is Trust.LOCAL:
        return _NOT_PROMISED
    more = (
        f"- The smaller epsilon if more than {study.budget.colluders} of the sites work against the others, or run "
        "other software: then the larger one holds."
    )
    if not study.masked:
        return (*([_NOT_MASKED] if study.roster else []), more, *_NOT_PROMISED)
    members = secagg_study.roster(study)
    keys = _KEYS.format(fingerprint=members.fingerprint)
    return (
        keys,
        more,
        _RETRIES.format(attempts=study.attempts, threshold=members.threshold, retries=members.retries),
        *_NOT_PROMISED,
    )
