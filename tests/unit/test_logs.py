"""The coordinator's log is JSON, one object a line."""

import json
import logging

import pytest

from silosynth.server.logs import JsonLines, in_json


@pytest.fixture
def _restored():
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = before, level


def test_a_line_says_when_who_and_what():
    record = logging.LogRecord("silosynth.x", logging.WARNING, "", 0, "two\nlines %s", ("é",), None)
    content = json.loads(JsonLines().format(record))
    assert (content["level"], content["from"], content["text"]) == ("warning", "silosynth.x", "two\nlines é")
    assert content["at"].endswith("+00:00")


@pytest.mark.usefixtures("_restored")
def test_an_error_is_one_line_and_what_others_tell_of_requests_is_left_out(capsys):
    in_json()
    try:
        int("why")
    except ValueError:
        logging.getLogger("silosynth").exception("it failed")
    logging.getLogger("flwr").info("a request")
    logging.getLogger("uvicorn.access").info("another")
    (line,) = capsys.readouterr().err.splitlines()
    assert "ValueError: invalid" in json.loads(line)["error"]
