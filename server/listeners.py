"""The two doors of a coordinator: a public one for sites, and one on loopback for the coordinator's own commands.

Rules:
  D1  behind the public door there are ten paths and /health, compared byte by byte as they came: no path is decoded or
      joined, so there is nothing to trick;
  D2  a body has a stated length within a limit, and is read whole before anything looks into it;
  D3  the public door speaks TLS 1.3 with the coordinator's own certificate; the other one is on 127.0.0.1, and opens to
      who shows the badge (superlink.py, L3).
"""

import asyncio
import hmac
import signal
import socket
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import uvicorn
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from silosynth.common.errors import InvalidInput
from silosynth.common.wire import PIECE_BYTES

MOST_BYTES: Final = PIECE_BYTES + (1 << 16)
"""The longest body of a request to the public door: a piece of a frame, and what Flower puts around it."""

_PATHS: Final = frozenset(
    b"/v1/fleet/" + name
    for name in (
        b"activate-node", b"deactivate-node", b"send-node-heartbeat", b"get-run", b"get-fab", b"pull-messages",
        b"push-messages", b"pull-object", b"push-object", b"confirm-message-received",
    )
)  # fmt: skip
_HEALTH: Final = b"/health"
_BODY_S: Final = 60.0
_STOP_S: Final = 5
_MOST_CONNECTIONS: Final = 512


class PublicDoor:
    """Lets through what a site needs (D1, D2)."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] != "http":
            return
        path, method = scope["raw_path"], scope["method"]
        if path == _HEALTH and method == "GET":
            await self._app(scope, _nothing, send)
        elif path not in _PATHS or method != "POST":
            await Response(status_code=404)(scope, receive, send)
        else:
            body = await _body(scope, receive)
            if isinstance(body, Response):
                await body(scope, receive, send)
            else:
                await self._app(scope, _replay(body, receive), send)


class LoopbackDoor:
    """Lets everything through that shows the badge (D3)."""

    def __init__(self, app: ASGIApp, header: str, badge: str) -> None:
        self._app, self._header, self._badge = app, header.encode(), badge.encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """See ASGI."""
        if scope["type"] == "http" and scope["raw_path"] != _HEALTH:
            shown = dict(scope["headers"]).get(self._header, b"")
            if not hmac.compare_digest(shown, self._badge):
                await Response(status_code=401)(scope, receive, send)
                return
        await self._app(scope, receive, send)


@dataclass(frozen=True)
class Doors:
    """Both doors, their sockets bound. `key`, `certificate`: files of the public one's TLS."""

    public: socket.socket
    loopback: socket.socket
    key: Path
    certificate: Path

    def serve(self, public: PublicDoor, loopback: LoopbackDoor, ready: Callable[[], None]) -> None:
        """Serve until SIGTERM or SIGINT; `ready` is called when both are open."""
        with asyncio.Runner(loop_factory=_config(public).get_loop_factory()) as runner:  # uvloop, where it is installed
            runner.run(self._serve(public, loopback, ready))

    async def _serve(self, public: PublicDoor, loopback: LoopbackDoor, ready: Callable[[], None]) -> None:
        inner = _Server(_config(loopback, lifespan="on"))
        outer = _Server(
            _config(
                public,
                ssl_keyfile=self.key,
                ssl_certfile=self.certificate,
                ssl_context_factory=_tls,
                limit_concurrency=_MOST_CONNECTIONS,
            )
        )

        def leave() -> None:
            inner.should_exit = outer.should_exit = True

        loop = asyncio.get_running_loop()
        for end in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(end, leave)
        tasks = [loop.create_task(inner.serve(sockets=[self.loopback]))]
        await inner.begun.wait()
        tasks.append(loop.create_task(outer.serve(sockets=[self.public])))
        await outer.begun.wait()
        ready()
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        leave()
        await asyncio.gather(*tasks)


def bound(host: str, port: int) -> socket.socket:
    """A socket that waits for connections. Raises InvalidInput where the address is not to be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=_MOST_CONNECTIONS)
    except OSError as error:
        raise InvalidInput(
            f"cannot listen at {host}:{port} ({error.strerror}): is a coordinator running already? Else choose another "
            "`port`, `loopback_port` or `listen` in coordinator.toml"
        ) from None


class _Server(uvicorn.Server):
    """A server that leaves signals to who started it, and says when it has begun, well or not."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.begun = asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """See uvicorn."""
        try:
            await super().startup(sockets)
        finally:
            self.begun.set()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Nothing is captured."""
        yield


def _config(app: ASGIApp, *, lifespan: str = "off", **tls: object) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        lifespan=lifespan,  # type: ignore[arg-type]  # its own literals
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        ws="none",
        timeout_graceful_shutdown=_STOP_S,
        **tls,  # type: ignore[arg-type]
    )


def _tls(_config: uvicorn.Config, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = make()
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


async def _body(scope: Scope, receive: Receive) -> bytes | Response:
    """The whole body, or the refusal of it (D2)."""
    stated = dict(scope["headers"]).get(b"content-length", b"")
    if not stated.isdigit():
        return Response(status_code=411)
    if len(stated) > len(str(MOST_BYTES)) or int(stated) > MOST_BYTES:
        return Response(status_code=413)
    body = bytearray()
    try:
        async with asyncio.timeout(_BODY_S):
            while True:
                message = await receive()
                if message["type"] != "http.request":
                    return Response(status_code=400)
                body += message.get("body", b"")
                if len(body) > int(stated):
                    return Response(status_code=413)
                if not message.get("more_body", False):
                    return bytes(body)
    except TimeoutError:
        return Response(status_code=408)


def _replay(body: bytes, receive: Receive) -> Receive:
    """Gives the body again, then whatever comes after it."""
    parts: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def again() -> Message:
        return parts.pop() if parts else await receive()

    return again


async def _nothing() -> Message:
    return {"type": "http.request", "body": b"", "more_body": False}
