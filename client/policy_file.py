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
from typing import Any, Final

import tomli_w

from silosynth.client.policy import Cap, Caps, Policy
from silosynth.common.accounting import SLACK
from silosynth.common.errors import InvalidInput, InvalidStudy, NotPossible
from silosynth.common.toml_read import TableReader

FORMAT: Final = 1

_MANY: Final = 10**9
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


def read_policy(text: str, source: str) -> Policy:
    """The policy in a TOML text; `source` names it in errors. Raises InvalidInput: file, table, key and cure."""
    try:
        return _policy(source, tomllib.loads(text))
    except tomllib.TOMLDecodeError as error:
        raise InvalidInput(f"{source}: not TOML: {error}. Mend the line it names") from error
    except InvalidStudy as error:
        raise InvalidInput(str(error)) from error


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


def _policy(source: str, raw: dict[str, Any]) -> Policy:
    top = TableReader(source, "top level", raw)
    if top.whole("format", 1, _MANY, FORMAT) != FORMAT:
        raise top.wrong("format", f"this version reads format {FORMAT} only")
    studies = top.words("studies")
    if not all(_DIGEST.fullmatch(study) for study in studies):
        raise top.wrong("studies", "must hold digests of 64 hex digits, as `silosynth study show` prints them")
    caps = TableReader(source, "[caps]", top.take("caps") if top.has("caps") else {})
    policy = Policy(
        studies=frozenset(studies),
        engines=frozenset(top.words("engines")),
        least_sites=top.whole("least_sites", 1, _MANY, Policy.least_sites),
        least_floor=top.whole("least_floor", 1, _MANY, Policy.least_floor),
        lock_out_after=top.whole("lock_out_after", 1, _MANY, Policy.lock_out_after),
        study_caps=_caps(source, "caps.study", caps.take("study")),
        lifetime_caps=_caps(source, "caps.lifetime", caps.take("lifetime")),
    )
    caps.done()
    top.done()
    return policy


def _caps(source: str, where: str, raw: object) -> Caps:
    table = TableReader(source, f"[{where}]", {} if raw is None else raw)
    both = [_cap(source, f"{where}.{view}", table.take(view)) for view in ("aggregate", "local")]
    table.done()
    return Caps(*both)


def _cap(source: str, where: str, raw: object) -> Cap | None:
    if raw is None:
        return None
    table = TableReader(source, f"[{where}]", raw)
    epsilon, delta = table.number("epsilon", 0.0), table.number("delta", 0.0)
    if not 0 < epsilon < math.inf:
        raise table.wrong("epsilon", "must be a positive, finite number, such as 1.0")
    if not SLACK < delta < 1:
        raise table.wrong("delta", "must lie above 2^-40 and below 1, such as 1e-5")
    table.done()
    return Cap(epsilon, delta)


def _plain(caps: Caps) -> dict[str, dict[str, float]]:
    named = {"aggregate": caps.aggregate, "local": caps.local}
    return {view: {"epsilon": cap.epsilon, "delta": cap.delta} for view, cap in named.items() if cap}
