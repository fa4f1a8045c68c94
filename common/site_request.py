"""What a site asks its coordinator to enrol: request.json. Public, all of it; the site writes, the coordinator reads.

    {"format": 1, "name": ..., "capacity": ..., "agent": 64 hex digits, "officer": 64 hex digits, "node": OpenSSH line}

Whoever carries it could change it: people of both institutions compare its fingerprint over another way.
"""

import hashlib
import json
import re
from dataclasses import asdict, dataclass
from typing import Final

from silosynth.common.errors import InvalidInput, InvalidStudy
from silosynth.common.framing import framed
from silosynth.common.secagg.roster import grouped
from silosynth.common.toml_read import TableReader

FORMAT: Final = 1
MOST_ROWS: Final = 1 << 48
MOST_CHARACTERS: Final = 1 << 14

_LABEL: Final = b"silosynth/request/1"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}")
_KEY: Final = re.compile(r"[0-9a-f]{64}")
_NODE: Final = re.compile(r"ecdsa-sha2-nistp384 [A-Za-z0-9+/]+={0,2}( [ -~]*)?")


@dataclass(frozen=True)
class SiteRequest:
    """A site, as others know it.

    `capacity`: most rows it will ever answer with. `agent` and `officer`: public Ed25519 keys, 64 hex digits. `node`:
    the public key of its relay, one line of OpenSSH's form. Raises InvalidInput.
    """

    name: str
    capacity: int
    agent: str
    officer: str
    node: str

    def __post_init__(self) -> None:
        check_name(self.name)
        if not 0 < self.capacity <= MOST_ROWS:
            raise InvalidInput(f"capacity: must lie between 1 and {MOST_ROWS}")
        if not _KEY.fullmatch(self.agent) or not _KEY.fullmatch(self.officer) or self.agent == self.officer:
            raise InvalidInput("agent, officer: must be two keys of 64 hex digits each")
        if not _NODE.fullmatch(self.node):
            raise InvalidInput("node: must be the line of a public key, ecdsa-sha2-nistp384")

    @property
    def fingerprint(self) -> str:
        """What people compare, in groups of four digits: of all of it."""
        values = (self.name, str(self.capacity), self.agent, self.officer, self.node)
        return grouped(hashlib.sha256(framed(_LABEL, *(value.encode() for value in values))).digest())


def check_name(name: str) -> str:
    """A name that can stand on a roster, in a file name and on a wire. Raises InvalidInput."""
    if not _NAME.fullmatch(name):
        raise InvalidInput(
            f"{name!r} cannot be a site's name: take letters, digits, '.', '_' and '-', at most 63, not a sign first"
        )
    return name


def write_request(request: SiteRequest) -> str:
    """The text of request.json."""
    return json.dumps({"format": FORMAT} | asdict(request), indent=2) + "\n"


def read_request(text: str, source: str) -> SiteRequest:
    """The request in a text; `source` names it in errors. Raises InvalidInput."""
    if len(text) > MOST_CHARACTERS:
        raise InvalidInput(f"{source}: is too long for a request; give the request.json that `site init` wrote")
    try:
        table = TableReader(source, "request", json.loads(text))
        if table.whole("format", 1, MOST_ROWS) != FORMAT:
            raise table.wrong("format", f"this version reads format {FORMAT} only")
        request = SiteRequest(
            table.text("name"), table.whole("capacity", 1, MOST_ROWS), *map(table.text, ("agent", "officer", "node"))
        )
        table.done()
    except ValueError as error:
        raise InvalidInput(f"{source}: is not JSON: {error}; give the request.json that `site init` wrote") from error
    except InvalidStudy as error:
        raise InvalidInput(str(error)) from error
    except InvalidInput as error:
        raise InvalidInput(f"{source}: {error}") from error
    return request
