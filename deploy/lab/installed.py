"""How a site's software is there: on its host itself, as here, or in containers (`contained.py`)."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from lab.commands import CLI, environment, typed
from lab.hosts import Host
from lab.services import Service, children


class Installation(Protocol):
    """What a site needs of it. `running` is for the time that its context lasts."""

    @property
    def host(self) -> Host:
        """The site's host."""

    @property
    def home(self) -> Path:
        """The site's home, as it is seen from outside."""

    def typed(self, *words: str | Path) -> str:
        """What `silosynth site WORDS` says of the site's home. Raises CommandFailed."""

    def given(self, file: Path) -> Path:
        """A file that somebody hands to the site, where its software finds it."""

    def running(self, logs: Path) -> AbstractContextManager[None]:
        """Agent and relay, each kept by a service."""

    def pid(self, part: str) -> int:
        """What a crash of the agent or the relay takes away, by its number here; 0 where it does not run."""


@dataclass
class Bare:
    """A virtual environment. `apart`: agent and relay are units of their own, the agent on a host without network."""

    host: Host
    home: Path
    apart: Host | None = None
    services: list[Service] = field(default_factory=list)

    def typed(self, *words: str | Path) -> str:
        """On the site's host."""
        return typed(self.host, "site", *words, "--home", self.home)

    def given(self, file: Path) -> Path:
        """Where it is."""
        return file

    @contextmanager
    def running(self, logs: Path) -> Iterator[None]:
        """One service for both, or two."""
        run: list[str | Path] = [*CLI, "site", "run", "--home", self.home]
        commands = {"site": (self.host, run)}
        if self.apart is not None:
            only = {"agent": self.apart, "relay": self.host}
            commands = {part: (host, [*run, "--only", part]) for part, host in only.items()}
        with ExitStack() as stack:
            for part, (host, command) in commands.items():
                service = Service(host, command, logs / f"{self.home.name}-{part}.log", environment())
                self.services.append(stack.enter_context(service))
            yield

    def pid(self, part: str) -> int:
        """The process itself; whoever started it starts another one."""
        found = [pid for service in self.services for pid in children(service.pid, f"silosynth.client.{part} ")]
        return found[-1] if found else 0
