"""Whether a site is ready: `doctor`."""

import json
from dataclasses import asdict
from typing import Annotated

import typer

from silosynth.simulations.cli_site_options import HERE, AsJson, Home


def doctor(
    home: Home = HERE,
    offline: Annotated[bool, typer.Option("--offline", help="Do not try to reach the coordinator.")] = False,
    as_json: AsJson = False,
) -> None:
    """Keys, certificates, clock, network, policy, budget, disk, ledger: a line each. Exit code 1 where one fails."""
    import logging

    from silosynth.client.doctor import examine, utc_now
    from silosynth.client.findings import Level
    from silosynth.client.home import SiteHome

    logger = logging.getLogger("silosynth")
    before, found = logger.level, []
    logger.setLevel(logging.CRITICAL)  # what others log about is a finding here
    try:
        for finding in examine(SiteHome(home), utc_now(), network=not offline):
            found.append(finding)
            if not as_json:
                print(finding)
    finally:
        logger.setLevel(before)
    if as_json:
        print(json.dumps({"findings": [asdict(finding) for finding in found]}))
    if any(finding.level is Level.FAIL for finding in found):
        raise typer.Exit(1)
