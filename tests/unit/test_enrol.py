"""Enrolment: a site's request becomes the one file that says whose node is whose, and a bundle that goes back."""

import json
from dataclasses import replace

import pytest
from coordinator_made import coordinator, node_line, request_of, written
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

from silosynth.common.errors import InvalidInput
from silosynth.server.ca import fingerprint
from silosynth.server.enrol import enrol, key_fingerprints, node_key, revoke
from silosynth.server.home import enrolled


@pytest.fixture
def made(tmp_path):
    return coordinator(tmp_path, "north", "south")


def test_what_is_enrolled_is_the_request_and_what_goes_back_is_authority_and_address(made):
    home, settings, requests = made
    assert enrolled(home) == requests
    assert (home.bundles / "north" / "ca.pem").read_bytes() == home.ca.read_bytes()
    said = json.loads((home.bundles / "north" / "coordinator.json").read_text())
    assert said == {
        "format": 1,
        "site": "north",
        "address": settings.address,
        "authority": fingerprint(home.ca.read_bytes()),
    }
    assert not [
        path for path in home.bundles.rglob("*") if b"PRIVATE" in (path.read_bytes() if path.is_file() else b"")
    ]


def test_the_same_request_again_changes_nothing(made, tmp_path):
    home, settings, requests = made
    again = enrol(home, settings, written(tmp_path, requests["north"]))
    assert again.request == requests["north"]
    assert enrolled(home) == requests


def test_another_request_of_the_same_name_is_somebody_else_until_a_person_says_so(made, tmp_path):
    home, settings, requests = made
    with pytest.raises(InvalidInput, match="revoke north"):
        enrol(home, settings, written(tmp_path, request_of("north")))
    assert enrolled(home) == requests
    assert revoke(home, "north") == requests["north"]
    assert set(enrolled(home)) == {"south"}
    assert not (home.bundles / "north").exists()
    enrol(home, settings, written(tmp_path, request_of("north")))


@pytest.mark.parametrize("what", ["agent", "officer", "node"])
def test_no_two_sites_have_a_key_in_common(made, tmp_path, what):
    home, settings, requests = made
    shared = getattr(requests["south"], what) + (" a comment" if what == "node" else "")
    request = replace(request_of("west"), **{what: shared})
    with pytest.raises(InvalidInput, match=f"has the {what} key of south"):
        enrol(home, settings, written(tmp_path, request))
    assert "west" not in enrolled(home)


@pytest.mark.parametrize(
    ("node", "message"),
    [
        ("ecdsa-sha2-nistp384 AAAA", "cannot be read"),
        (node_line(SECP256R1).replace("nistp256", "nistp384", 1), "cannot be read|P-384"),
    ],
)
def test_a_node_key_that_is_none_is_refused(made, tmp_path, node, message):
    home, settings, _ = made
    with pytest.raises(InvalidInput, match=message):
        enrol(home, settings, written(tmp_path, request_of("west", node=node)))


def test_what_is_no_request_is_refused(made, tmp_path):
    home, settings, _ = made
    for content in ("", "[]", "{}", '{"format": 1}', "\x00"):
        (tmp_path / "x.json").write_text(content)
        with pytest.raises(InvalidInput, match=r"x\.json"):
            enrol(home, settings, tmp_path / "x.json")
    with pytest.raises(InvalidInput, match="cannot be read"):
        enrol(home, settings, tmp_path / "none.json")


@pytest.mark.parametrize("name", ["west", "../coordinator", "a/b", ""])
def test_who_is_not_enrolled_cannot_be_revoked(made, name):
    with pytest.raises(InvalidInput):
        revoke(made[0], name)
    assert made[0].config.exists()


def test_a_file_that_speaks_of_another_site_is_found_out(made):
    home, _, _ = made
    home.request("north").rename(home.request("west"))
    with pytest.raises(InvalidInput, match="speaks of north"):
        enrolled(home)


def test_flower_knows_the_key_in_its_own_form(made):
    request = made[2]["north"]
    key = load_pem_public_key(node_key(request))
    assert key == load_ssh_public_key(request.node.encode())
    assert set(key_fingerprints(request)) == {"agent", "officer", "node"}
