"""`python -m lab [short|full] [--out DIR] [--image IMAGE [--contained SITE ...]]`, with deploy/ on Python's path.

Raises a lab, shows what it shows, ends it.
"""

import argparse
import resource
import signal
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from lab.campaign import campaign
from lab.commands import CommandFailed
from lab.contained import why_no_image
from lab.hosts import why_not
from lab.rows import FILED
from lab.scene import How
from lab.services import NotReady

_FULL_STEPS = 200
_FULL_KILLS = 20


def main() -> int:
    """Exit code 0 where all holds, 1 where something does not, 2 where no lab can be had."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    parser.add_argument("length", nargs="?", choices=["short", "full"], default="short")
    parser.add_argument("--out", type=Path, help="a new folder for everything that is made (default: a temporary one)")
    parser.add_argument("--image", default="", help="run sites in containers of this image of deploy/build.sh's")
    parser.add_argument("--contained", action="append", choices=FILED, help=f"which sites (default: {FILED[0]})")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # by way of every `finally`
    if given.contained and not given.image:
        parser.error("--contained needs --image")
    if reason := why_not() or (why_no_image(given.image) if given.image else ""):
        print(f"error: {reason}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="silolab-") as temporary:
        how = How((given.out or Path(temporary) / "lab").resolve(), image=given.image)
        if given.image:
            how = replace(how, contained=frozenset(given.contained or FILED[:1]))
        if given.length == "full":
            how = replace(how, steps=(how.steps[0], _FULL_STEPS), kills=_FULL_KILLS, patience_s=3600.0)
        try:
            checks = campaign(how, lambda line: print(line, flush=True))
        except (CommandFailed, NotReady) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    whose = "processes outside of containers" if given.image else "all processes"
    print(f"processor time of {whose}: {used.ru_utime + used.ru_stime:.0f} s")
    failed = [check for check in checks if not check.holds]
    print(f"{len(checks) - len(failed)} of {len(checks)} checks hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
