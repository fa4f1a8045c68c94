"""The Flower end of a site: carries bytes to a Site and its bytes back. It reads nothing and decides nothing.

Rules: Flower sends the text of an exception to the coordinator, so none may leave a handler; and no byte of a message
is interpreted here, all of them are `wire`'s.
"""

import logging
from collections.abc import Callable

from flwr.app import Array, ArrayRecord, Context, Message, RecordDict
from flwr.clientapp import ClientApp

from silosynth.client.site import Site

log = logging.getLogger(__name__)

_FRAME = "frame"


def client_app(site_of: Callable[[Context], Site]) -> ClientApp:
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
    # Raw bytes under a type of our own: no reader of NumPy files runs on what the other side sent.
    array = Array("uint8", (len(frame),), "silosynth", frame)
    return Message(RecordDict({_FRAME: ArrayRecord({_FRAME: array})}), reply_to=message)


def _frame_of(content: RecordDict) -> bytes:
    return content.array_records[_FRAME][_FRAME].data
