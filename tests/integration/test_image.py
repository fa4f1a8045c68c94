"""The image, built twice from deploy/Containerfile without a network, and run as deploy/site.compose.yaml runs it.

Needs podman, deploy/wheels filled by deploy/wheels.sh, and a base image: the name in SILOSYNTH_BASE, or the one that
deploy/base.sh makes. Where podman may not raise limits (a container as root without CAP_SYS_RESOURCE), CONTAINERS_CONF
names a file with lower `default_ulimits`.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = os.environ.get("SILOSYNTH_BASE", "localhost/silosynth-base:bookworm")
MOST_BYTES = 1.3e9

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

HARDENED = (
    *("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "10001:10000", "--pids-limit", "256", "--memory", "4g", "--tmpfs", "/tmp:mode=1777"),  # noqa: S108 - the container's own
)


def podman(*words):
    return subprocess.run(["podman", *words], check=False, capture_output=True, text=True, timeout=2500)


def built(tag):
    """The digest and the size of the client's image, built from nothing."""
    words = ("--no-cache", "--quiet", "--network", "none", "--timestamp", "0", "--target", "client", "--tag", tag)
    done = podman("build", *words, "--build-arg", f"BASE={BASE}", "--file", ROOT / "deploy/Containerfile", ROOT)
    assert done.returncode == 0, done.stderr[-3000:]
    (found,) = json.loads(podman("image", "inspect", tag).stdout)
    return found["Digest"], found["Size"]


@pytest.fixture(scope="module")
def image():
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    if not list((ROOT / "deploy/wheels").glob("torch-*.whl")):
        pytest.skip("deploy/wheels is empty: run deploy/wheels.sh")
    tried = podman("run", "--rm", "--network", "none", BASE, "python3", "--version")
    if tried.returncode:
        pytest.skip(f"podman cannot run {BASE}: {tried.stderr.strip()[-200:]}")
    tag = f"silosynth-test-{os.getpid()}"
    digest, size = built(tag)
    yield tag, digest, size
    podman("rmi", "--force", tag)


def test_two_builds_give_one_digest(image):
    tag, digest, size = image
    assert size <= MOST_BYTES
    try:
        assert built(f"{tag}-again")[0] == digest
    finally:
        podman("rmi", "--force", f"{tag}-again")


def test_it_runs_with_nothing_but_what_it_needs(image):
    program = (
        "import os, torch, opacus, pyarrow.parquet, psycopg; from pathlib import Path;"
        "status = dict(line.split(':', 1) for line in Path('/proc/self/status').read_text().splitlines());"
        "print(os.getuid(), int(status['CapEff'], 16), int(status['NoNewPrivs']), os.listdir('/sys/class/net'));"
        "Path('/opt/x').write_text('x')"
    )
    done = podman("run", "--rm", *HARDENED, "--entrypoint", "python3", image[0], "-c", program)
    assert done.stdout.split("\n")[0] == "10001 0 1 ['lo']"
    assert "Read-only file system" in done.stderr


def test_it_installs_nothing_and_starts_nothing_of_flowers(image):
    done = podman("run", "--rm", *HARDENED, "--entrypoint", "ls", image[0], "/opt/silosynth/bin")
    assert {word for word in done.stdout.split() if not word.startswith("python")} == {"silosynth"}


@pytest.mark.parametrize("part", ["agent", "relay"])
def test_a_wrong_home_is_one_line_with_its_cure(image, part):
    done = podman("run", "--rm", *HARDENED, image[0], "run", "--only", part)
    assert done.returncode == 2
    (line,) = done.stderr.strip().splitlines()
    assert "site.toml: there is no such file; run `silosynth site init` first" in line
