"""`silosynth verify`: whether a certificate holds. It needs this package and what was published, nothing else.

Exit codes: 0 everything holds; 1 something does not, and it says what; 2 there is no certificate to look at.
"""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from silosynth.common.verify import Verified

DOES_NOT_HOLD = 1

Published = Annotated[
    Path, typer.Argument(help="Folder that a study was published in, its certificate.json, or its .zip.")
]
Explain = Annotated[bool, typer.Option("--explain", help="Say in words what is proved by it, and what is not.")]
Study = Annotated[
    str | None, typer.Option(help="Digest of the study, as a site that took part tells it: it binds the sites' keys.")
]
AsJson = Annotated[bool, typer.Option("--json", help="JSON on standard output.")]


def verify(published: Published, study: Study = None, explain: Explain = False, as_json: AsJson = False) -> None:
    """Recompute every epsilon, check every signature and every file's hash; name the first thing that does not hold."""
    from silosynth.common.errors import NotCertified
    from silosynth.common.verify_words import headline
    from silosynth.server.bundle import verified

    try:
        found = verified(published, study)
    except NotCertified as failed:
        said = {"holds": False, "failed": failed.check, "cause": str(failed)}
        print(json.dumps(said) if as_json else f"DOES NOT HOLD: {failed.check}: {failed}")
        raise typer.Exit(DOES_NOT_HOLD) from None
    if as_json:
        print(json.dumps(_as_json(found)))
        return
    print("\n".join((*headline(found), *(_explained(found) if explain else ()))))


def _explained(found: "Verified") -> list[str]:
    from silosynth.common.verify_words import fingerprints, not_proved, proved

    keys = [f"  {name!a}: {shown or 'no key'}" for name, shown in fingerprints(found.study).items()]
    return [
        *("", "Proved:", *(f"- {line}" for line in proved(found))),
        *("", "Not proved:", *(f"- {line}" for line in not_proved(found))),
        *("", "Fingerprints of the sites' keys, to be compared with each institution:", *keys),
    ]


def _as_json(found: "Verified") -> dict[str, Any]:
    from silosynth.common.verify_words import fingerprints, not_proved, proved

    return {
        "holds": True,
        "promises_nothing": found.promises_nothing,
        "study": found.study.digest,
        "delta": found.study.budget.delta,
        "epsilon": {"aggregate": str(found.epsilon.aggregate), "local": str(found.epsilon.local)},
        "fingerprints": fingerprints(found.study),
        "ledgers": {one.site: {"number": one.head.count, "hash": one.head.hash.hex()} for one in found.receipts},
        "proved": proved(found),
        "not_proved": not_proved(found),
    }
