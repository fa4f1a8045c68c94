"""The digest of code: a golden value, what changes it, and that both sides find the same of what is installed."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from silosynth.client import installed as at_a_site
from silosynth.common.code import digest
from silosynth.common.framing import framed
from silosynth.server import installed as at_the_coordinator

VECTORS = json.loads((Path(__file__).parents[1] / "vectors" / "approval.json").read_text())
FILES = [("client/site.py", b"x = 1\n"), ("common/study.py", b"")]


def test_the_golden_vector():
    files = [(name, text.encode()) for name, text in VECTORS["files"].items()]
    assert digest(files) == VECTORS["code"]
    assert digest(reversed(files)) == VECTORS["code"]


@pytest.mark.parametrize(
    "other",
    [
        [("client/site.py", b"x = 2\n"), FILES[1]],
        [("client/sit.py", b"ex = 1\n"), FILES[1]],  # a letter moved from the name into the text
        [("client/site.py", b""), ("common/study.py", b"x = 1\n")],
        FILES[:1],
        [*FILES, ("common/new.py", b"")],
    ],
)
def test_whatever_differs_changes_it(other):
    assert digest(other) != digest(FILES)


@pytest.mark.parametrize("files", [[], [FILES[0], FILES[0]], [FILES[0], ("client/site.py", b"other")]])
def test_nothing_and_two_files_of_one_name_have_none(files):
    with pytest.raises(ValueError, match="code"):
        digest(files)


def test_both_sides_find_the_same_of_what_is_installed():
    assert at_a_site.code_digest() == at_the_coordinator.code_digest()
    assert len(at_a_site.code_digest()) == 64


def test_the_text_of_every_module_of_a_site_counts_and_nothing_else():
    root = Path(at_a_site.__file__).parents[1]
    there = {f"{package}/{path.relative_to(root / package).as_posix()}" for package in ("client", "common")
             for path in (root / package).rglob("*.py")}  # fmt: skip
    found = dict(file for package in ("client", "common") for file in at_a_site._files(package))
    assert set(found) == there
    assert {"client/site.py", "client/engines/gan.py", "common/secagg/site.py", "common/study.py"} <= there
    assert found["client/installed.py"] == Path(at_a_site.__file__).read_bytes()
    assert all(not name.startswith(("server", "simulations")) for name in found)


def test_a_coordinator_reads_a_sites_code_without_importing_it():
    lines = (
        "import sys",
        "from silosynth.server.installed import code_digest",
        "code_digest()",
        "sys.exit(any(name.startswith('silosynth.client') for name in sys.modules))",
    )
    assert subprocess.run([sys.executable, "-c", "; ".join(lines)], check=False).returncode == 0


def test_framing_tells_lists_apart():
    lists = [(b"a",), (b"a", b""), (b"", b"a"), (b"", b"", b"a"), (b"ab",), (b"a", b"b"), (b"a\x01\x00\x00\x00b",)]
    assert len({framed(b"label", *parts) for parts in lists}) == len(lists)
    assert framed(b"label", b"a") != framed(b"labe", b"la")
