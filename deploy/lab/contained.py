"""A site in containers of the built image: as deploy/site.compose.yaml says, and as people type by deploy/site.sh.

One thing differs from the file: the relay's network is a host of the lab, in place of one that an engine makes. So the
engine is podman; docker puts no container on a network namespace that is there. The file is read here, since what is to
be shown is its hardening: a key of it that is not understood is an error.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from lab.commands import well
from lab.hosts import PREFIX, Host, machine
from lab.services import Service

PARTS: Final = ("agent", "relay")

_DEPLOY: Final = Path(__file__).resolve().parents[1]
_COMPOSE: Final = _DEPLOY / "site.compose.yaml"
_FLAGS: Final = {"init": "--init", "read_only": "--read-only"}
_OPTIONS: Final = {
    "user": "--user", "cap_drop": "--cap-drop", "security_opt": "--security-opt", "pids_limit": "--pids-limit",
    "mem_limit": "--memory", "memswap_limit": "--memory-swap", "tmpfs": "--tmpfs", "volumes": "--volume",
    "ulimits": "--ulimit", "extra_hosts": "--add-host",
}  # fmt: skip
_ELSEWHERE: Final = {"image", "command", "network_mode", "networks"}
_NOT_HERE: Final = {"restart", "stop_grace_period", "healthcheck"}
"""A service of the lab starts a container again, waits for it to stop, and looks at what it does."""
_VARIABLE: Final = re.compile(r"\$\{(\w+)(?::([-?])([^}]*))?\}")


def why_no_image(image: str) -> str:
    """The reason why no container of an image can be had on this machine, or nothing."""
    if shutil.which("podman") is None:
        return "a site in containers needs podman"
    if find_spec("yaml") is None:
        return "a site in containers needs PyYAML, to read site.compose.yaml: pip install 'silosynth[deploy]'"
    if _podman("image", "exists", image).returncode:
        return f"there is no image {image}; deploy/build.sh makes it"
    tried = _podman("run", "--rm", "--network", "none", "--entrypoint", "true", image)
    return f"podman cannot run {image}: {tried.stderr.strip()[-300:]}" if tried.returncode else ""


def image_digest(image: str) -> str:
    """The digest of an image, by which sites compare theirs. Raises CommandFailed."""
    return _said("image", "inspect", "--format", "{{.Digest}}", image).strip()


@dataclass(frozen=True)
class Contained:
    """A site's agent and relay, each in a container. `rows`: the folder of its rows, which the agent sees as /rows."""

    host: Host
    home: Path
    rows: Path
    image: str

    def typed(self, *words: str | Path) -> str:
        """By `site.sh`, in a container without a network."""
        self.home.mkdir(exist_ok=True)
        env = {**os.environ, "ENGINE": "podman", "SILOSYNTH_CLIENT": self.image, "ROWS": str(self.rows)}
        line = [_DEPLOY / "site.sh", self.home, *words]
        return well(_ended(*line, env=env), " ".join(map(str, line)))

    def given(self, file: Path) -> Path:
        """Rows are where they are; anything else is put into the site's home, as the runbook says."""
        if file.parent == self.rows:
            return Path("/rows", file.name)
        shutil.copy(file, self.home / file.name)
        return Path("/site", file.name)

    @contextmanager
    def running(self, logs: Path) -> Iterator[None]:
        """A service for each container, which is started again as it is."""
        sweep()
        well(_ended(_DEPLOY / "own.sh", self.home), "own.sh")
        with ExitStack() as stack:
            for part, service in self._services().items():
                network = "none" if service.get("network_mode") == "none" else f"ns:/run/netns/{self.host.namespace}"
                stack.callback(_podman, "rm", "--force", "--ignore", self.name(part))
                _said("create", "--name", self.name(part), "--network", network, *options(service))
                log, command = logs / f"{self.home.name}-{part}.log", ["podman", "start", "--attach", self.name(part)]
                stack.enter_context(Service(machine(), command, log))
            yield

    def pid(self, part: str) -> int:
        """The first process of its container: with it, the kernel ends all others."""
        (found,) = json.loads(_said("container", "inspect", self.name(part)))
        return int(found["State"]["Pid"])

    def name(self, part: str) -> str:
        """Of a container."""
        return f"{self.host.namespace}-{part}"

    def inside(self, part: str, program: str, *words: str) -> str:
        """What a program in Python says inside a container that runs. Raises CommandFailed."""
        return _said("exec", self.name(part), "python3", "-c", program, *words)

    def _services(self) -> Mapping[str, Mapping[str, Any]]:
        import yaml  # noqa: PLC0415  # only where an image is tried

        given = {"SILOSYNTH_CLIENT": self.image, "SITE": str(self.home), "ROWS": str(self.rows)}
        services = yaml.safe_load(filled_in(_COMPOSE.read_text(encoding="utf-8"), given))["services"]
        return {part: services[part] for part in PARTS}


def filled_in(text: str, given: Mapping[str, str]) -> str:
    """A compose file with its variables' values, or with what it says in their place. Raises ValueError."""

    def value(found: re.Match[str]) -> str:
        name, kind, other = found.groups()
        if name not in given and kind != "-":
            raise ValueError(f"{name} has no value: {other}")
        return given.get(name, other)

    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    return "\n".join(_VARIABLE.sub(value, line) for line in lines)


def options(service: Mapping[str, Any]) -> list[str]:
    """The words after `podman create --network X` for a service of a compose file: options, image, command.

    Raises ValueError for a key that is not understood, for it might have been meant to harden.
    """
    if unknown := service.keys() - _FLAGS.keys() - _OPTIONS.keys() - _ELSEWHERE - _NOT_HERE:
        raise ValueError(f"the lab does not know what a service's {', '.join(sorted(unknown))} asks for")
    words = [flag for key, flag in _FLAGS.items() if service.get(key)]
    for key, option in _OPTIONS.items():
        for value in _each(service.get(key, [])):
            words += [option, value]
    return [*words, service["image"], *service["command"]]


def _each(value: object) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from (f"{name}={one}" for name, one in value.items())
    else:
        yield from map(str, value if isinstance(value, list) else [value])


def sweep() -> None:
    """Remove the containers of labs whose process is no more."""
    for name in _said("ps", "--all", "--format", "{{.Names}}", "--filter", f"name=^{PREFIX}-").split():
        if not Path("/proc", name.split("-")[1]).exists():
            _podman("rm", "--force", "--ignore", name)


def _said(*words: str) -> str:
    return well(_podman(*words), f"podman {words[0]}")


def _podman(*words: str) -> subprocess.CompletedProcess[str]:
    return _ended("podman", *words)


def _ended(*words: str | Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        list(map(str, words)),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=env,
    )
