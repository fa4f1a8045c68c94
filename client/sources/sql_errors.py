"""Why a database says no, in words for the person who runs a site.

A database's own words may quote a cell ('invalid input syntax for type integer: "..."') and those of a failed
connection say who connects to what. None of them is passed on: they choose among the causes here, and at most a word
that stands in the query file itself is repeated.
"""

import re
from collections.abc import Callable, Sequence
from typing import Final

_QUOTED: Final = re.compile(r'"([^"]+)"|: ([\w.]+)$')

_WRITES: Final = "the query would write, and the session may only read; use one SELECT (a site needs no more)"
_TIME: Final = (
    "the database took longer than timeout_s, or somebody cancelled the query; make it simpler, or wait longer"
)
_LOST: Final = "the connection broke while rows were read; look at the server, then try again"
_CREDENTIALS: Final = "the database does not accept the user or the password of the URL; correct them there"
_FILE: Final = "the database file cannot be opened; check its path in the URL and its permissions"
_LOCKED: Final = "another program has locked the database file; try again when it has finished"
_DATES: Final = "a date or time lies outside the years 1 to 9999 ('infinity'?); make it NULL in the query, with NULLIF"
_TABLE: Final = "the query names a table that is not there; check its name and schema"
_COLUMN: Final = "the query names a column that is not there; check its name (names with capitals need quotes)"
_SYNTAX: Final = "the query is not one statement that the database understands; try it in the database's own client"

_BY_STATE: Final = (
    ("25006", _WRITES),
    ("25001", _WRITES),
    ("0A000", _WRITES),
    ("42P01", _TABLE),
    ("3F000", _TABLE),
    ("42703", _COLUMN),
    ("42501", "the database user may not read a table of the query; GRANT SELECT on it, and nothing else"),
    ("42", _SYNTAX),
    ("57014", _TIME),
    ("22", "the query fails on a row that it reads, perhaps on a cast; try it in the database's own client"),
    ("28", _CREDENTIALS),
    ("3D", "the URL names a database that is not on this server; correct it there"),
    ("53", "the server has no connection, memory or disk left for this; try again later"),
    ("08", _LOST),
    ("57", _LOST),
    ("SQLITE_READONLY", _WRITES),
    ("SQLITE_AUTH", _WRITES),
    ("SQLITE_INTERRUPT", _TIME),
    ("SQLITE_CANTOPEN", _FILE),
    ("SQLITE_NOTADB", "the file that the URL names is not an SQLite database; correct the path"),
    ("SQLITE_CORRUPT", "the database file is damaged; copy it again"),
    ("SQLITE_BUSY", _LOCKED),
    ("SQLITE_LOCKED", _LOCKED),
)
"""Causes by the beginning of an SQLSTATE (PostgreSQL) or of an error's name (SQLite); the first that fits."""

_BY_WORDS: Final = (
    ("authentication failed", _CREDENTIALS),
    ("no password supplied", _CREDENTIALS),
    ("role ", _CREDENTIALS),
    ("pg_hba.conf", "the server's pg_hba.conf does not let this host or user in; ask for a line there"),
    ("certificate", "the server's certificate is not accepted; look at sslmode and sslrootcert in the URL"),
    ("ssl", "the connection cannot be encrypted as the URL asks; look at sslmode in the URL"),
    ("resolve", "the server's name is not known here; check the host in the URL"),
    ("name or service", "the server's name is not known here; check the host in the URL"),
    ("translate host name", "the server's name is not known here; check the host in the URL"),
    ("refused", "nobody answers at the URL's host and port; check both, and that the server runs"),
    ("no such file", "nobody answers at the URL's socket; check it, and that the server runs"),
    ("server closed", _LOST),
    ("connection is closed", _LOST),
    ("connection is lost", _LOST),
    ("timeout", "the server does not answer; check host and port in the URL, and the firewall"),
    ("database ", "the URL names a database that is not on this server; correct it there"),
    ("date too", _DATES),
    ("timestamp too", _DATES),
    ("no such table", _TABLE),
    ("no such column", _COLUMN),
    ("syntax error", _SYNTAX),
    ("one statement", _SYNTAX),
    ("incomplete input", _SYNTAX),
)
"""Causes by what an error's text holds, in lower case; for what comes without a code."""

_UNKNOWN: Final = "the database refuses, for a reason not known here; try URL and query in the database's own client"


def cause_of(error: BaseException, query: str) -> str:
    """What an error of a driver means and what to do, with nothing of its own text but a word of `query`."""
    first = (str(error).splitlines() or [""])[0]
    code = str(getattr(error, "sqlstate", None) or getattr(error, "sqlite_errorname", None) or "")
    cause = _first(_BY_STATE, code.startswith) if code else None
    cause = cause or _first(_BY_WORDS, lambda words: words in str(error).lower()) or _UNKNOWN
    named = [word for pair in _QUOTED.findall(first) for word in pair if word and word in query]
    near = f" (about {named[0]!r})" if named else ""
    return f"{cause}{near}" + (f" [{code}]" if code else "")


def _first(causes: Sequence[tuple[str, str]], fits: Callable[[str], bool]) -> str | None:
    return next((cause for mark, cause in causes if fits(mark)), None)
