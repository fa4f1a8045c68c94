"""What is told is a line of known words; what errors say is in a file that only its owner reads."""

import json
import subprocess
import sys
from contextlib import closing
from enum import StrEnum

from silosynth.client.events import Event, Log, Told

CODE = """
import logging, os, sys, warnings
from pathlib import Path
from silosynth.client.events import keep_texts
keep_texts(Path(sys.argv[1]), "agent")
logging.getLogger("any").warning("patient 17")
warnings.warn("patient 18")
os.write(2, b"patient 19")
raise ValueError("patient 20")
"""


class Why(StrEnum):
    """A closed list."""

    OTHER = "something known"


def test_an_event_in_words_and_in_json(tmp_path, capsys):
    told = Told(Event.REFUSED, "ab" * 32, 3, 0, Why.OTHER, 0.25, 100, 80)
    for as_json in (False, True):
        with closing(Log(tmp_path, "agent", as_json=as_json)) as tell:
            tell(told)
    plain, line = capsys.readouterr().out.splitlines()
    assert plain[8:] == (
        " agent      refused, study abababababab, release 3, attempt 0, because: something known, seconds 0.25, "
        "bytes in 100, bytes out 80"
    )
    one = json.loads(line)
    assert set(one) == {
        *("time", "process", "event", "study", "release", "attempt", "reason", "seconds", "bytes_in", "bytes_out"),
    }
    kept = (tmp_path / "agent.jsonl").read_text().splitlines()
    assert [json.loads(entry)["release"] for entry in kept] == [3, 3]


def test_a_full_disk_or_a_closed_terminal_stops_nothing(tmp_path, monkeypatch):
    class Closed:
        def write(self, _text):
            raise OSError

    tell = Log(tmp_path, "agent")
    monkeypatch.setattr(sys, "stdout", Closed())
    monkeypatch.setattr("logging.raiseExceptions", False)
    monkeypatch.setattr(tell._file, "_open", Closed().write, raising=True)
    tell(Told(Event.READY))


def test_texts_are_private(tmp_path):
    done = subprocess.run([sys.executable, "-c", CODE, tmp_path], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stdout == done.stderr == ""
    (file,) = tmp_path.iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert all(f"patient {number}" in file.read_text() for number in (17, 18, 19, 20))
