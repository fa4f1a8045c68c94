"""`python -m lab [short|full] [--out DIR]`, with deploy/ on Python's path: raise a lab, show what it shows, end it."""

import argparse
import resource
import signal
import sys
import tempfile
from pathlib import Path

from lab.campaign import campaign
from lab.hosts import why_not
from lab.parties import CommandFailed
from lab.scene import How
from lab.services import NotReady

_FULL_STEPS = 200
_FULL_KILLS = 20


def main() -> int:
    """Exit code 0 where all holds, 1 where something does not, 2 where no lab can be had."""
    parser = argparse.ArgumentParser(prog="lab", description=__doc__)
    parser.add_argument("length", nargs="?", choices=["short", "full"], default="short")
    parser.add_argument("--out", type=Path, help="a new folder for everything that is made (default: a temporary one)")
    given = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))  # by way of every `finally`
    if reason := why_not():
        print(f"error: {reason}", file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory(prefix="silolab-") as temporary:
        how = How(given.out or Path(temporary) / "lab")
        if given.length == "full":
            how = How(how.out, steps=(how.steps[0], _FULL_STEPS), kills=_FULL_KILLS, patience_s=3600.0)
        try:
            checks = campaign(how, lambda line: print(line, flush=True))
        except (CommandFailed, NotReady) as error:
            print(f"error: {error}", file=sys.stderr)
            return 1
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    print(f"processor time of all processes: {used.ru_utime + used.ru_stime:.0f} s")
    failed = [check for check in checks if not check.holds]
    print(f"{len(checks) - len(failed)} of {len(checks)} checks hold")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
