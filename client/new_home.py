"""A new site: its folders, its three keys, a policy that allows nothing, and the request for its coordinator.

Nothing is overwritten: a key that is gone would take the site's past with it.
"""

from pathlib import Path
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from silosynth.client.home import FORMAT, SiteConfig, SiteHome, read_site, read_text, write_whole
from silosynth.client.keys import agent_key, public_key
from silosynth.client.officer import new_officer_key
from silosynth.client.where import FileSource, Source
from silosynth.common.errors import InvalidInput
from silosynth.common.site_request import SiteRequest, read_request, write_request
from silosynth.common.toml_text import entry

PUBLIC: Final = 0o644
_PRIVATE_FOLDER: Final = 0o700
_FOLDER: Final = 0o755

POLICY: Final = """\
# What this site allows, whatever a study says. What is not allowed here is refused; as it stands, that is everything.
# `silosynth site approve STUDY` reads it, and says which line refuses. After a change, approve running studies again.

format = 1

# Engines that may ask: "autoregressive", "gan", "marginals".
engines = []

least_sites = 3        # fewest sites on a study's roster
least_floor = 2        # fewest honest sites that share the noise of a sum: sites less colluders
lock_out_after = 100   # refused requests after which a study is not answered any more

# The most that may be spent on a person, for each study and for ever. Aggregate: against everybody who sees only
# totals. Local: against the coordinator and all other sites together. Without a cap, nothing may be spent.
# [caps.study.aggregate]
# epsilon = 1.0
# delta = 1e-5
# [caps.study.local]
# epsilon = 4.0
# delta = 1e-5
# [caps.lifetime.aggregate]
# epsilon = 3.0
# delta = 1e-5
# [caps.lifetime.local]
# epsilon = 12.0
# delta = 1e-5
"""


def make(home: SiteHome, config: SiteConfig, passphrase: bytes | None) -> SiteRequest:
    """A site's home, with all of its keys; the officer's is encrypted where there is a passphrase.

    Raises InvalidInput where any of it is there already, or cannot be written.
    """
    keep = (home.config, home.policy, home.request, home.officer_key, home.agent_key, home.ledger, home.node_key)
    there = [path for path in keep if path.exists()]
    if there:
        raise InvalidInput(f"{there[0]}: is there already, and nothing is overwritten; choose another folder (--home)")
    try:
        return _make(home, config, passphrase)
    except OSError as error:
        raise InvalidInput(
            f"{error.filename or home.path}: cannot be written ({error.strerror}); choose another folder (--home)"
        ) from error


def refresh_request(home: SiteHome) -> SiteRequest:
    """request.json again, after name or capacity in site.toml were changed; keys stay. Raises InvalidInput."""
    config = read_site(home.config)
    before = read_request(read_text(home.request, "put it back; the officer's public key is in it"), str(home.request))
    request = SiteRequest(config.name, config.capacity, before.agent, before.officer, before.node)
    write_whole(home.request, write_request(request).encode(), PUBLIC)
    return request


def site_text(config: SiteConfig, folder: Path) -> str:
    """The text of site.toml in `folder`, which `read_site` reads back."""
    return "\n".join(
        [
            "# What this site is. Paths count from this file's folder.",
            "",
            f"format = {FORMAT}",
            entry("name", config.name),
            "# The most rows this site will ever answer with. Public, and part of request.json: round it up freely.",
            "# More rows are refused, and an exact number would tell how many there are. It costs computing time.",
            entry("capacity", config.capacity),
            "",
            "[coordinator]",
            entry("address", str(config.address)),
            "",
            *_data(config.source, folder),
            "",
        ]
    )


def _make(home: SiteHome, config: SiteConfig, passphrase: bytes | None) -> SiteRequest:
    home.path.mkdir(parents=True, exist_ok=True)
    for folder, mode in (
        (home.agent, _PRIVATE_FOLDER), (home.relay, _PRIVATE_FOLDER), (home.log, _PRIVATE_FOLDER),
        (home.run, _FOLDER), (home.studies, _FOLDER),
    ):  # fmt: skip
        folder.mkdir(mode=mode, exist_ok=True)
    officer, officer_pem = new_officer_key(passphrase)
    node = ec.generate_private_key(ec.SECP384R1())
    line = node.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode() + f" {config.name}"
    agent = agent_key(home.agent)
    write_whole(home.officer_key, officer_pem)
    write_whole(home.node_key, node.private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption()))
    write_whole(home.node_pub, f"{line}\n".encode(), PUBLIC)
    write_whole(home.policy, POLICY.encode(), PUBLIC)
    write_whole(home.config, site_text(config, home.path).encode(), PUBLIC)
    request = SiteRequest(config.name, config.capacity, public_key(agent), public_key(officer), line)
    write_whole(home.request, write_request(request).encode(), PUBLIC)
    return request


def _data(source: Source, folder: Path) -> list[str]:
    if isinstance(source, FileSource):
        return ["[data]", entry("path", _near(source.path, folder))]
    where = (
        entry("url_env", source.url_env)
        if source.url_env
        else entry("url_file", _near(source.url_file or Path("database.url"), folder))
    )
    return ["[data.sql]", where, entry("query_file", _near(source.query_file, folder))]


def _near(path: Path, folder: Path) -> str:
    """A path from `folder`, where it is below it; as it is from the root where it is not."""
    whole = path.resolve()
    return str(whole.relative_to(folder.resolve()) if whole.is_relative_to(folder.resolve()) else whole)
