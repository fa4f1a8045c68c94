"""`silosynth coordinator`: the institution that asks. It holds no rows; what it may ask, sites decide."""

import json
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from silosynth.common.errors import SilosynthError
from silosynth.simulations.cli_options import AsJson, Quiet, Seed, StudyFile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from silosynth.server.home import CoordinatorHome, Settings
    from silosynth.server.launch import Launch
    from silosynth.server.studies import Status, StudyFolder

app = typer.Typer(help="Ask institutions: keys, sites, the service, studies.", no_args_is_help=True)
study = typer.Typer(help="Studies between institutions.", no_args_is_help=True)
app.add_typer(study, name="study")

Home = Annotated[Path, typer.Option("--home", help="The coordinator's folder.")]
Name = Annotated[str, typer.Argument(help="The study's name: that of the file it was proposed from.")]


@app.command()
def init(
    host: Annotated[list[str], typer.Option(help="Name or address that sites reach this host by; the first is told.")],
    home: Home = Path(),
    port: Annotated[int, typer.Option(min=1, max=65535, help="For sites.")] = 8443,
    loopback_port: Annotated[int, typer.Option(min=1, max=65535, help="For commands on this host.")] = 8444,
    as_json: AsJson = False,
) -> None:
    """Make a certificate authority, a server certificate and coordinator.toml."""
    from silosynth.server.home import CoordinatorHome, Settings
    from silosynth.server.setup import init as make

    settings = Settings(tuple(host), port=port, loopback_port=loopback_port)
    authority = make(CoordinatorHome(home), settings)
    if as_json:
        print(json.dumps({"home": str(home), "address": settings.address, "authority": authority}))
        return
    print(f"a coordinator at {settings.address}, in {home}")
    print(f"  authority  {authority}   (sites compare it with what they are sent)")
    print("next: `silosynth coordinator run`; for each site, `silosynth coordinator enrol request.json`")


@app.command()
def enrol(
    request: Annotated[Path, typer.Argument(help="request.json of a site.")],
    home: Home = Path(),
    as_json: AsJson = False,
) -> None:
    """Let a site take part, and write what goes back to it."""
    from silosynth.server.enrol import enrol as add
    from silosynth.server.enrol import key_fingerprints, node_key

    where, settings = _opened(home)
    made = add(where, settings, request)
    with _control(where, settings) as control:
        if control is not None:
            control.register(made.request.name, node_key(made.request))
    keys = key_fingerprints(made.request)
    if as_json:
        said = {"site": made.request.name, "bundle": str(made.bundle), "authority": made.authority}
        print(json.dumps(said | {"request": made.request.fingerprint, "keys": keys}))
        return
    print(f"{made.request.name} is enrolled. Compare by telephone with its people, digit by digit:")
    print(f"  request    {made.request.fingerprint}")
    for what, shown in keys.items():
        print(f"  {what:<9}  {shown}")
    print(f"  authority  {made.authority}")
    print(f"If they differ: `silosynth coordinator revoke {made.request.name}`. Send back: {made.bundle}/")


@app.command()
def revoke(name: Annotated[str, typer.Argument(help="The site.")], home: Home = Path()) -> None:
    """Keep a site out from now on; its node key is never let in again."""
    from silosynth.server.enrol import node_key
    from silosynth.server.enrol import revoke as forget

    where, settings = _opened(home)
    key = node_key(forget(where, name))
    with _control(where, settings) as control:
        if control is not None:
            control.unregister(key)
    print(f"{name} is revoked. A study that has it on its roster cannot go on: propose one without it")


@app.command()
def sites(home: Home = Path(), as_json: AsJson = False) -> None:
    """Who is enrolled, and who is connected."""
    from silosynth.server.enrol import node_keys
    from silosynth.server.home import enrolled

    where, settings = _opened(home)
    found = enrolled(where)
    with _control(where, settings) as control:
        states = {} if control is None else {node.public_key: node.status for node in control.nodes()}
    seen = {name: states.get(key, "unknown: no coordinator runs") for name, key in node_keys(found).items()}
    if as_json:
        content = [{"site": name, "capacity": one.capacity, "node": seen[name]} for name, one in found.items()]
        print(json.dumps({"sites": content}))
        return
    for name, one in found.items():
        print(f"{name:<24}  at most {one.capacity} rows  {seen[name]:<10}  {one.fingerprint}")
    if not found:
        print("nobody is enrolled: `silosynth coordinator enrol request.json`")


@app.command()
def renew(home: Home = Path()) -> None:
    """A new key and certificate for the public listener, for the `hosts` of coordinator.toml. Sites need nothing."""
    from silosynth.server.setup import renew as certify

    certify(*_opened(home))
    print("renewed: restart `silosynth coordinator run`")


@app.command()
def run(home: Home = Path()) -> None:
    """Serve sites until stopped. Logs are JSON lines on standard error."""
    from silosynth.server.logs import in_json
    from silosynth.server.service import serve

    in_json()
    where, settings = _opened(home)
    serve(where, settings, lambda: print(f"ready for sites at {settings.listen}:{settings.port}", flush=True))


@study.command()
def propose(
    file: StudyFile,
    sites: Annotated[str, typer.Option(help="Enrolled sites, with commas: the roster, in this order.")],
    home: Home = Path(),
    as_json: AsJson = False,
) -> None:
    """Fix who takes part, the plan and the software: the file that sites approve."""
    from silosynth.server.studies import propose as resolve

    folder, fixed = resolve(_opened(home)[0], file, [name.strip() for name in sites.split(",") if name.strip()])
    if as_json:
        print(json.dumps({"study": folder.name, "digest": fixed.digest, "file": str(folder.file)}))
        return
    print(f"{folder.name}: {fixed.releases} sums over {len(fixed.roster)} sites, epsilon {fixed.budget.epsilon:g}")
    print(f"  digest  {fixed.digest}")
    print(f"Send {folder.file} to each site's officer, for `silosynth site approve`. Then:")
    print(f"silosynth coordinator study launch {folder.name}")


@study.command()
def launch(name: Name, home: Home = Path(), seed: Seed = 0, quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Ask the sites, learn, and publish a synthetic table with its certificate."""
    with _telling(name, home, quiet=quiet, as_json=as_json) as (work, shown):
        work.begin(seed, shown)


@study.command()
def resume(name: Name, home: Home = Path(), quiet: Quiet = False, as_json: AsJson = False) -> None:
    """Go on with a study that was stopped, or died."""
    with _telling(name, home, quiet=quiet, as_json=as_json) as (work, shown):
        work.resume(shown)


@study.command()
def stop(name: Name, home: Home = Path()) -> None:
    """Have a study end within a round; `resume` goes on with it."""
    _launch(home, name).stop()
    print(f"{name}: is told to stop")


@study.command()
def status(
    name: Annotated[str | None, typer.Argument(help="A study; without it, all of them.")] = None,
    home: Home = Path(),
    as_json: AsJson = False,
) -> None:
    """Where studies are, and what they spent."""
    from dataclasses import asdict

    from silosynth.server.studies import folder_of, folders

    where, _ = _opened(home)
    chosen = folders(where) if name is None else [folder_of(where, name)]
    found = {folder.name: folder.status() for folder in chosen}
    if as_json:
        print(json.dumps({"studies": {one: asdict(state) for one, state in found.items()}}))
        return
    for one, state in found.items():
        print(_line(one, state))
    if not found:
        print("no study was proposed: `silosynth coordinator study propose STUDY.toml --sites a,b,c`")


def _line(name: str, state: "Status") -> str:
    parts = [f"{name:<24}  {state.state:<11}  {state.releases} of {state.of} sums"]
    parts += [text for text in (state.note, state.cause, state.spent) if text]
    return "\n  ".join(parts)


def _opened(home: Path) -> "tuple[CoordinatorHome, Settings]":
    from silosynth.server.home import CoordinatorHome, read_settings

    where = CoordinatorHome(home)
    return where, read_settings(where)


def _launch(home: Path, name: str) -> "Launch":
    from silosynth.server.studies import folder_of

    where, settings = _opened(home)
    folder = folder_of(where, name)
    from silosynth.server.launch import Launch  # seconds

    return Launch(where, settings, folder)


@contextmanager
def _control(where: "CoordinatorHome", settings: "Settings") -> "Iterator[Any]":
    """The control of the coordinator that runs here, or None where none does: it reads who is enrolled at its start."""
    from silosynth.server.home import held, read_secret

    with held(where.run / "service.lock", wait=False) as nobody:
        if nobody:
            yield None
            return
    from silosynth.server.superlink import Access, Control  # seconds

    control = Control(Access(settings.loopback_port, read_secret(where)))
    try:
        yield control
    finally:
        control.close()


@contextmanager
def _telling(name: str, home: Path, *, quiet: bool, as_json: bool) -> "Iterator[Any]":
    """A launch and its progress; at its end, well or not, what was spent."""
    from silosynth.server.studies import folder_of
    from silosynth.simulations.console import progress

    folder_of(_opened(home)[0], name)  # said at once, where there is none
    with progress(quiet=quiet) as shown:
        shown("start", 0, 0)
        work = _launch(home, name)
        try:
            yield work, shown
        except SilosynthError:
            print(work.folder.status().spent, file=sys.stderr)
            raise
    _tell(work.folder, work.folder.status(), as_json=as_json)


def _tell(folder: "StudyFolder", ended: "Status", *, as_json: bool) -> None:
    if as_json:
        certificate = json.loads((folder.path / "certificate.json").read_text(encoding="utf-8"))
        print(json.dumps({"out": str(folder.path), "certificate": certificate}))
        return
    print(f"{folder.name}: {ended.spent}")
    print(f"files: {folder.path}/  (read report.html first; synthetic.csv and synthetic.parquet hold the same rows)")
