"""Four hosts on this machine: two studies from `init` to the certificate, and everything that must hold of them."""

import importlib.util

import pytest
from lab_made import needs_lab

from lab.campaign import campaign
from lab.scene import How

needs_rows = pytest.mark.skipif(importlib.util.find_spec("statsmodels") is None, reason="needs the extra `demo`")
pytestmark = [pytest.mark.lab, needs_lab, needs_rows]


def all_hold(how):
    checks = campaign(how, print)
    assert len(checks) > 40
    assert [str(check) for check in checks if not check.holds] == []


@pytest.mark.timeout(600)
def test_two_studies_between_four_hosts_and_all_that_must_hold_of_them(tmp_path):
    all_hold(How(tmp_path / "lab"))


@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_study_completes_though_each_process_is_killed_twenty_times(tmp_path):
    all_hold(How(tmp_path / "lab", steps=(3, 200), kills=20, patience_s=2400.0))
