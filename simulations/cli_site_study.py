"""A study, at a site, before it runs: `check`, `approve`, `rehearse`."""

import json
import re
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from silosynth.simulations.cli_options import Quiet
from silosynth.simulations.cli_site_options import HERE, AsJson, Home, PassphraseFile, StudyOf, passphrase_in

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from silosynth.client.appraisal import Appraisal, Room
    from silosynth.client.approval import Facts
    from silosynth.client.home import SiteHome
    from silosynth.client.refusal import Reason
    from silosynth.common.study import Study

_PREFIX = 8
_MANY_RESTARTS = 1000
_DIGEST = re.compile(r"[0-9a-f]{8,64}")


def check(study: StudyOf, home: Home = HERE, as_json: AsJson = False) -> None:
    """How this site's rows fit a study: read as the agent would, counted, and nothing of it leaves."""
    import numpy as np

    from silosynth.client.home import SiteHome, read_site
    from silosynth.client.sources import as_lines, check_table, open_source
    from silosynth.common.errors import InvalidInput

    where = SiteHome(home)
    asked, config = study_at(where, study), read_site(where.config)
    table = open_source(config.source, asked)
    lines = as_lines(check_table(table, asked))
    used = int(np.minimum(table.unit_ids.value_counts(), asked.max_rows_per_unit).sum())
    most = next((member.capacity for member in asked.roster if member.name == config.name), config.capacity)
    lines.append(f"rows that count: {used}, of at most {most} that the site has declared")
    print(json.dumps({"study": asked.digest, "data": lines}) if as_json else "\n".join(lines))
    if used > most:
        raise InvalidInput(
            f"{where.config}: key 'capacity': more rows count than the {most} that were declared; declare more, run "
            "`silosynth site request` and have the coordinator enrol it again, or bring fewer"
        )


def approve(
    study: StudyOf,
    home: Home = HERE,
    officer_key: Annotated[Path | None, typer.Option(help="The officer's key, if it is not in the home.")] = None,
    passphrase_file: PassphraseFile = None,
    yes: Annotated[str | None, typer.Option("--yes", help="The digest of what you have read: do not ask.")] = None,
    as_json: AsJson = False,
) -> None:
    """Read a study in words, see what policy and ledger leave, and sign it: then the agent may answer it."""
    from silosynth.client import approval
    from silosynth.client.appraisal import appraise
    from silosynth.client.home import SiteHome, read_text, write_whole
    from silosynth.client.ledger import books_at
    from silosynth.client.policy import read_policy
    from silosynth.common.errors import Declined
    from silosynth.common.study_file import write_study

    where = SiteHome(home)
    asked = study_at(where, study)
    policy = read_text(where.policy, "put the site's policy back; `site init` writes one that allows nothing")
    facts, officer = _facts(where, asked, policy)
    found = appraise(asked, read_policy(policy, str(where.policy)), policy, books_at(where.ledger))
    _tell(asked, found, facts, as_json=as_json)
    if found.findings:
        more = f" (and {len(found.findings) - 1} more)" if found.findings[1:] else ""
        raise Declined(f"nothing was signed: {found.findings[0]}{more}")
    _ask(asked, yes)
    signed = approval.sign(_key(officer_key or where.officer_key, passphrase_file, officer), facts)
    where.studies.mkdir(exist_ok=True)
    write_whole(where.study(asked.digest), write_study(asked).encode(), 0o644)
    write_whole(where.approval(asked.digest), approval.write_approval(signed).encode(), 0o644)
    if not as_json:
        print(f"approved: {where.approval(asked.digest)}. A running agent takes it up by itself")


def rehearse(
    study: StudyOf,
    home: Home = HERE,
    site: Annotated[str | None, typer.Option("--site", help="Seen from this member (default: this site).")] = None,
    every: Annotated[bool, typer.Option("--every", help="Show every answer by itself, as `outbox` would.")] = False,
    as_json: AsJson = False,
    quiet: Quiet = False,
) -> None:
    """Run a whole study on fake rows, in memory, and show what would have left. Spends nothing, reads no row."""
    from silosynth.simulations.console import progress

    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        from silosynth.client import outbox
        from silosynth.client.home import SiteHome, read_site
        from silosynth.common.privacy import View
        from silosynth.simulations.rehearse import rehearse as run

        where = SiteHome(home)
        asked = study_at(where, study)
        done = run(asked, site or read_site(where.config).name, shown)
    if as_json:
        print(outbox.as_json(done.left))
        return
    if every:
        from silosynth.simulations.cli_site_books import draw

        draw(outbox.table(done.left))
    print("\n".join(done.in_words))
    aggregate, local = (done.epsilon(view) for view in (View.AGGREGATE, View.LOCAL))
    print(
        f"{len(done.left)} answers, {done.octets:,} bytes of them, would leave {done.name} for good: epsilon "
        f"{aggregate:.3f} against who sees only totals, {local:.3f} against all others together, at delta "
        f"{asked.budget.delta:g}.\n"
        "All rows were made up from the public schema, and all other sites were simulated. Nothing was spent: the "
        "ledger, the officer's key and the rows of this site were not opened. In the study itself, answers after the "
        "first may be a little longer or shorter: their form follows from the totals before."
    )


def study_at(home: "SiteHome", named: str) -> "Study":
    """The study in a file, or of studies/ by its digest. Raises InvalidInput."""
    from silosynth.client.home import read_text
    from silosynth.common.errors import InvalidInput
    from silosynth.common.study_file import read_study

    path = Path(named)
    if not path.exists() and _DIGEST.fullmatch(named):
        known = sorted(home.studies.glob(f"{named}*.toml"))
        if len(known) != 1:
            raise InvalidInput(f"{named}: no one study of {home.studies} begins so; give the file that you were sent")
        path = known[0]
    study = read_study(read_text(path, "give the file that the coordinator sent"), source=str(path))
    if not study.plan or not study.roster:
        raise InvalidInput(
            f"{path}: is a draft: its sites and its plan are not fixed. Ask the coordinator for the file that "
            "`silosynth coordinator study propose` wrote"
        )
    return study


def _facts(home: "SiteHome", study: "Study", policy: str) -> "tuple[Facts, str]":
    """What is to be signed, and by which public key. Raises Declined, with cause and cure."""
    from silosynth.client import approval
    from silosynth.client.home import read_site
    from silosynth.client.refusal import Refused
    from silosynth.common.errors import Declined

    try:
        facts = approval.facts_of(home, study, policy)
        officer = approval.officer_of(home, study, facts.site)
    except Refused as refused:
        raise Declined(f"nothing was signed: {refused.reason}: {_cure(refused.reason, home, study)}") from refused
    ours, theirs = read_site(home.config).capacity, {one.name: one.capacity for one in study.roster}[facts.site]
    if ours != theirs:
        raise Declined(
            f"nothing was signed: the roster says at most {theirs} rows of this site, site.toml says {ours}; run "
            "`silosynth site request`, and ask the coordinator for a study with this site as it is"
        )
    return facts, officer


def _cure(reason: "Reason", home: "SiteHome", study: "Study") -> str:
    from silosynth.client.home import read_site
    from silosynth.client.installed import code_digest
    from silosynth.client.refusal import Reason

    if reason is Reason.OTHER_CODE:
        wanted = f"it names {study.code[:16]}" if study.code else "it names none, as only a simulation may"
        return f"{wanted}, and {code_digest()[:16]} is installed here; install that version, or ask for a study of this"
    name = read_site(home.config).name
    if reason is Reason.NOT_A_MEMBER:
        names = ", ".join(member.name for member in study.roster)
        return f"this is {name!r}, the roster has {names}; ask the coordinator to enrol request.json"
    return f"the keys of {name!r} on the roster are not those of request.json; send it again, and compare fingerprints"


def _tell(study: "Study", found: "Appraisal", facts: "Facts", *, as_json: bool) -> None:
    from silosynth.common.describe import describe

    if as_json:
        rooms = [asdict(room) for room in found.rooms]
        findings = [str(finding) for finding in found.findings]
        print(json.dumps({"digest": study.digest, "facts": asdict(facts), "rooms": rooms, "findings": findings}))
        return
    print(describe(study))
    title = "What this site's policy and ledger leave"
    print(f"{title}\n{'-' * len(title)}")
    print("\n".join(_room_lines(found)))
    for finding in found.findings:
        print(f"REFUSED: {finding}")
    print()


_ROOMS = {
    "caps.study.aggregate": "this study, against who sees only totals",
    "caps.study.local": "this study, against all others together",
    "caps.lifetime.aggregate": "for ever, against who sees only totals",
    "caps.lifetime.local": "for ever, against all others together",
}


def _room_lines(found: "Appraisal") -> list[str]:
    if not found.rooms:
        return []
    lines = [f"{'epsilon':<42}{'spent':>9}{'with it':>9}{'allowed':>9}  at delta"]
    lines += [_room_line(room) for room in found.rooms]
    if found.paid:
        lines.append("The ledger has paid for this study already; approving it again costs nothing.")
    restarts = min(room.restarts for room in found.rooms)
    if not found.findings and restarts < _MANY_RESTARTS:
        lines.append(
            f"If the agent is restarted within the study, what is left of it costs again: there is room for {restarts}."
        )
    return lines


def _room_line(room: "Room") -> str:
    most = "nothing" if room.most is None else f"{room.most:.3f}"
    return f"{_ROOMS[room.table]:<42}{room.before:>9.3f}{room.after:>9.3f}{most:>9}  {room.delta:g}"


def _ask(study: "Study", yes: str | None) -> None:
    """Return if a person says that this is the study that was read. Raises InvalidInput."""
    from click import Abort

    from silosynth.common.errors import InvalidInput

    if yes is not None:
        if yes != study.digest:
            raise InvalidInput(
                f"nothing was signed: --yes names another digest than {study.digest}; give the one you read"
            )
        return
    try:
        typed = typer.prompt(f"To approve, type the first {_PREFIX} digits of the digest", err=True)
    except Abort:
        raise InvalidInput("nothing was signed: nobody answered; type the digits, or give --yes DIGEST") from None
    if typed.strip() != study.digest[:_PREFIX]:
        raise InvalidInput("nothing was signed: the digest of what is shown above begins otherwise; read it again")


def _key(path: Path, passphrase_file: Path | None, officer: str) -> "Ed25519PrivateKey":
    """The officer's private key. Raises InvalidInput where it is not the one of request.json."""
    from silosynth.client.keys import public_key
    from silosynth.client.officer import is_encrypted, officer_key
    from silosynth.common.errors import InvalidInput

    secret = passphrase_in(passphrase_file) if passphrase_file else None
    if secret is None and is_encrypted(path):
        secret = typer.prompt("Passphrase of the officer's key", hide_input=True, err=True).encode()
    key = officer_key(path, secret)
    if public_key(key) != officer:
        raise InvalidInput(f"{path}: is not the officer's key of request.json; give the right one with --officer-key")
    return key
