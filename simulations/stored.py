"""Sessions of secure sums of a site that lives in no process: Flower's simulation engine may serve each message anew.

What a site keeps in memory only, secrets included, lies here in one file of a private folder that is gone with the
study. Whoever reads it takes the masks off: nothing outside simulations/ may do this.
"""

import json
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from silosynth.common.secagg.messages import Head
from silosynth.common.secagg.rounds import Round
from silosynth.common.secagg.site import Joined, Pad, Seat, Secrets, SiteSession


class Stored(MutableMapping[str, SiteSession]):
    """One site's sessions by study, for client.session.Sessions: at most one, of the study of `seat`, in a file."""

    def __init__(self, path: Path, seat: Seat) -> None:
        self._path = path
        self._seat = seat
        self._study = seat.agreement.study.hex()

    def make(self, seat: Seat, secrets: Secrets, number: int, head: Head, named: tuple[Head, ...]) -> SiteSession:
        """A session that is stored from now on."""
        return _StoredSession(seat, secrets, number, head, named, self._path)

    def __getitem__(self, study: str) -> SiteSession:
        """The session of a study, made again. Raises KeyError."""
        if not self._path.exists() or study != self._study:
            raise KeyError(study)
        return _read(self._path, self._seat)

    def __setitem__(self, study: str, session: SiteSession) -> None:
        """It stores itself."""

    def __delitem__(self, study: str) -> None:
        """Forget it."""
        self[study].close()

    def __iter__(self) -> Iterator[str]:
        """The study of `seat`, if it has a session."""
        return iter([self._study] if self._path.exists() else [])

    def __len__(self) -> int:
        """0 or 1."""
        return int(self._path.exists())


class _StoredSession(SiteSession):
    """A session that writes down whatever it is told, so that it can be made again."""

    def __init__(  # as SiteSession, and where
        self, seat: Seat, secrets: Secrets, number: int, head: Head, named: tuple[Head, ...], path: Path
    ) -> None:
        super().__init__(seat, secrets, number, head, named)
        self._path = path
        if not path.exists():
            hidden = [value.hex() for value in (secrets.key, secrets.nonce, secrets.noise)]
            heads = {"head": _plain(head), "named": [_plain(one) for one in named]}
            self._write({"secrets": hidden, "number": number} | heads)

    def join(self, transcript: bytes, known: Mapping[int, Head]) -> Joined:
        """See SiteSession."""
        joined = super().join(transcript, known)
        heads = {str(site): _plain(head) for site, head in known.items()}
        self._write({"transcript": transcript.hex(), "known": heads})
        return joined

    def confirm(self, confirmation: bytes, is_ancestor: Callable[[Head], bool]) -> Mapping[int, Head]:
        """See SiteSession."""
        known = super().confirm(confirmation, is_ancestor)
        self._write({"confirmation": confirmation.hex()})
        return known

    def begin(self, asked: Round) -> Pad:
        """See SiteSession."""
        pad = super().begin(asked)
        self._write({"last": self._last, "retries": self._retries})
        return pad

    def go_on(self, last: tuple[int, int], retries: int) -> None:
        """Be where the session was: this round was begun last, and so many asked again."""
        self._last, self._retries = last, retries

    def close(self) -> None:
        """See SiteSession."""
        super().close()
        self._path.unlink(missing_ok=True)

    def _write(self, told: dict[str, Any]) -> None:
        known = json.loads(self._path.read_bytes()) if self._path.exists() else {}
        self._path.write_text(json.dumps(known | told), encoding="utf-8")


def _read(path: Path, seat: Seat) -> SiteSession:
    """The session in a file, told all it was told before."""
    told = json.loads(path.read_bytes())
    named = tuple(map(_head, told["named"]))
    secrets = Secrets(*map(bytes.fromhex, told["secrets"]))
    session = _StoredSession(seat, secrets, told["number"], _head(told["head"]), named, path)
    if "transcript" in told:
        session.join(bytes.fromhex(told["transcript"]), {int(site): _head(raw) for site, raw in told["known"].items()})
    if "confirmation" in told:
        session.confirm(bytes.fromhex(told["confirmation"]), lambda _head: True)  # as it was found to be
    if "last" in told:
        session.go_on((told["last"][0], told["last"][1]), told["retries"])
    return session


def _plain(head: Head) -> list[Any]:
    return [head.count, head.hash.hex()]


def _head(raw: list[Any]) -> Head:
    return Head(raw[0], bytes.fromhex(raw[1]))
