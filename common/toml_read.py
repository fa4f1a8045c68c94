"""Strict reading of one TOML table: every key is asked for by name and type, and what nobody asked for is an error."""

import difflib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from silosynth.common.errors import InvalidStudy


class TableReader:
    """The keys of one table, taken one by one; `done` refuses the rest.

    Raises InvalidStudy, naming source, table, key and cure, wherever a value is not what is asked for.
    """

    def __init__(self, source: str, where: str, values: object) -> None:
        self._source, self._where = source, where
        if not isinstance(values, Mapping):
            raise InvalidStudy(f"{source}: {where} must be a table; see the study file's format in the README")
        self._values: dict[str, Any] = dict(values)
        self._asked: list[str] = []

    def wrong(self, key: str, what: str) -> InvalidStudy:
        """The error for one key."""
        return InvalidStudy(f"{self._source}: {self._where} key {key!r}: {what}")

    def has(self, key: str) -> bool:
        """Whether the key is there and not taken yet."""
        return key in self._values

    def take(self, key: str) -> Any:
        """The raw value, None where the key is absent."""
        self._asked.append(key)
        return self._values.pop(key, None)

    def text(self, key: str, default: str | None = None) -> str:
        """A text; required where there is no default."""
        value = self.take(key)
        if value is None and default is not None:
            return default
        if value is None:
            raise self.wrong(key, "is missing; add it")
        if not isinstance(value, str):
            raise self.wrong(key, 'must be a text in quotes, such as "example"')
        return value

    def optional_text(self, key: str) -> str | None:
        """A text that is not empty, or None."""
        if self.has(key):
            return self.text(key) or None
        self._asked.append(key)
        return None

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number within [low, high]; required where there is no default."""
        value = self.optional_whole(key, low, high)
        if value is None and default is None:
            raise self.wrong(key, "is missing; add it")
        return default if value is None and default is not None else value or 0

    def optional_whole(self, key: str, low: int, high: int) -> int | None:
        """A whole number within [low, high], or None where the key is absent."""
        value = self.take(key)
        if value is not None and (type(value) is not int or not low <= value <= high):  # a bool is an int to isinstance
            raise self.wrong(key, f"must be a whole number between {low} and {high}")
        return value

    def flag(self, key: str, *, default: bool) -> bool:
        """True or false."""
        value = self.take(key)
        if value is not None and type(value) is not bool:
            raise self.wrong(key, "must be true or false, without quotes")
        return default if value is None else value

    def number(self, key: str, default: float) -> float:
        """A number."""
        value = self.take(key)
        return default if value is None else self.as_number(key, value)

    def as_number(self, key: str, value: Any) -> float:
        """A raw value of `key` as a number."""
        if type(value) not in {int, float}:
            raise self.wrong(key, "must be a number, without quotes")
        return float(value)

    def words(self, key: str) -> tuple[str, ...]:
        """A list of texts; whole numbers stand for themselves as text."""
        value = self.take(key)
        if value is None:
            return ()
        if not isinstance(value, list) or not all(type(item) in {str, int} for item in value):
            raise self.wrong(key, 'must be a list of texts, such as ["A", "B"]')
        return tuple(str(item) for item in value)

    def as_moment(self, key: str, value: Any, *, days: bool) -> float:
        """A raw value of `key` as days, or seconds, since 1970-01-01 (UTC where no zone is given)."""
        form = "YYYY-MM-DD" if days else "YYYY-MM-DDTHH:MM:SS"
        try:
            moment = datetime.fromisoformat(value) if isinstance(value, str) else value
        except ValueError:
            raise self.wrong(key, f'must be written as "{form}"') from None
        if isinstance(moment, date) and not isinstance(moment, datetime):
            moment = datetime(moment.year, moment.month, moment.day, tzinfo=UTC)
        if not isinstance(moment, datetime):
            raise self.wrong(key, f'must be written as "{form}"')
        moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        since = moment - datetime(1970, 1, 1, tzinfo=UTC)
        if since.microseconds or (days and since.seconds):
            raise self.wrong(key, f"must be a whole {'day' if days else 'second'}, as {form}")
        return float(since.days if days else since.days * 86400 + since.seconds)

    def rest(self) -> dict[str, Any]:
        """All keys that were not taken, for tables whose keys are names."""
        values, self._values = self._values, {}
        return values

    def renamed(self, where: str) -> "TableReader":
        """The remaining keys under a better name for the table, once it is known."""
        return TableReader(self._source, where, self.rest())

    def done(self) -> None:
        """Raise InvalidStudy for a key that nobody asked for."""
        for key in self._values:
            near = difflib.get_close_matches(key, self._asked, n=1)
            cure = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(sorted(set(self._asked)))}"
            raise self.wrong(key, f"is not known; {cure}")
