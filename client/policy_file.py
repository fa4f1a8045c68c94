"""A site's policy as a TOML file, read strictly. The empty file allows nothing.

format = 1
studies = ["<digest of a study, 64 hex digits>"]      # one by one, by the digest that a person has read
engines = ["autoregressive"]
least_sites = 3                                       # fewest sites on a study's roster
least_floor = 2                                       # fewest honest sites that share the noise of a sum
lock_out_after = 100                                  # refused requests of one study, then it is locked
[caps.study.aggregate]                                # the most that one study may cost a person, against whoever
epsilon = 1.0                                         # sees only totals,
delta = 1e-5
[caps.study.local]                                    # and against all others in collusion
epsilon = 4.0
delta = 1e-5
[caps.lifetime.aggregate]                             # the most that all studies together may, for ever
epsilon = 3.0
delta = 1e-5
[caps.lifetime.local]
epsilon = 12.0
delta = 1e-5
"""

import math
import re
import tomllib
from collections.abc import Mapping
from typing import Any, Final

import tomli_w

from silosynth.client.policy import Cap, Caps, Policy
from silosynth.common.accounting import SLACK
from silosynth.common.errors import InvalidInput, NotPossible

FORMAT: Final = 1

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_NAME: Final = re.compile(r"[a-z][a-z0-9_-]*")


def read_policy(text: str, source: str) -> Policy:
    """The policy in a TOML text; `source` names it in errors. Raises InvalidInput: file, key, what was expected."""
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{source}: not TOML: {error}. Mend the line it names") from error
    top = _Table(source, "", raw)
    if top.whole("format", FORMAT) != FORMAT:
        raise top.wrong("format", f"{FORMAT}, the only format this version knows")
    caps = top.table("caps")
    policy = Policy(
        studies=top.words(
            "studies", _DIGEST, "a list of digests of 64 hex digits, as `silosynth study show` prints them"
        ),
        engines=top.words("engines", _NAME, 'a list of names, e.g. engines = ["autoregressive"]'),
        least_sites=top.whole("least_sites", Policy.least_sites),
        least_floor=top.whole("least_floor", Policy.least_floor),
        lock_out_after=top.whole("lock_out_after", Policy.lock_out_after),
        study_caps=_caps(caps.table("study")),
        lifetime_caps=_caps(caps.table("lifetime")),
    )
    caps.end()
    top.end()
    return policy


def write_policy(policy: Policy) -> str:
    """The TOML text that `read_policy` reads back. Raises NotPossible for one that allows releases without noise."""
    if policy.allow_no_privacy:
        raise NotPossible("a policy file cannot allow releases without noise: only a simulation can")
    return tomli_w.dumps(
        {
            "format": FORMAT,
            "studies": sorted(policy.studies),
            "engines": sorted(policy.engines),
            "least_sites": policy.least_sites,
            "least_floor": policy.least_floor,
            "lock_out_after": policy.lock_out_after,
            "caps": {"study": _plain(policy.study_caps), "lifetime": _plain(policy.lifetime_caps)},
        }
    )


def _plain(caps: Caps) -> dict[str, dict[str, float]]:
    named = {"aggregate": caps.aggregate, "local": caps.local}
    return {view: {"epsilon": cap.epsilon, "delta": cap.delta} for view, cap in named.items() if cap}


def _caps(table: "_Table") -> Caps:
    caps = Caps(_cap(table.optional("aggregate")), _cap(table.optional("local")))
    table.end()
    return caps


def _cap(table: "_Table | None") -> Cap | None:
    if table is None:
        return None
    epsilon = table.number("epsilon", 0.0, math.inf, "a positive, finite number, e.g. epsilon = 1.0")
    delta = table.number("delta", SLACK, 1.0, "a number above 2^-40 and below 1, e.g. delta = 1e-5")
    table.end()
    return Cap(epsilon, delta)


class _Table:
    """One table of the file. What nobody took is an error, so a misspelt cap cannot be a missing one."""

    def __init__(self, source: str, name: str, raw: Mapping[str, Any]) -> None:
        self._source, self._name, self._left = source, name, dict(raw)

    def wrong(self, key: str, expected: str) -> InvalidInput:
        """The error for a key."""
        return InvalidInput(f"{self._source}: {self._path(key)}: expected {expected}")

    def whole(self, key: str, default: int) -> int:
        """A whole number from 1 on."""
        value = self._left.pop(key, default)
        if type(value) is not int or value < 1:
            raise self.wrong(key, f"a whole number from 1 on, e.g. {key} = {default}")
        return value

    def number(self, key: str, above: float, below: float, expected: str) -> float:
        """A number strictly between two; there is no default."""
        value = self._left.pop(key, None)
        if type(value) not in {int, float} or not above < value < below:
            raise self.wrong(key, expected)
        return float(value)

    def words(self, key: str, shape: re.Pattern[str], expected: str) -> frozenset[str]:
        """A set of words of one shape, empty by default."""
        value = self._left.pop(key, [])
        if not isinstance(value, list) or not all(isinstance(word, str) and shape.fullmatch(word) for word in value):
            raise self.wrong(key, expected)
        return frozenset(value)

    def optional(self, key: str) -> "_Table | None":
        """A table within this one, None where it is missing."""
        return self.table(key) if key in self._left else None

    def table(self, key: str) -> "_Table":
        """A table within this one, empty where it is missing."""
        value = self._left.pop(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, f"a table, [{self._path(key)}]")
        return _Table(self._source, self._path(key), value)

    def end(self) -> None:
        """Raise InvalidInput for what is left."""
        for key in self._left:
            raise InvalidInput(f"{self._source}: {self._path(key)}: unknown key. Remove it or mend its spelling")

    def _path(self, key: str) -> str:
        return f"{self._name}.{key}" if self._name else key
