"""A study in bad weather: links that fail in every way, and processes that are killed at random moments."""

import random  # noqa: TID251  # moments to disturb at, no noise
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Final

from lab.evidence import Check
from lab.scene import Lab
from lab.services import NotReady, said, until
from lab.wire import Link

_LONG_S: Final = 2.0
"""How long a link fails."""
_PAUSE_S: Final = 0.5
"""The longest pause before the next blow."""
_GO_ON_S: Final = 120.0
"""How long a study may take to its next release after a blow."""

_FAULTS: Final = {
    "blackhole": Link(blackhole=True),
    "resets": Link(reset=True),
    "latency and loss": Link(delay_s=0.1, jitter_s=0.03, loss=0.05),
}


@dataclass(frozen=True)
class Blow:
    """Something that goes wrong, by name."""

    name: str
    strike: Callable[[], None]


class Launched:
    """The process of a study at its coordinator; one that ended before its study did goes on by `resume`."""

    def __init__(self, lab: Lab, name: str) -> None:
        self.resumed = 0
        self._coordinator, self._name, self._log = lab.coordinator, name, lab.how.out / f"{name}.log"
        self._process = self._coordinator.launch(name, self._log)

    def kill(self) -> None:
        """End it as a crash would."""
        self._process.kill()

    def went_on(self, before: int) -> bool:
        """Whether more than `before` releases have been absorbed; puts the process back on its feet."""
        if self.finished():
            return True
        if self._process.poll() is not None:
            self.resumed += 1
            self._process = self._coordinator.launch(self._name, self._log, again=True)
        return self._coordinator.releases(self._name) > before

    def finished(self) -> bool:
        """Whether it has published all and ended."""
        return self._coordinator.finished(self._name) and self._process.poll() is not None

    def said(self) -> str:
        """Its last words."""
        return said(self._log)


def disturbed(lab: Lab, name: str) -> None:
    """Run an agreed study to its end while one thing after the other goes wrong. Raises NotReady."""
    chance = random.Random(lab.how.seed)
    lab.tell(f"study {name} begins")
    run = Launched(lab, name)
    until(partial(run.went_on, 0), f"study {name} did not begin: {run.said()}", lab.how.patience_s)
    blows, struck = list(_blows(lab, run, chance)), 0
    chance.shuffle(blows)
    for blow in blows:
        time.sleep(chance.uniform(0.0, _PAUSE_S))
        before = lab.coordinator.releases(name)
        if lab.coordinator.finished(name):
            break
        began = time.monotonic()
        blow.strike()
        struck += 1
        try:
            until(partial(run.went_on, before), f"nothing was absorbed after {blow.name}", _GO_ON_S)
        except NotReady as error:
            raise NotReady(f"{error}: {run.said()}") from error
        lab.tell(f"{blow.name} after {before} releases; the next came {time.monotonic() - began:.1f} s later")
    until(partial(run.went_on, 10**9), f"study {name} did not end", lab.how.patience_s)
    lab.check(
        Check(
            f"study {name} completed",
            struck == len(blows) and run.resumed == (lab.how.kills + 1) // 2,
            f"after {struck} of {len(blows)} blows; its own process was resumed {run.resumed} times",
        )
    )


def _blows(lab: Lab, run: Launched, chance: random.Random) -> Iterator[Blow]:
    """All links at once, each in another way; a cut cable; agents, relays and the coordinator killed equally often."""
    names = list(lab.sites)
    chance.shuffle(names)
    told = ", ".join(f"{fault} at {name}" for fault, name in zip(_FAULTS, names, strict=True))
    yield Blow(told, partial(_fail, lab, dict(zip(names, _FAULTS.values(), strict=True))))
    yield Blow(f"cable of {names[0]} cut", partial(_cut, lab, names[0]))
    for turn in range(lab.how.kills):
        for part in ("agent", "relay"):
            name = chance.choice(names if turn else sorted(lab.how.contained) or names)
            yield Blow(f"kill -9 of the {part} of {name}", partial(lab.sites[name].kill, part))
    for _ in range((lab.how.kills + 1) // 2):  # a coordinator is two processes
        yield Blow("kill -9 of the coordinator's service", lab.coordinator.kill)
        yield Blow("kill -9 of the study's own process", run.kill)


def _fail(lab: Lab, links: Mapping[str, Link]) -> None:
    lab.wire.links.update({name: replace(link) for name, link in links.items()})
    time.sleep(_LONG_S)
    lab.wire.heal()


def _cut(lab: Lab, name: str) -> None:
    lab.hosts[name].unplug()
    time.sleep(_LONG_S)
    lab.hosts[name].plug()
