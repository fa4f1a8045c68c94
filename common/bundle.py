"""The bundle of code that Flower insists on for every run. Ours is empty but for a line that refuses to be imported.

Neither side unpacks or imports it: both run what is installed and pinned by digest. It is one and the same for every
study, so a relay can tell any other one apart by its hash.
"""

import hashlib
import io
import zipfile
from functools import cache
from typing import Final

_MODULE: Final = 'raise ImportError("silosynth never runs code that came over the network")\n'
_PROJECT: Final = """\
[project]
name = "relay"
version = "1.0.0"
description = "Carries messages of silosynth; holds no code."
license = "Apache-2.0"

[tool.flwr.app]
publisher = "silosynth"

[tool.flwr.app.components]
serverapp = "nothing:app"
clientapp = "nothing:app"

[tool.flwr.app.config]
"""
_EPOCH: Final = (1980, 1, 1, 0, 0, 0)


@cache
def bundle() -> bytes:
    """The bundle: a zip archive, the same bytes everywhere."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, text in (("nothing.py", _MODULE), ("pyproject.toml", _PROJECT)):
            file.writestr(zipfile.ZipInfo(name, _EPOCH), text)
    return archive.getvalue()


def bundle_hash() -> str:
    """Its SHA-256 in hex: what Flower calls it."""
    return hashlib.sha256(bundle()).hexdigest()
