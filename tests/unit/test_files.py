"""Files appear whole or not at all."""

import os
import stat

import pytest

from silosynth.server.files import replace, write_secret


def test_a_file_is_the_old_one_until_it_is_the_new_one(tmp_path, monkeypatch):
    path = tmp_path / "file"
    replace(path, b"old")

    def full(_handle):
        raise OSError(28, "no space left")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="no space"):
        replace(path, b"new")
    assert path.read_bytes() == b"old"
    monkeypatch.undo()
    replace(path, b"new")
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_a_secret_is_never_readable_by_others_not_even_before_it_is_whole(tmp_path, monkeypatch):
    modes = []
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda handle: (modes.append(stat.S_IMODE(os.fstat(handle).st_mode)), sync(handle))
    )
    (tmp_path / ".secret.part").write_bytes(b"left by a process that died")
    (tmp_path / ".secret.part").chmod(0o644)
    write_secret(tmp_path / "secret", b"x")
    assert modes[0] == 0o600
    assert stat.S_IMODE((tmp_path / "secret").stat().st_mode) == 0o600
