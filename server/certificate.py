"""certificate.json as a coordinator writes it: what is claimed, hashes of what is published, the sites' receipts."""

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from typing import Any

from silosynth.common.certificate import Asked, Noise, Prices, claims, performed, prices
from silosynth.common.receipt import Signed
from silosynth.common.study import Study

__all__ = ["Asked", "Noise", "Prices", "certificate", "completed", "performed", "prices"]

Receipts = Mapping[str, Signed]
"""What each site that answered said at the end, by its name."""


def certificate(study: Study, releases: int, noise: Noise, asked: Sequence[Asked] = ()) -> dict[str, Any]:
    """What can be said before anything is published: the artefacts carry it, and cannot hold their own hashes."""
    code = f"silosynth {importlib.metadata.version('silosynth')}"
    return claims(study, releases, noise, asked) | {"code": code}


def completed(claimed: Mapping[str, Any], artefacts: Mapping[str, str], receipts: Receipts) -> dict[str, Any]:
    """The whole certificate. `artefacts`: SHA-256 of each published file, in hex, by its name.

    Which sites sign, and under which keys, stands in study.toml, whose digest is "study".
    """
    said = {
        name: {"receipt": json.loads(one.body), "signature": one.signature.hex() or None}
        for name, one in sorted(receipts.items())
    }
    return {**claimed, "artefacts": dict(sorted(artefacts.items())), "receipts": said}
