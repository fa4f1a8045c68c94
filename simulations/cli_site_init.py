"""A new site: `init` and `request`."""

import json
import socket
from pathlib import Path
from typing import Annotated

import typer

from silosynth.simulations.cli_site_options import HERE, AsJson, Home, PassphraseFile, passphrase_in

_CAPACITY = 100_000
_NEXT = """\
made {home}: keys, site.toml, policy.toml (it allows nothing yet) and request.json
Next:
  1. read site.toml and correct it: the most rows you answer with, the coordinator's address, where the rows are;
     after a change of name or capacity: silosynth site request
  2. send request.json to the coordinator; it holds nothing secret. Read its fingerprint to them, over a telephone:
       {fingerprint}
  3. put the ca.pem that they send back into {ca}; `silosynth site doctor` shows its fingerprint, which they
     read to you
  4. say in policy.toml what you allow; then `silosynth site doctor` names what is still missing"""
_OPEN = """\
note: officer.key has no passphrase. Whoever answers for the data should keep it on a medium of their own (move it, then
`approve --officer-key PATH`), or run init with --passphrase"""


def init(
    home: Home = HERE,
    *,
    name: Annotated[
        str | None, typer.Option(help="As the site is to be called on rosters (default: this host).")
    ] = None,
    capacity: Annotated[int, typer.Option(min=1, help="The most rows it will ever answer with: public.")] = _CAPACITY,
    coordinator: Annotated[str, typer.Option(help="HOST:PORT.")] = "coordinator.example.org:8443",
    data: Annotated[Path | None, typer.Option(help="The rows: CSV (gz too) or Parquet (default: rows.csv).")] = None,
    sql: Annotated[Path | None, typer.Option(help="Instead: a file with one SELECT.")] = None,
    url_file: Annotated[Path | None, typer.Option(help="With --sql: a file with the database's URL.")] = None,
    url_env: Annotated[str | None, typer.Option(help="With --sql: a variable with the database's URL.")] = None,
    passphrase: Annotated[bool, typer.Option("--passphrase", help="Ask for one, for the officer's key.")] = False,
    passphrase_file: PassphraseFile = None,
    as_json: AsJson = False,
) -> None:
    """Make a site: its keys, a policy that allows nothing, and the request for its coordinator. Overwrites nothing."""
    from silosynth.client import new_home
    from silosynth.client.home import SiteConfig, SiteHome, read_address
    from silosynth.client.where import FileSource, Source, SqlSource
    from silosynth.common.errors import InvalidInput
    from silosynth.common.site_request import check_name

    if data is not None and sql is not None:
        raise InvalidInput("the rows are in one place: give --data or --sql, not both")
    if sql is None and (url_file or url_env):
        raise InvalidInput("--url-file and --url-env belong to --sql FILE, a file with one SELECT; add it")
    source: Source = FileSource(data or home / "rows.csv")
    if sql is not None:
        source = SqlSource(sql, url_file or (None if url_env else home / "database.url"), url_env)
    called = check_name(name if name is not None else socket.gethostname().split(".")[0])
    secret = passphrase_in(passphrase_file) if passphrase_file else None
    if passphrase and secret is None:
        secret = typer.prompt("Passphrase", hide_input=True, confirmation_prompt=True, err=True).encode()
    where = SiteHome(home)
    request = new_home.make(where, SiteConfig(called, capacity, read_address(coordinator), source), secret)
    if as_json:
        print(json.dumps({"home": str(home.resolve()), "name": called, "fingerprint": request.fingerprint}))
        return
    print(_NEXT.format(home=where.path.resolve(), fingerprint=request.fingerprint, ca=where.ca))
    if secret is None:
        print(_OPEN)


def request(home: Home = HERE, as_json: AsJson = False) -> None:
    """Write request.json again, after name or capacity in site.toml were changed; the keys stay."""
    from silosynth.client.home import SiteHome
    from silosynth.client.new_home import refresh_request

    made = refresh_request(SiteHome(home))
    if as_json:
        print(json.dumps({"name": made.name, "capacity": made.capacity, "fingerprint": made.fingerprint}))
    else:
        print(f"{SiteHome(home).request}: {made.name}, at most {made.capacity:,} rows; {made.fingerprint}")
