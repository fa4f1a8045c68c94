"""`silosynth report`: the same bytes from the same three files, and a word where they are not; never over another."""

import json
from hashlib import sha256

import certified_made
import described_made
import pytest

from silosynth.common.errors import InvalidInput
from silosynth.common.evaluate import metrics_file
from silosynth.common.readable_json import laid_out
from silosynth.server.bundle import verified
from silosynth.server.redrawn import redrawn
from silosynth.simulations.cli import _run


@pytest.fixture
def folder(tmp_path):
    """A published folder whose report is the one that its files make."""
    (tmp_path / "run").mkdir()
    honest = certified_made.made(tmp_path)
    del honest.hashes["report.html"]

    def put(name, content):
        honest.files[name], honest.hashes[name] = content, sha256(content).hexdigest()
        honest.rewrite()
        honest.publish(tmp_path / "run")

    put("metrics.json", laid_out(metrics_file.to_json(described_made.metrics())).encode())
    assert redrawn(tmp_path / "run").certified is None
    put("report.html", redrawn(tmp_path / "run").content)
    verified(tmp_path / "run")
    return tmp_path / "run"


def test_it_comes_out_as_it_was_certified(folder, capsys):
    (folder / "report.html").unlink()
    assert _run(["report", str(folder)]) == 0
    assert "the certified one, byte for byte" in capsys.readouterr().out
    verified(folder)


def test_elsewhere_too(folder, tmp_path, capsys):
    assert _run(["report", str(folder), "-o", str(tmp_path / "page.html"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == {"file": str(tmp_path / "page.html"), "certified": True}
    assert (tmp_path / "page.html").read_bytes() == (folder / "report.html").read_bytes()


def test_another_one_is_said_to_be_another_and_lies_beside(folder, capsys):
    before = (folder / "report.html").read_bytes()
    metrics = json.loads((folder / "metrics.json").read_text())
    (folder / "metrics.json").write_text(laid_out(metrics | {"seed": 8}))
    assert _run(["report", str(folder)]) == 0
    assert "it is NOT the certified one" in capsys.readouterr().out
    assert (folder / "report.html").read_bytes() == before
    assert (folder / "report.rebuilt.html").read_bytes() != before


@pytest.mark.parametrize("name", ["metrics.json", "certificate.json", "study.toml"])
@pytest.mark.parametrize("content", [None, b"", b"\xff", b"[]", b"{", b'{"format": 2}', b"[" * 99_999])
def test_a_file_that_is_missing_or_spoilt_is_named(folder, name, content, capsys):
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_bytes(content)
    assert _run(["report", str(folder)]) == 2
    err = capsys.readouterr().err
    assert name in err
    assert len(err.strip().splitlines()) == 1


def test_no_folder(tmp_path):
    with pytest.raises(InvalidInput, match="give the folder"):
        redrawn(tmp_path / "nowhere")
