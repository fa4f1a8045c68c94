"""Whether a site is ready, one finding a line: ok, warn or fail, each fail with its cure. It changes nothing.

It speaks to the coordinator only to shake hands and to ask its /health, as the relay would, and tells it nothing.
"""

import os
import shutil
import stat
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from silosynth.client import approval, coordinator_check
from silosynth.client.books import Books
from silosynth.client.findings import Finding, fail, ok, warn
from silosynth.client.home import SiteConfig, SiteHome, read_site, read_text
from silosynth.client.installed import code_digest
from silosynth.client.ledger import books_at
from silosynth.client.policy import Policy, read_policy
from silosynth.client.refusal import Reason, Refused
from silosynth.client.where import FileSource
from silosynth.common.accounting import epsilon
from silosynth.common.errors import InvalidInput, Tampered
from silosynth.common.privacy import View
from silosynth.common.site_request import read_request

LEAST_FREE: Final = 100 << 20
LOW_FREE: Final = 1 << 30
NEARLY_SPENT: Final = 0.9

_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


def examine(home: SiteHome, now: datetime, *, network: bool = True) -> Iterator[Finding]:
    """Every finding, in the order in which they are best mended. `now` has a time zone."""
    try:
        config = read_site(home.config)
    except InvalidInput as error:
        yield fail("site.toml", str(error), "nothing else was looked at")
        return
    yield ok("site.toml", f"{config.name}, at most {config.capacity:,} rows, coordinator {config.address}")
    yield ok("software", f"digest {code_digest()}")
    checks: dict[str, Callable[[], Iterator[Finding]]] = {
        "keys": lambda: _keys(home),
        "request.json": lambda: _request(home, config),
        "rows": lambda: _rows(config),
        "books": lambda: _books(home),
        "studies": lambda: _studies(home),
        "disk": lambda: _disk(home.path),
        "ca.pem": lambda: _authority(home, now),
    }
    for what, check in checks.items():
        try:
            yield from check()
        except OSError as error:  # each part of a home has its own user: see deploy/
            cure = "run this as the user whose it is, or as root"
            yield fail(what, f"cannot be looked at ({error.strerror}: {error.filename})", cure)
    if network:
        yield from coordinator_check.handshake(config.address, home.ca, now)


def _keys(home: SiteHome) -> Iterator[Finding]:
    for path, needed in ((home.agent_key, True), (home.node_key, True), (home.officer_key, False)):
        if not path.exists():
            if needed:
                yield fail(path.name, f"{path}: there is no such file", "put the site's own key back")
            continue
        mode = path.stat().st_mode
        if os.name == "posix" and mode & _OTHERS:
            yield fail(path.name, "others may read it", f"run `chmod 600 {path}`, and ask who has read it")
        elif path == home.officer_key and b"ENCRYPTED" not in path.read_bytes()[:64]:
            cure = "move it to a medium of the officer's own, then `approve --officer-key PATH`"
            yield warn(path.name, "lies here without a passphrase", cure)
        else:
            yield ok(path.name, "its owner alone may read it")


def _request(home: SiteHome, config: SiteConfig) -> Iterator[Finding]:
    try:
        request = read_request(read_text(home.request, "put back what `site init` wrote"), str(home.request))
        node = read_text(home.node_pub, "put back what `site init` wrote").strip()
    except InvalidInput as error:
        yield fail("request.json", str(error))
        return
    if (request.name, request.capacity) != (config.name, config.capacity):
        cure = "run `silosynth site request`, and have the coordinator enrol it again"
        yield fail("request.json", "name or capacity is not that of site.toml", cure)
    elif request.node != node:
        yield fail("request.json", "its node key is not relay/node.pub", "put back what `site init` wrote")
    else:
        yield ok("request.json", f"fingerprint {request.fingerprint}")


def _rows(config: SiteConfig) -> Iterator[Finding]:
    source = config.source
    files = [source.path] if isinstance(source, FileSource) else [source.query_file]
    if not isinstance(source, FileSource):
        if source.url_file:
            files.append(source.url_file)
        elif source.url_env and source.url_env not in os.environ:
            yield fail("rows", f"the variable {source.url_env} is not set", "set it where the agent runs")
    for path in files:
        if not path.is_file():
            yield fail("rows", f"{path}: there is no such file", "correct [data] in site.toml, or mount it")
        elif not os.access(path, os.R_OK):
            yield fail("rows", f"{path}: cannot be read", "let the agent's user read it")
        else:
            yield ok("rows", f"{path} can be read")


def _books(home: SiteHome) -> Iterator[Finding]:
    try:
        policy: Policy | None = read_policy(read_text(home.policy, "put the site's policy back"), str(home.policy))
    except InvalidInput as error:
        policy = None
        yield fail("policy.toml", str(error))
    if policy:
        yield _allowing(policy)
    try:
        books = books_at(home.ledger)
    except Tampered as error:
        yield fail("ledger", str(error), "put the newest whole copy back, and ask who wrote into it")
        return
    except InvalidInput as error:
        yield fail("ledger", str(error))
        return
    if books.barred:
        cure = "put the newest copy back; if this is it: `silosynth site unlock`"
        yield fail("ledger", "barred: others have seen entries that are not in it", cure)
    elif books.seq:
        yield ok("ledger", f"its chain of {books.seq} entries holds")
    else:
        yield ok("ledger", "none yet; it begins with the first `silosynth site run`")
    if policy:
        yield from _budgets(policy, books)


def _allowing(policy: Policy) -> Finding:
    caps = (policy.study_caps, policy.lifetime_caps)
    if not policy.engines or not all(one.aggregate and one.local for one in caps):
        return warn("policy.toml", "allows nothing: no engine, or a cap is missing", "say in it what this site allows")
    return ok("policy.toml", f"allows {', '.join(sorted(policy.engines))}, of {policy.least_sites} sites or more")


def _budgets(policy: Policy, books: Books) -> Iterator[Finding]:
    """The lifetime caps. None depends on rows."""
    caps = {View.AGGREGATE: policy.lifetime_caps.aggregate, View.LOCAL: policy.lifetime_caps.local}
    for view, cap in caps.items():
        if cap is None:
            continue
        spent = books.lifetime.within(view)
        said = f"epsilon {epsilon(spent, cap.delta):.3f} of {cap.epsilon:g} spent, at delta {cap.delta:g}"
        if books.lifetime.noiseless or spent >= cap.mu_squared:
            yield fail(f"budget, {view}", said, "no study can go on: only the owner of the policy can allow more")
        elif spent > NEARLY_SPENT**2 * cap.mu_squared:
            yield warn(f"budget, {view}", said, "nearly spent: plan what it is to be used for")
        else:
            yield ok(f"budget, {view}", said)


def _studies(home: SiteHome) -> Iterator[Finding]:
    digests = [path.stem for path in sorted(home.studies.glob("*.toml"))]
    for digest in digests:
        what = f"study {digest[:8]}"
        try:
            loaded = approval.load(home, digest)
        except Refused as refused:
            why = f" ({refused.__cause__})" if refused.__cause__ else ""
            cure = "read it, and `silosynth site approve` it again; or remove its file"
            if refused.reason is Reason.OTHER_CODE:
                cure = "install the version it names, or have it proposed again; if it is over, remove its file"
            yield warn(what, f"{refused.reason}{why}: the agent will not answer it", cure)
        except InvalidInput as error:
            yield fail(what, str(error))
        else:
            yield ok(what, f"{loaded.study.name!r} is approved")
    if not digests:
        yield ok("studies", "none yet")


def _disk(path: Path) -> Iterator[Finding]:
    free = shutil.disk_usage(path).free
    said = f"{free / (1 << 30):.1f} GiB free"
    if free < LEAST_FREE:
        yield fail("disk", said, "make room: the ledger stops a site that cannot write")
    elif free < LOW_FREE:
        yield warn("disk", said, "make room before it stops the site")
    else:
        yield ok("disk", said)


def _authority(home: SiteHome, now: datetime) -> Iterator[Finding]:
    if not home.ca.is_file():
        yield fail("ca.pem", f"{home.ca}: there is no such file", "put the one there that the coordinator sent back")
        return
    yield coordinator_check.authority(home.ca, now)


def utc_now() -> datetime:
    """The time, for `examine`."""
    return datetime.now(UTC)
