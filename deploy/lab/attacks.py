"""What a site, or somebody on its host, may try beyond what it is for. Each attempt says what came of it.

An attempt that is stopped proves little by itself: each kind has a control that succeeds where it should.
"""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.hosts import Host
from lab.streams import Spoken

_SAY: Final = """
import http.client, json, ssl, sys
host, ca = sys.argv[1:3]
context = ssl.create_default_context(cafile=ca)
said = []
for method, path, head, body in json.load(sys.stdin):
    line = http.client.HTTPSConnection(host, context=context, timeout=10)
    try:
        line.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
        for name, value in head:
            line.putheader(name, value)
        line.endheaders(bytes.fromhex(body))
        said.append(line.getresponse().status)
    except (OSError, http.client.HTTPException) as error:
        said.append(type(error).__name__)
    finally:
        line.close()
print(json.dumps(said))
"""

FLEET: Final = "/v1/fleet/"
HEALTH: Final = "/health"
_DISGUISES: Final = (
    "/v1/fleet/../control/{name}", "/v1/fleet/%2e%2e/control/{name}", "/v1/fleet/..%2fcontrol/{name}",
    "//v1/control/{name}", "/V1/control/{name}", "/v1//control/{name}", "/health/../v1/control/{name}",
    "/./v1/control/{name}", "/v1/fleet/..;/control/{name}", "http://127.0.0.1/v1/control/{name}",
)  # fmt: skip


@dataclass(frozen=True)
class Outcome:
    """An HTTP request, and its status, or the name of the error that came instead."""

    path: str
    status: int | str

    @property
    def refused(self) -> bool:
        """Whether nothing was done."""
        return not isinstance(self.status, int) or 400 <= self.status < 500


def sent(host: Host, to: str, ca: Path, requests: Sequence[Spoken]) -> tuple[Outcome, ...]:
    """Each request, as it is, from a host over TLS, on a connection of its own."""
    plain = [[one.method, one.path, _headers(one.head), one.body.hex()] for one in requests]
    done = host.run([sys.executable, "-I", "-c", _SAY, to, ca], stdin=json.dumps(plain), timeout_s=600)
    if done.returncode:
        raise subprocess.SubprocessError(done.stderr)
    return tuple(Outcome(one.path, said) for one, said in zip(requests, json.loads(done.stdout), strict=True))


def control_calls(known: Sequence[str], host: str) -> tuple[Spoken, ...]:
    """Calls of everything that the coordinator's server knows, beside what sites need; and of it in disguise."""
    other = [path for path in known if not path.startswith(FLEET) and path != HEALTH]
    names = sorted({path.rsplit("/", 1)[1] for path in other if path.startswith("/v1/control/")})
    disguised = [form.format(name=name) for form in _DISGUISES for name in names[:3]]
    pages = ["/", "/docs", "/redoc", "/openapi.json", "/metrics"]
    head = f"\r\nHost: {host}\r\nContent-Type: application/x-protobuf\r\nContent-Length: 0\r\n\r\n".encode()
    return tuple(
        Spoken(method, path, head, b"")
        for path in dict.fromkeys([*other, *pages, *disguised])
        for method in ("POST", "GET")
    )


def _headers(head: bytes) -> list[list[str]]:
    lines = head.decode("latin-1").split("\r\n")[1:]
    return [[part.strip() for part in line.split(":", 1)] for line in lines if line]
