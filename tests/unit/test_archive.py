"""A release in one file is verified whole: whatever is added, dropped, hidden or changed in it is refused, by name."""

import io
import json
import struct
import zipfile
from zlib import crc32

import pytest
from certified_made import made, study, troubled

from silosynth.common.archive import NAMES, Entry, directory, header, read
from silosynth.common.errors import InvalidInput, NotCertified, NotPossible
from silosynth.common.verify import verify
from silosynth.server import bundle as server
from silosynth.simulations.cli import _run

CSV = "synthetic.csv"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    place = tmp_path_factory.mktemp("honest")
    (place / "run").mkdir()
    return made(place, asked=troubled()).publish(place / "run")


@pytest.fixture(scope="module")
def files(folder):
    """Name and content of every file, as they stand in the archive."""
    return {name: (folder / name).read_bytes() for name in NAMES}


def entry(name, content):
    return Entry(name, crc32(content), len(content))


def zipped(files):
    """An archive of (name, content) pairs, in our own form."""
    files = list(files.items()) if isinstance(files, dict) else files
    entries = [entry(name, content) for name, content in files]
    return b"".join(header(entry(*one)) + one[1] for one in files) + directory(entries)


def by_python(files, method=zipfile.ZIP_STORED, info=lambda one: one, comment=b""):
    """An archive of another program."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as archive:
        archive.comment = comment
        for name, content in files.items():
            archive.writestr(info(zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))), content, method)
    return out.getvalue()


def proved(data):
    return verify(read(io.BytesIO(data).read))


def patched(data, at, value):
    return data[:at] + value + data[at + len(value) :]


def named(files, name, content=b"x"):
    return zipped(sorted({**files, name: content}.items()))


def hidden(files):
    """A file that lies among the others and stands in no directory: a streaming reader would unpack it."""
    whole, lost = sorted(files.items()), entry(CSV, files[CSV])
    body = b"".join(header(entry(*one)) + one[1] for one in whole)
    return body + directory([entry(*one) for one in whole if one[0] != lost.name])


def encrypted(files):
    data = zipped(files)
    return patched(data, 6, struct.pack("<H", 1))


def of_another_study(files, tmp_path):
    (tmp_path / "run").mkdir()
    other = made(tmp_path, study(purpose="another")).publish(tmp_path / "run")
    return zipped(files | {"certificate.json": (other / "certificate.json").read_bytes()})


def without_its_hash(files):
    content = json.loads(files["certificate.json"])
    del content["artefacts"]["report.html"]
    return zipped(files | {"certificate.json": json.dumps(content).encode()})


def central(data):
    return data.index(b"PK\1\2")


SPOILT = {
    "nothing": (lambda _: b"", "bundle", "cut off"),
    "no archive": (lambda _: b"synthetic data" * 99, "bundle", "no archive"),
    "an empty archive": (lambda _: by_python({}), "bundle", "no archive"),
    "cut off in a header": (lambda files: zipped(files)[:20], "bundle", "it is cut off"),
    "cut off in a file": (lambda files: zipped(files)[:100], "bundle", r"cut off within certificate\.json"),
    "cut off in the directory": (lambda files: zipped(files)[:-3], "bundle", "cut off within its directory"),
    "without a directory": (lambda files: zipped(files)[: central(zipped(files))], "bundle", "cut off"),
    "a byte behind it": (lambda files: zipped(files) + b"\0", "bundle", "more than its files"),
    "a program before it": (lambda files: b"#!/bin/sh\n" + zipped(files), "bundle", "no archive"),
    "two archives": (lambda files: zipped(files) * 2, "bundle", "more than its files"),
    "a comment": (lambda files: by_python(files, comment=b"look"), "bundle", "not written|more than its files"),
    "a file twice": (
        lambda files: zipped(sorted([*files.items(), (CSV, files[CSV])])),
        "bundle",
        r"synthetic\.csv stands in it twice",
    ),
    "a file twice, the second another one": (
        lambda files: zipped(sorted([*files.items(), (CSV, b"zz")], key=lambda one: one[0])),
        "bundle",
        "twice",
    ),
    "a path upwards": (lambda files: named(files, "../synthetic.csv"), "bundle", "no file that a study"),
    "an absolute path": (lambda files: named(files, "/etc/passwd"), "bundle", "no file that a study"),
    "a path of Windows": (lambda files: named(files, "..\\synthetic.csv"), "bundle", "no file that a study"),
    "a folder": (lambda files: named(files, "run/", b""), "bundle", "no file that a study"),
    "a file in a folder": (lambda files: named(files, "run/synthetic.csv"), "bundle", "no file that a study"),
    "a name with a zero byte": (lambda files: named(files, "synthetic.csv\0.exe"), "bundle", "no file that a study"),
    "a name in capitals": (lambda files: named(files, "Report.html"), "bundle", "no file that a study"),
    "a name without end": (lambda files: named(files, "a" * 60_000), "bundle", "no file that a study"),
    "a file that nobody publishes": (lambda files: named(files, "README"), "bundle", "'README' is no file"),
    "files in another order": (
        lambda files: zipped(dict(sorted(files.items(), reverse=True))),
        "bundle",
        "does not stand in its place",
    ),
    "compressed": (lambda files: by_python(files, zipfile.ZIP_DEFLATED), "bundle", "certificate.json is compressed"),
    "a bomb": (
        lambda files: by_python(files | {CSV: bytes(1 << 22)}, zipfile.ZIP_DEFLATED),
        "bundle",
        "is compressed",
    ),
    "a size without end": (
        lambda files: patched(zipped(files), 18, struct.pack("<2L", 0xFFFFFFFF, 0xFFFFFFFF)),
        "bundle",
        r"cut off within certificate\.json",
    ),
    "sizes that differ": (
        lambda files: patched(zipped(files), 18, struct.pack("<L", 1)),
        "bundle",
        "the one way",
    ),
    "encrypted": (encrypted, "bundle", "is encrypted"),
    "another date": (lambda files: patched(zipped(files), 12, b"\x22"), "bundle", "the one way"),
    "further marks": (lambda files: patched(zipped(files), 6, b"\x08"), "bundle", "the one way"),
    "a link": (
        lambda files: patched(zipped(files), central(zipped(files)) + 38, struct.pack("<L", 0o120777 << 16)),
        "bundle",
        "directory is not theirs",
    ),
    "a directory of other names": (
        lambda files: zipped(files)[::-1].replace(b"vsc.citehtnys", b"vsc.citehtnyS", 1)[::-1],
        "bundle",
        "directory is not theirs",
    ),
    "a file that stands in no directory": (hidden, "bundle", "directory is not theirs"),
    "a wrong checksum": (lambda files: patched(zipped(files), 14, b"\0\0\0\0"), "bundle", "does not have its checksum"),
    "no certificate": (
        lambda files: zipped({name: one for name, one in files.items() if name != "certificate.json"}),
        "bundle",
        r"certificate\.json is missing",
    ),
    "no study": (
        lambda files: zipped({name: one for name, one in files.items() if name != "study.toml"}),
        "study",
        r"study\.toml is missing",
    ),
    "a study that is not text": (lambda files: zipped(files | {"study.toml": b"\xff"}), "study", "not text"),
    "a table changed": (lambda files: zipped(files | {CSV: b"a\n1\n"}), "artefact", r"synthetic\.csv is not the file"),
    "two tables swapped": (
        lambda files: zipped(files | {CSV: files["synthetic.parquet"], "synthetic.parquet": files[CSV]}),
        "artefact",
        "is not the file",
    ),
    "no table": (
        lambda files: zipped({name: one for name, one in files.items() if name != CSV}),
        "artefact",
        r"synthetic\.csv is missing",
    ),
    "no model card": (
        lambda files: zipped({name: one for name, one in files.items() if name != "model_card.md"}),
        "artefact",
        r"model_card\.md is missing",
    ),
    "a catalogue entry changed": (
        lambda files: zipped(files | {"croissant.json": b"{}"}),
        "artefact",
        r"croissant\.json is not the file",
    ),
    "a report that is not certified": (without_its_hash, "artefact", "is there and is not certified"),
    "a certificate cut off": (
        lambda files: zipped(files | {"certificate.json": files["certificate.json"][:-9]}),
        "certificate",
        "cut off",
    ),
}


def test_an_archive_holds_as_its_folder_does_and_any_program_can_unpack_it(folder, files, tmp_path):
    target = tmp_path / "study.zip"
    assert server.bundle(folder, target) == NAMES
    assert server.verified(target) == server.verified(folder)
    assert target.read_bytes() == zipped(files)
    with zipfile.ZipFile(target) as archive:
        assert archive.testzip() is None
        assert {name: archive.read(name) for name in archive.namelist()} == files


def test_the_same_folder_gives_the_same_bytes(folder, tmp_path):
    for name in ("a.zip", "b.zip"):
        server.bundle(folder, tmp_path / name)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.zip", "b.zip"]


@pytest.mark.parametrize("how", SPOILT)
def test_what_was_done_to_it_is_named(files, how):
    spoil, check, cause = SPOILT[how]
    with pytest.raises(NotCertified, match=cause) as failed:
        proved(spoil(files))
    assert failed.value.check == check


def test_a_certificate_of_another_study_is_refused(files, tmp_path):
    with pytest.raises(NotCertified, match="another study"):
        proved(of_another_study(files, tmp_path))


def test_every_byte_matters(files):
    """One bit changed anywhere: in headers, in files, in the directory."""
    data = zipped(files)
    for at in range(len(data)):
        with pytest.raises(NotCertified):
            read(io.BytesIO(patched(data, at, bytes([data[at] ^ 1]))).read)


def test_it_is_read_in_whatever_pieces_it_comes(files):
    stream = io.BytesIO(zipped(files))
    bundle = read(lambda most: stream.read(min(most, 7)))
    assert verify(bundle) == proved(zipped(files))


def test_a_folder_that_does_not_hold_is_not_bundled(folder, tmp_path):
    broken = tmp_path / "run"
    broken.mkdir()
    for path in folder.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / CSV).write_text("a\n1\n")
    with pytest.raises(NotCertified, match=r"synthetic\.csv is not the file"):
        server.bundle(broken, tmp_path / "study.zip")
    assert not (tmp_path / "study.zip").exists()
    with pytest.raises(InvalidInput, match="give the folder"):
        server.bundle(tmp_path / "nowhere", tmp_path / "study.zip")


def test_a_table_beyond_an_archive_is_refused_with_a_cure(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(server, "MOST_BYTES", 2000)
    with pytest.raises(NotPossible, match="publish the folder itself"):
        server.bundle(folder, tmp_path / "study.zip")


def test_the_command_line_bundles_verifies_and_says_why_not(folder, tmp_path, capsys):
    target = tmp_path / "study.zip"
    assert _run(["bundle", str(folder), "-o", str(target), "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["file"], said["files"]) == (str(target), list(NAMES))
    assert _run(["bundle", str(folder), "-o", str(target)]) == 0
    assert "silosynth verify" in capsys.readouterr().out
    assert _run(["verify", str(target), "--explain"]) == 0
    target.write_bytes(target.read_bytes() + b"\0")
    assert _run(["verify", str(target)]) == 1
    assert "DOES NOT HOLD: bundle: it holds more than its files" in capsys.readouterr().out
    renamed = tmp_path / "study"
    target.rename(renamed)  # known by how it begins
    assert _run(["verify", str(renamed)]) == 1
    for wrong in (["bundle", str(folder), "-o", "x.tar"], ["bundle", str(tmp_path / "no"), "-o", "x.zip"]):
        assert _run(wrong) == 2
    assert _run(["bundle", str(folder), "-o", str(tmp_path / "no" / "x.zip")]) == 2
    empty = tmp_path / "empty"
    empty.mkdir()
    assert _run(["bundle", str(empty), "-o", str(target)]) == 2


def test_the_command_line_says_that_a_folder_does_not_hold(folder, tmp_path, capsys):
    broken = tmp_path / "run"
    broken.mkdir()
    for path in folder.iterdir():
        (broken / path.name).write_bytes(path.read_bytes())
    (broken / "report.html").unlink()
    assert _run(["bundle", str(broken), "-o", str(tmp_path / "x.zip"), "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["failed"] == "artefact"
    assert _run(["bundle", str(broken), "-o", str(tmp_path / "x.zip")]) == 1
    assert "nothing was written" in capsys.readouterr().out
    assert not (tmp_path / "x.zip").exists()
