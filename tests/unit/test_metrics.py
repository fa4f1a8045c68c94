"""Figures of a coordinator: from its files, on loopback, in a form that Prometheus reads."""

import urllib.request

import pytest
from coordinator_made import STUDY, coordinator

from silosynth.common.errors import NotPossible
from silosynth.server import metrics
from silosynth.server.enrol import node_key
from silosynth.server.listeners import bound
from silosynth.server.studies import State, Status, Teller, propose

pytest.importorskip("prometheus_client")


def free_port():
    with bound("127.0.0.1", 0) as one:
        return one.getsockname()[1]


def test_sites_and_studies_are_shown(tmp_path):
    home, _, requests = coordinator(tmp_path, "north", "south", "west")
    (tmp_path / "heart.toml").write_text(STUDY)
    folder, study = propose(home, tmp_path / "heart.toml", ("north", "south", "west"))
    Teller(
        folder,
        Status(study.digest, State.STOPPED, 0, 1.0, releases=2, of=study.releases, epsilon=0.5, epsilon_local=3.0),
    )
    (home.studies / "broken").mkdir()
    (home.studies / "broken" / "study.toml").write_text("x")
    port = free_port()
    end = metrics.serve(home, port, lambda: {node_key(requests["south"])})
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as answer:
            lines = answer.read().decode().splitlines()
        with pytest.raises(NotPossible, match="cannot listen"):
            metrics.serve(home, port, set)
    finally:
        end()
    assert 'silosynth_site_connected{site="north"} 0.0' in lines
    assert 'silosynth_site_connected{site="south"} 1.0' in lines
    assert 'silosynth_study_sums{study="heart"} 2.0' in lines
    assert f'silosynth_study_planned_sums{{study="heart"}} {float(study.releases)}' in lines
    assert 'silosynth_study_state{state="stopped",study="heart"} 1.0' in lines
    assert f'silosynth_study_budget_epsilon{{study="heart"}} {study.budget.epsilon}' in lines
    assert 'silosynth_study_spent_epsilon{against="totals",study="heart"} 0.5' in lines
    assert 'silosynth_study_spent_epsilon{against="all others",study="heart"} 3.0' in lines
    assert not [line for line in lines if "broken" in line]
    requests_of_home = home.request("north")
    requests_of_home.write_text("x")
    assert list(metrics.Collector(home, set).collect())
