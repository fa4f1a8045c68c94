"""The Flower end of a site: carries bytes to a Site and its bytes back. It reads nothing and decides nothing.

Rules: Flower sends the text of an exception to the coordinator, so none may leave a handler; and no byte of a message
is interpreted here, all of them are `wire`'s.
"""

import logging
from collections.abc import Callable
from typing import Protocol

from flwr.app import ConfigRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from silosynth.common.wire import pieces

log = logging.getLogger(__name__)

_FRAME = "frame"


class Answers(Protocol):
    """A site, or whatever passes bytes on to it. This module imports neither: no row can be in its process."""

    @property
    def name(self) -> str:
        """The site's public name."""
        ...

    def answer_frame(self, frame: bytes) -> bytes:
        """One request frame in, one reply frame out."""
        ...

    def session_frame(self, frame: bytes) -> bytes:
        """The same, for a step of a session of secure sums."""
        ...


def client_app(site_of: Callable[[Context], Answers]) -> ClientApp:
    """A ClientApp whose node is the site that `site_of` finds for its context.

    `query.name` answers with the site's public name; `query` carries one request frame in and one reply frame out;
    `query.session` does so for the steps of a session of secure sums, and for the receipt at the end. Where even that
    fails, an empty frame goes back and the story stays in the site's own log.
    """
    app = ClientApp()

    @app.query("name")
    def name(message: Message, context: Context) -> Message:
        return _reply(message, lambda: site_of(context).name.encode("ascii"))

    @app.query("session")
    def session(message: Message, context: Context) -> Message:
        return _reply(message, lambda: site_of(context).session_frame(_frame_of(message.content)))

    @app.query()
    def answer(message: Message, context: Context) -> Message:
        return _reply(message, lambda: site_of(context).answer_frame(_frame_of(message.content)))

    return app


def _reply(message: Message, work: Callable[[], bytes]) -> Message:
    try:
        frame = work()
    except Exception:
        log.exception("no answer")  # stays at the site
        frame = b""
    return Message(_packed(frame), reply_to=message)


def _packed(frame: bytes) -> RecordDict:
    # One record a piece: each object of a message costs both sides a request, and an array is three of them.
    return RecordDict({str(at): ConfigRecord({_FRAME: piece}) for at, piece in enumerate(pieces(frame))})


def _frame_of(content: RecordDict) -> bytes:
    found = [content.config_records[str(at)][_FRAME] for at in range(max(len(content.config_records), 1))]
    return b"".join(piece for piece in found if isinstance(piece, bytes))
