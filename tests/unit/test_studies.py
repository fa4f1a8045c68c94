"""Proposals, and where a study is: resolved from what was enrolled, honest about a process that died."""

import json
import math
from dataclasses import replace

import pytest
from coordinator_made import STUDY, coordinator

from silosynth.common.errors import InvalidInput, Tampered
from silosynth.common.study_file import read_study
from silosynth.server.home import held
from silosynth.server.installed import code_digest
from silosynth.server.studies import State, Status, StudyFolder, Teller, folder_of, folders, propose

NAMES = ("south", "north", "west")


@pytest.fixture
def made(tmp_path):
    home, _, requests = coordinator(tmp_path, "north", "south", "west")
    file = tmp_path / "heart.toml"
    file.write_text(STUDY)
    return home, requests, file


def test_a_proposal_fixes_sites_keys_plan_and_software(made):
    home, requests, file = made
    folder, study = propose(home, file, NAMES)
    assert (folder.name, folder.path) == ("heart", home.studies / "heart")
    assert [member.name for member in study.roster] == list(NAMES)
    for member in study.roster:
        request = requests[member.name]
        expected = (request.capacity, request.agent, request.officer)
        assert (member.capacity, member.key, member.officer) == expected
    assert study.masked
    assert study.releases > 0
    assert study.code == code_digest()
    assert read_study(folder.file.read_text(), source="x").digest == study.digest == folder.study().digest
    assert folder.status().state is State.PROPOSED
    assert propose(home, file, NAMES)[1].digest == study.digest  # nothing was launched yet: it may be proposed again


def changed(before, after):
    return STUDY.replace(before, after)


@pytest.mark.parametrize(
    ("text", "names", "message"),
    [
        (STUDY, ("north", "south", "west", "east"), "not enrolled: east; enrolled are: north, south, west"),
        (STUDY, ("north", "south"), "bring more sites|at least"),
        (STUDY, ("north", "south", "north"), "two"),
        (changed('codes = ["f", "m"]', 'codes = ["f", "m"]\nunreviewed = ["codes"]'), NAMES, "nobody has reviewed"),
        (changed("epsilon = 1.0", "epsilon = inf"), NAMES, "no study without privacy"),
        (changed("epsilon", "epsilom"), NAMES, "epsilom"),
        (STUDY + '[[roster]]\nname = "a"\ncapacity = 1\n', NAMES, "resolved already"),
    ],
)
def test_what_cannot_be_proposed_is_said_and_leaves_nothing(made, text, names, message):
    home, _, file = made
    file.write_text(text)
    with pytest.raises(InvalidInput, match=message):
        propose(home, file, names)
    assert folders(home) == []


def test_a_name_that_is_no_folder_is_refused(made):
    home, _, file = made
    for name in ("a b.toml", ".toml", "-x.toml"):
        with pytest.raises(InvalidInput, match="call it by letters"):
            propose(home, file.rename(file.with_name(name)), NAMES)
        file.with_name(name).rename(file)
    for name in ("../C", "heart/..", "", "nothing"):
        with pytest.raises(InvalidInput, match="`silosynth coordinator study propose`"):
            folder_of(home, name)


def test_a_study_that_was_launched_is_not_proposed_again(made):
    home, _, file = made
    folder, study = propose(home, file, NAMES)
    Teller(folder, Status(study.digest, State.RUNNING, 0, 1.0))
    with pytest.raises(InvalidInput, match="launched already"):
        propose(home, file, NAMES)


def test_a_running_study_whose_process_died_is_interrupted(made):
    home, _, file = made
    folder, study = propose(home, file, NAMES)
    with held(folder.lock, wait=False):
        teller = Teller(folder, Status(study.digest, State.RUNNING, 7, 1.0, of=study.releases))
        teller.tell(run=12)
        teller.progress("gradient", 2, study.releases, "1 of 3")
        assert (folder.status().state, folder.status().releases, folder.status().run) == (State.RUNNING, 2, 12)
        teller.progress("sample", 50, 1000)
        assert folder.status().releases == 2
    assert folder.status() == replace(teller.status, state=State.INTERRUPTED)
    teller.tell(state=State.FINISHED)
    assert folder.status().state is State.FINISHED


def test_progress_is_written_about_once_a_second(made, monkeypatch):
    home, _, file = made
    folder, study = propose(home, file, NAMES)
    teller = Teller(folder, Status(study.digest, State.RUNNING, 0, 1.0, phase="pairs"))
    written = []
    monkeypatch.setattr("silosynth.server.studies.write_json", lambda *args: written.append(args))
    for done in range(500):
        teller.progress("pairs", done, 1000)
    assert len(written) <= 2


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"format": 2}', '{"format": 1, "state": "odd"}', '{"format": 1}'])
def test_a_status_that_nobody_wrote_is_found_out(tmp_path, content):
    folder = StudyFolder(tmp_path)
    folder.status_file.write_text(content)
    with pytest.raises(Tampered, match="status"):
        folder.status()


def test_a_status_is_json_for_other_programs(made):
    home, _, file = made
    folder, study = propose(home, file, NAMES)
    Teller(folder, Status(study.digest, State.RUNNING, 0, 1.0))
    content = json.loads(folder.status_file.read_text())
    assert (content["format"], content["state"], content["study"]) == (1, "running", study.digest)
    assert math.isclose(content["began"], 1.0)
