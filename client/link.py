"""Between agent and relay: a Unix socket, three calls by gRPC, bytes in and bytes out. What both sides must agree on.

    Name      nothing in, the site's public name out
    Answer    a request frame in, a reply frame out
    Session   the same, for a step of a session of secure sums
An empty reply means that there is none; why not stays with the agent.
"""

import os
from pathlib import Path
from typing import Final

from silosynth.common.errors import InvalidInput
from silosynth.common.wire import LIMITS

SERVICE: Final = "silosynth.Agent"
METHODS: Final = ("Name", "Answer", "Session")

_LONGEST_PATH: Final = 107
"""Bytes of a Unix socket's path, on Linux."""


def options() -> list[tuple[str, int]]:
    """Of gRPC, for both sides: frames of any allowed size, no proxy, and a quick return after a restart."""
    return [
        ("grpc.max_receive_message_length", LIMITS.frame_bytes),
        ("grpc.max_send_message_length", LIMITS.frame_bytes),
        ("grpc.enable_http_proxy", 0),
        ("grpc.initial_reconnect_backoff_ms", 100),
        ("grpc.min_reconnect_backoff_ms", 100),
        ("grpc.max_reconnect_backoff_ms", 1000),
    ]


def target(socket: Path) -> str:
    """What gRPC calls the socket. Raises InvalidInput where its path is too long for one."""
    path = os.path.abspath(socket)  # noqa: PTH100 - a link in it is the site's own choice, and may be the shorter name
    if len(os.fsencode(path)) > _LONGEST_PATH:
        raise InvalidInput(f"{path}: too long for a socket's path; move the site's home to a shorter one")
    return f"unix:{path}"
