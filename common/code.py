"""What a site's software is, as one digest: of the text of everything that runs there and can touch rows.

A study pins it, and a site takes part only if it has this software installed. Either side computes it from its own
installation, so nobody has to believe anybody's word; whether the text deserves trust is for people to read.

It finds software of another version, or changed by mistake, and binds what a person approved to one text. It is no
proof against somebody who may write into the installation: whoever can do that can change the check as well. It does
not cover other packages: versions of those are pinned by the lock file of the deployment.
"""

import hashlib
from collections.abc import Iterable
from typing import Final

from silosynth.common.framing import framed

PACKAGES: Final = ("client", "common")
"""The packages of silosynth whose text counts."""

SUFFIX: Final = ".py"
"""The files of them that count."""

_LABEL: Final = b"silosynth/code/1"


def digest(files: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256, in hex, of files by name, such as ("client/site.py", b"..."), in whatever order they come.

    Raises ValueError for two files of one name, or none at all.
    """
    named = dict(pairs := list(files))
    if not named or len(named) != len(pairs):
        raise ValueError("a digest of code needs files, each with a name of its own")
    parts = (part for name in sorted(named) for part in (name.encode(), named[name]))
    return hashlib.sha256(framed(_LABEL, *parts)).hexdigest()
