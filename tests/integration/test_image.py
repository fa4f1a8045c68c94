"""The image, built twice from deploy/Containerfile without a network, and run as deploy/site.compose.yaml runs it."""

import os

import pytest
from image_made import built, podman, skip_unless_it_can_be_built

MOST_BYTES = 1.3e9

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3000)]

HARDENED = (
    *("--network", "none", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"),
    *("--user", "10001:10000", "--pids-limit", "256", "--memory", "4g", "--tmpfs", "/tmp:mode=1777"),  # noqa: S108 - the container's own
)


@pytest.fixture(scope="module")
def image():
    skip_unless_it_can_be_built()
    tag = f"silosynth-test-{os.getpid()}"
    with built(tag) as (digest, size):
        yield tag, digest, size


def test_two_builds_give_one_digest(image):
    tag, digest, size = image
    assert size <= MOST_BYTES
    with built(f"{tag}-again") as (again, _):
        assert again == digest


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
