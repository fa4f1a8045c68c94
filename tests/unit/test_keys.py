"""A site's agent key: one file, made once, readable by its owner alone."""

import stat
import subprocess
import sys

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from silosynth.client.keys import FILE, agent_key, fingerprint, public_key
from silosynth.common.errors import InvalidInput
from silosynth.common.secagg.roster import Identity


def test_it_is_made_once_for_its_owner_alone(tmp_path):
    key = agent_key(tmp_path)
    assert stat.S_IMODE((tmp_path / FILE).stat().st_mode) == 0o600
    assert public_key(agent_key(tmp_path)) == public_key(key)
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_every_site_has_its_own(tmp_path):
    folders = [tmp_path / name for name in "ab"]
    for folder in folders:
        folder.mkdir()
    assert len({public_key(agent_key(folder)) for folder in folders}) == 2


def test_what_people_compare_is_what_the_roster_shows(tmp_path):
    key = agent_key(tmp_path)
    assert fingerprint(key) == Identity("a", bytes.fromhex(public_key(key))).fingerprint


def test_a_key_that_others_may_read_is_refused(tmp_path):
    agent_key(tmp_path)
    (tmp_path / FILE).chmod(0o640)
    with pytest.raises(InvalidInput, match="chmod 600"):
        agent_key(tmp_path)


def test_what_is_no_such_key_is_refused(tmp_path):
    agent_key(tmp_path)
    (tmp_path / FILE).write_bytes(b"nothing")
    with pytest.raises(InvalidInput, match="no key in PEM"):
        agent_key(tmp_path)
    other = X25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    (tmp_path / FILE).write_bytes(other)
    with pytest.raises(InvalidInput, match="no Ed25519 key"):
        agent_key(tmp_path)


def test_processes_that_make_it_at_once_get_the_same(tmp_path):
    code = (
        "import sys; from pathlib import Path; from silosynth.client.keys import agent_key, public_key;"
        "print(public_key(agent_key(Path(sys.argv[1]))))"
    )
    both = [subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE) for _ in range(3)]
    said = {process.communicate()[0].decode().strip() for process in both}
    assert said == {public_key(agent_key(tmp_path))}
