"""The journal survives a crash between any two system calls, and says so when it is not its own."""

import hashlib
import json

import numpy as np
import pytest
from small_study import study

from silosynth.common.errors import InvalidInput, QuorumLost, Tampered
from silosynth.server import journal as module
from silosynth.server.certificate import Asked
from silosynth.server.journal import Journal

STAMP = "discrete Gaussian; seed 0"
RECEIPTS = (("a", "11" * 32), ("b", "22" * 32))


def absorb(journal, count):
    for _ in range(count):
        at = journal.releases
        state = {"weights": np.arange(at + 1, dtype=np.float64), "done": np.asarray(at)}
        journal.save("first" if at == 0 else "more", np.array([at, -at]), RECEIPTS, state)


def reopened(folder):
    return Journal(folder, study(), STAMP)


def test_a_new_journal_is_empty_and_binds_its_study(tmp_path):
    journal = reopened(tmp_path)
    assert (journal.releases, journal.entries, dict(journal.load())) == (0, (), {})
    head = json.loads((tmp_path / "journal.jsonl").read_text())
    assert head == {"format": 1, "study": study().digest, "noise": STAMP}


def test_it_gives_back_what_was_saved_last(tmp_path):
    absorb(reopened(tmp_path), 3)
    again = reopened(tmp_path)
    assert again.releases == 3
    state = again.load()
    assert state["weights"].tolist() == [0, 1, 2]
    assert (state["done"].shape, int(state["done"])) == ((), 2)


def test_an_entry_says_what_was_absorbed_and_what_it_cost(tmp_path):
    journal = reopened(tmp_path)
    absorb(journal, 2)
    entry = journal.entries[1]
    assert (entry.release, entry.kind, entry.receipts) == (1, "more", dict(RECEIPTS))
    assert entry.total == hashlib.sha256(np.array([1, -1], dtype="<i8").tobytes()).hexdigest()
    assert entry.mu_squared == "1/200"  # two sums at multiplier 20
    assert entry.seconds >= 0


@pytest.mark.parametrize("cut", [1, 10, 100, "line"])
def test_a_torn_or_missing_last_line_is_written_again(tmp_path, cut):
    absorb(reopened(tmp_path), 3)
    path = tmp_path / "journal.jsonl"
    whole = path.read_bytes()
    last = len(whole.split(b"\n")[-2]) + 1
    path.write_bytes(whole[: -(last if cut == "line" else cut)])
    again = reopened(tmp_path)
    assert again.releases == 3
    assert path.read_bytes() == whole


def test_a_crash_before_the_state_was_replaced_loses_that_release_only(tmp_path):
    journal = reopened(tmp_path)
    absorb(journal, 2)
    (tmp_path / ".state.safetensors.part").write_bytes(b"half a state")  # as a killed process leaves it
    again = reopened(tmp_path)
    assert again.releases == 2
    absorb(again, 1)
    assert reopened(tmp_path).releases == 3


@pytest.mark.parametrize("step", ["state", "line"])
def test_dying_inside_save_is_survived(tmp_path, monkeypatch, step):
    journal = reopened(tmp_path)
    absorb(journal, 1)

    def die(*_):
        raise SystemExit

    if step == "state":
        monkeypatch.setattr(module, "replace", die)
    else:
        monkeypatch.setattr(Journal, "_append", die)
    with pytest.raises(SystemExit):
        absorb(journal, 1)
    monkeypatch.undo()
    again = reopened(tmp_path)
    assert again.releases == (1 if step == "state" else 2)
    assert len(again.load()["weights"]) == again.releases
    absorb(again, 1)
    assert reopened(tmp_path).releases == again.releases


def test_attempts_are_on_disk_before_anybody_is_asked_and_are_what_it_costs(tmp_path):
    journal = reopened(tmp_path)
    assert journal.ask("aa", (0, 1, 2)) == 0
    assert reopened(tmp_path).asked == (Asked(0, 0, (0, 1, 2), "aa"),)  # as another process finds it
    assert journal.ask("bb", (0, 1, 2)) == 1
    absorb(journal, 1)
    assert journal.ask("bb", (0, 1, 2)) == 0
    absorb(journal, 1)
    again = reopened(tmp_path)
    assert [(one.release, one.attempt, one.session) for one in again.asked] == [
        (0, 0, "aa"),
        (0, 1, "bb"),
        (1, 0, "bb"),
    ]
    assert again.releases == 2
    assert [entry.mu_squared for entry in again.entries] == ["1/200", "3/400"]


def test_a_release_is_not_attempted_for_ever(tmp_path):
    for at in range(3):
        assert reopened(tmp_path).ask("aa", (0, 1, 2)) == at
    before = (tmp_path / "journal.jsonl").read_bytes()
    with pytest.raises(QuorumLost, match="asked 3 times"):
        reopened(tmp_path).ask("aa", (0, 1, 2))
    assert (tmp_path / "journal.jsonl").read_bytes() == before


@pytest.mark.parametrize("absorbed", [0, 1])
@pytest.mark.parametrize("cut", [1, 5, 40, "line"])
def test_a_torn_attempt_was_never_asked(tmp_path, cut, absorbed):
    journal = reopened(tmp_path)
    absorb(journal, absorbed)
    path = tmp_path / "journal.jsonl"
    before = path.read_bytes()
    journal.ask("aa", (0, 1, 2))
    whole = path.read_bytes()
    path.write_bytes(whole[: -(len(whole) - len(before) - 3 if cut == "line" else cut)])
    again = reopened(tmp_path)
    assert path.read_bytes() == before
    assert (again.asked, again.releases, again.ask("aa", (0, 1, 2))) == ((), absorbed, 0)


def test_a_torn_line_of_an_absorbed_release_whose_state_is_not_there_is_damage(tmp_path):
    absorb(reopened(tmp_path), 1)
    with (tmp_path / "journal.jsonl").open("ab") as file:
        file.write(b'{"kind": "mo')
    with pytest.raises(Tampered):
        reopened(tmp_path)


def test_another_study_or_another_source_of_noise_is_refused(tmp_path):
    absorb(reopened(tmp_path), 1)
    with pytest.raises(InvalidInput, match="another study"):
        Journal(tmp_path, study("other"), STAMP)
    with pytest.raises(InvalidInput, match="noise"):
        Journal(tmp_path, study(), "none: NO PRIVACY; seed 0")


@pytest.mark.parametrize("harm", ["drop two lines", "edit a line", "lose the journal", "lose the state", "no json"])
def test_other_damage_is_said_not_repaired(tmp_path, harm):
    absorb(reopened(tmp_path), 3)
    path = tmp_path / "journal.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    match harm:
        case "drop two lines":
            path.write_bytes(b"".join(lines[:2]))
        case "edit a line":
            path.write_bytes(b"".join([*lines[:-1], lines[-1].replace(b'"more"', b'"less"')]))
        case "lose the journal":
            path.unlink()
        case "lose the state":
            (tmp_path / "state.safetensors").unlink()
        case "no json":
            path.write_bytes(b"".join([lines[0], b"nonsense\n", *lines[2:]]))
    with pytest.raises(Tampered):
        reopened(tmp_path)


def test_a_closed_journal_is_still_a_record(tmp_path):
    journal = reopened(tmp_path)
    absorb(journal, study().releases)
    journal.close()
    assert not (tmp_path / "state.safetensors").exists()
    assert reopened(tmp_path).releases == study().releases
