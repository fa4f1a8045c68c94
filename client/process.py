"""What agent and relay do alike as processes: their logs, when they stop, and how they end.

A process of a site stops on SIGTERM and SIGINT, and, if it was started with --supervised, when its standard input ends:
then whoever started it is gone, however that one ended.
"""

import argparse
import fcntl
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from silosynth.client.events import Event, Log, Tell, Told, keep_texts
from silosynth.client.home import SiteHome
from silosynth.common.errors import InvalidInput, SilosynthError

log = logging.getLogger(__name__)

OK: Final = 0
ANYTHING_ELSE: Final = 1
WRONG_INPUT: Final = 2

_STDERR: Final = 2

Serve = Callable[[SiteHome, Tell, threading.Event], None]


def main(who: str, serve: Serve, arguments: Sequence[str] | None = None) -> None:
    """Serve in the foreground until told to stop; then end this process at once, whatever its threads are doing.

    Nothing is cut short that a kill might not: what must last is on disk before it is said.
    """
    code = _run(who, serve, arguments)
    logging.shutdown()
    os._exit(code)


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Hold a lock that the operating system lets go of when this process ends, however it ends. Raises InvalidInput."""
    try:
        file = path.open("w")
    except OSError as error:
        raise InvalidInput(
            f"{path.parent}: the {what} cannot write here ({error.strerror}); give this folder to its user"
        ) from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise InvalidInput(f"{path}: another {what} of this site is running; stop it first") from None
        yield


def _run(who: str, serve: Serve, arguments: Sequence[str] | None) -> int:
    given = _parser(who).parse_args(arguments)
    os.umask(0o077)
    home = SiteHome(given.home.resolve())
    people = os.dup(_STDERR)
    try:
        keep_texts(home.log, who)
        tell = Log(home.log, who, as_json=given.json)
        stop = _stop_on_signals(supervised=given.supervised)
        tell(Told(Event.STARTED))
        serve(home, tell, stop)
        tell(Told(Event.STOPPED))
    except InvalidInput as error:
        said, code = str(error), WRONG_INPUT
    except (SilosynthError, OSError) as error:
        log.exception("ended")
        said, code = str(error), ANYTHING_ELSE
    except Exception as error:
        log.exception("ended")
        said, code = f"{type(error).__name__}; more is in {home.log}/{who}.private.log", ANYTHING_ELSE
    else:
        return OK
    os.write(people, f"error: {said}\n".encode())
    return code


def _parser(who: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"python -m silosynth.client.{who}")
    parser.add_argument("home", type=Path, help="the site's folder")
    parser.add_argument("--json", action="store_true", help="events as JSON lines")
    parser.add_argument("--supervised", action="store_true", help="stop when standard input ends")
    return parser


def _stop_on_signals(*, supervised: bool) -> threading.Event:
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda _number, _frame: stop.set())
    if supervised:
        threading.Thread(target=_watch, args=(stop,), daemon=True).start()
    return stop


def _watch(stop: threading.Event) -> None:
    sys.stdin.buffer.read()
    stop.set()
