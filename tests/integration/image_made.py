"""What tests of the image share: how it is built, without a network, and why it may be that it cannot.

Needs podman, deploy/wheels filled by deploy/wheels.sh, and a base image: the name in SILOSYNTH_BASE, or the one that
deploy/base.sh makes. Where podman may not raise limits (a container as root without CAP_SYS_RESOURCE), CONTAINERS_CONF
names a file with lower `default_ulimits`.
"""

import json
import os
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BASE = os.environ.get("SILOSYNTH_BASE", "localhost/silosynth-base:bookworm")


def podman(*words):
    return subprocess.run(["podman", *words], check=False, capture_output=True, text=True, timeout=2500)


def skip_unless_it_can_be_built():
    if shutil.which("podman") is None:
        pytest.skip("podman is not installed")
    if not list((ROOT / "deploy/wheels").glob("torch-*.whl")):
        pytest.skip("deploy/wheels is empty: run deploy/wheels.sh")
    tried = podman("run", "--rm", "--network", "none", BASE, "python3", "--version")
    if tried.returncode:
        pytest.skip(f"podman cannot run {BASE}: {tried.stderr.strip()[-200:]}")


@contextmanager
def built(tag, *, cache=False):
    """The digest and the size of the client's image, which is there as `tag` in the context; built from nothing."""
    words = ("--quiet", "--network", "none", "--timestamp", "0", "--target", "client", "--tag", tag)
    words += () if cache else ("--no-cache",)
    try:
        done = podman("build", *words, "--build-arg", f"BASE={BASE}", "--file", ROOT / "deploy/Containerfile", ROOT)
        assert done.returncode == 0, done.stderr[-3000:]
        (found,) = json.loads(podman("image", "inspect", tag).stdout)
        yield found["Digest"], found["Size"]
    finally:
        podman("rmi", "--force", tag)
