"""What a container of a site is held by: as the kernel tells it of its process, and as one finds it who is inside.

Either look has its control: a process without a container, and doors that are open to the other of the two containers.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from lab.contained import PARTS, Contained
from lab.evidence import Check
from lab.hosts import INTERFACE
from silosynth.client.installed import code_digest

_USERS: Final = {"agent": 10001, "relay": 10002}
_NETWORKS: Final = {"agent": {"lo"}, "relay": {"lo", INTERFACE}}
_MOST_MEMORY: Final = {"agent": 4 << 30, "relay": 1 << 30}
_MOST_PROCESSES: Final = 256

_CODE: Final = "from silosynth.client.installed import code_digest; print(code_digest())"
_DOORS: Final = """
import json, os, socket, sys
from pathlib import Path

def opens(act):
    try:
        act()
    except OSError:
        return False
    return True

def writes(path):
    return lambda: Path(path, "try").touch() or Path(path, "try").unlink()

host, port = sys.argv[1:]
doors = {
    "rows": lambda: next(Path("/rows").iterdir()).read_bytes(),
    "ledger": Path("/site/agent/ledger.sqlite").read_bytes,
    "agent's key": Path("/site/agent/agent.key").read_bytes,
    "approvals": lambda: os.listdir("/site/studies"),
    "relay's key": Path("/site/relay/node.key").read_bytes,
    "coordinator": lambda: socket.create_connection((host, int(port)), 5).close(),
    "agent's socket": lambda: socket.socket(socket.AF_UNIX).connect("/site/run/agent.sock"),
    "officer's key": Path("/site/officer.key").read_bytes,
    "writing approvals": writes("/site/studies"),
    "writing the policy": lambda: open("/site/policy.toml", "r+").close(),
    "writing programs": writes("/opt/silosynth"),
    "writing rows": writes("/rows"),
    "being root": lambda: os.setuid(0),
}
print(json.dumps([name for name, act in doors.items() if opens(act)]))
"""
_OPEN: Final = {
    "agent": ["rows", "ledger", "agent's key", "approvals", "agent's socket"],
    "relay": ["relay's key", "coordinator", "agent's socket"],
}


@dataclass(frozen=True)
class Held:
    """What the kernel says of a process. `memory` in bytes, `processes`: at most; None where no limit is set."""

    user: int
    capabilities: int
    no_new_privileges: bool
    filtered: bool
    root_read_only: bool
    core_dumps: bool
    interfaces: frozenset[str]
    memory: int | None
    processes: int | None

    def by(self, part: str) -> bool:
        """Whether it is held as that part of a site has to be."""
        limits = ((self.memory, _MOST_MEMORY[part]), (self.processes, _MOST_PROCESSES))
        return (
            self.user == _USERS[part]
            and not self.capabilities
            and self.no_new_privileges
            and self.filtered
            and self.root_read_only
            and not self.core_dumps
            and self.interfaces == _NETWORKS[part]
            and all(limit is not None and limit <= most for limit, most in limits)
        )

    def __str__(self) -> str:
        memory = "any" if self.memory is None else f"{self.memory >> 20} MiB"
        return (
            f"user {self.user}, capabilities {self.capabilities:x}, no new privileges {self.no_new_privileges:d}, "
            f"seccomp {self.filtered:d}, read-only root {self.root_read_only:d}, core dumps {self.core_dumps:d}, "
            f"memory {memory}, processes {self.processes or 'any'}, network {', '.join(sorted(self.interfaces))}"
        )


def held(pid: int) -> Held:
    """How a process is held now."""
    folder = Path("/proc", str(pid))
    status = dict(line.split(":\t", 1) for line in (folder / "status").read_text(encoding="utf-8").splitlines())
    mounts = [line.split() for line in (folder / "mountinfo").read_text(encoding="utf-8").splitlines()]
    limits = (folder / "limits").read_text(encoding="ascii")
    links = (folder / "net" / "dev").read_text(encoding="ascii").splitlines()[2:]
    return Held(
        user=int(status["Uid"].split()[1]),
        capabilities=int(status["CapPrm"], 16) | int(status["CapBnd"], 16),
        no_new_privileges=status["NoNewPrivs"] == "1",
        filtered=status["Seccomp"] == "2",
        root_read_only=all("ro" in mount[5].split(",") for mount in mounts if mount[4] == "/"),
        core_dumps=re.search(r"^Max core file size +0 +0 ", limits, re.MULTILINE) is None,
        interfaces=frozenset(link.split(":")[0].strip() for link in links),
        memory=_limit(folder, "memory", "memory.limit_in_bytes", "memory.max"),
        processes=_limit(folder, "pids", "pids.max", "pids.max"),
    )


def _limit(process: Path, controller: str, name: str, unified: str) -> int | None:
    """Of a control group of either version. A number beyond all memory is how version 1 says that there is none."""
    groups = [line.split(":", 2) for line in (process / "cgroup").read_text(encoding="utf-8").splitlines()]
    places = [Path("/sys/fs/cgroup", one, way.lstrip("/"), name) for _, one, way in groups if one == controller]
    places += [Path("/sys/fs/cgroup", way.lstrip("/"), unified) for _, one, way in groups if not one]
    words = [place.read_text(encoding="ascii").strip() for place in places if place.exists()]
    numbers = [int(word) for word in words if word.isdigit() and int(word) < 1 << 60]
    return min(numbers, default=None)


def boxed(site: str, box: Contained, coordinator: tuple[str, int], plain: int) -> Iterator[Check]:
    """Both containers of a site, while they run. `plain`: a process of another site, which has no container."""
    for part in PARTS:
        seen = held(box.pid(part))
        yield Check(f"the container of {site}'s {part} is hardened", seen.by(part), str(seen))
        opened = json.loads(box.inside(part, _DOORS, *map(str, coordinator)))
        yield Check(
            f"from inside it, {site}'s {part} gets at what it needs and nothing else",
            opened == _OPEN[part],
            ", ".join(opened),
        )
    seen = held(plain)
    yield Check("a process without a container is not taken for one (control)", not any(map(seen.by, PARTS)), str(seen))
    code = box.inside("agent", _CODE).strip()
    yield Check(f"the image of {site} holds this software", code == code_digest(), f"code digest {code[:12]}")
