"""The lab again, with the agents and relays of two of its sites in containers of the image that is built here."""

import importlib.util
import os
import subprocess

import pytest
from image_made import BASE, built, podman, skip_unless_it_can_be_built
from lab_made import needs_lab

from lab.campaign import campaign
from lab.contained import sweep, why_no_image
from lab.scene import How

needs_rows = pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="needs the extra `demo`")
pytestmark = [pytest.mark.lab, pytest.mark.slow, pytest.mark.timeout(2400), needs_lab, needs_rows]


def test_sites_in_containers_of_the_image_answer_like_any_other_and_are_hardened(tmp_path):
    skip_unless_it_can_be_built()
    tag, contained = f"silosynth-test-lab-{os.getpid()}", frozenset({"north", "south"})
    with built(tag, cache=True):
        assert why_no_image(tag) == ""
        checks = campaign(How(tmp_path / "lab", image=tag, contained=contained), print)
    assert [str(check) for check in checks if not check.holds] == []
    for name in contained:
        assert sum("hardened" in check.what and name in check.what for check in checks) == 2
        assert sum("from inside it" in check.what and name in check.what for check in checks) == 2
    assert "there is no image" in why_no_image(tag)


def test_containers_of_a_lab_that_was_killed_are_swept_away():
    skip_unless_it_can_be_built()
    with subprocess.Popen(["true"]) as dead:
        dead.wait()
    names = {pid: f"silolab-{pid}-north-agent" for pid in (dead.pid, os.getpid())}
    try:
        for name in names.values():
            made = podman("create", "--name", name, "--network", "none", BASE, "true")
            assert made.returncode == 0, made.stderr
        sweep()
        left = {pid for pid, name in names.items() if podman("container", "exists", name).returncode == 0}
        assert left == {os.getpid()}
    finally:
        for name in names.values():
            podman("rm", "--force", "--ignore", name)
