"""Attacks on secure sums, each a few lines against honest sites as they are (adversary.py).

The enemy's are the first and the last member. A scenario asks what it likes; `Enemy.exposed` says whether anything but
totals opened, `Enemy.refused` what sites said no to.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from silosynth.simulations.adversary import RELEASES, Enemy

_TOP_BIT: Final = 0x80


def different_sets(enemy: Enemy) -> None:
    """Each victim is told of other members, so that their masks cancel in no set that anybody answered."""
    enemy.session()
    first, second, third = enemy.victims.sites
    enemy.ask(first, members=[at for at in enemy.members if at != third])
    enemy.ask(second)
    enemy.ask(third, members=[at for at in enemy.members if at != first])


def different_attempts(enemy: Enemy) -> None:
    """Victims answer other attempts at one release."""
    enemy.session()
    for attempt, place in enumerate(enemy.victims.sites):
        enemy.ask(place, attempt=attempt)


def different_releases(enemy: Enemy) -> None:
    """Victims answer other releases."""
    enemy.session()
    for release, place in enumerate(enemy.victims.sites):
        enemy.ask(place, release)


def different_tasks(enemy: Enemy) -> None:
    """Victims answer other questions, as weights that single a site out would be."""
    enemy.session()
    last = RELEASES - 1
    honest = enemy.victims.tasks[last]
    for at, place in enumerate(enemy.victims.sites):
        enemy.ask(place, last, task=replace(honest, tensor=honest.tensor + at) if at else honest)


def asked_twice(enemy: Enemy) -> None:
    """One release and attempt is asked again: another set, another question, an older attempt."""
    enemy.session()
    last = RELEASES - 1
    victim = next(iter(enemy.victims.sites))
    honest = enemy.victims.tasks[last]
    for place in enemy.victims.sites:
        enemy.ask(place, last, 1)
    enemy.ask(victim, last, 1, members=enemy.members[:-1])
    enemy.ask(victim, last, 1, task=replace(honest, tensor=honest.tensor * 2))
    enemy.ask(victim, last, 0)


def too_few(enemy: Enemy) -> None:
    """A victim is asked among colluders alone, among fewer than the threshold, and without itself."""
    enemy.session()
    victim, *others = enemy.victims.sites
    enemy.ask(victim, members=sorted([victim, *enemy.private]))
    enemy.ask(victim, members=[victim])
    enemy.ask(victim, members=sorted([*others, *enemy.private]))


def nested_sets(enemy: Enemy) -> None:
    """All are asked, then all but one: totals, whose difference is what one site answered, at the price of both.

    Not prevented, but paid for: each carries its noise. It shows that `exposed` knows totals from answers.
    """
    enemy.session()
    lost = next(iter(enemy.victims.sites))
    for place in enemy.victims.sites:
        enemy.ask(place)
    for place in enemy.victims.sites:
        if place != lost:
            enemy.ask(place, attempt=1, members=[at for at in enemy.members if at != lost])


def copied_key(enemy: Enemy, flipped: int = 0) -> None:
    """A colluder takes a victim's public key for its own: masks with both would cancel in a third one's answer."""
    thief = min(enemy.private)

    def show(_place: int, frames: list[bytes]) -> list[bytes]:
        key = bytearray(enemy.public(max(enemy.victims.sites)))
        key[-1] ^= flipped
        return [enemy.opening(thief, bytes(key)) if at == thief else frame for at, frame in enumerate(frames)]

    enemy.session(show)
    for place in enemy.victims.sites:
        enemy.ask(place)


def copied_key_in_other_bytes(enemy: Enemy) -> None:
    """The same, with the bit set that X25519 does not read: another key to whoever compares, the same secret."""
    copied_key(enemy, _TOP_BIT)


def key_without_secret(enemy: Enemy) -> None:
    """A colluder's key is a point of low order: the secret with everybody is zero."""
    thief = min(enemy.private)
    enemy.session(lambda _place, frames: [enemy.opening(thief, bytes(32)), *frames[1:]])
    for place in enemy.victims.sites:
        enemy.ask(place)


def substituted_key(enemy: Enemy) -> None:
    """The coordinator makes an opening in a victim's name, with a key of its own."""
    stranger, victim = max(enemy.private), max(enemy.victims.sites)

    def show(place: int, frames: list[bytes]) -> list[bytes]:
        forged = enemy.opening(victim, signer=stranger)
        return [forged if at == victim != place else frame for at, frame in enumerate(frames)]

    enemy.session(show)
    for place in enemy.victims.sites:
        enemy.ask(place)


def reflected_opening(enemy: Enemy) -> None:
    """A victim is shown its own opening in all places of the others."""
    enemy.session(lambda place, frames: [frames[place]] * len(frames))
    for place in enemy.victims.sites:
        enemy.ask(place)


def split_transcripts(enemy: Enemy) -> None:
    """Each victim is shown another opening of a colluder, so that each is in a session of its own."""
    liar = min(enemy.private)

    def show(place: int, frames: list[bytes]) -> list[bytes]:
        return [enemy.opening(liar, bytes([9 + place]) * 32) if at == liar else one for at, one in enumerate(frames)]

    enemy.session(show)
    for place in enemy.victims.sites:
        enemy.ask(place)


def few_acknowledgements(enemy: Enemy) -> None:
    """Victims are in different sessions, and are shown the acknowledgements of colluders and of themselves alone."""
    liar = min(enemy.private)

    def show(place: int, frames: list[bytes]) -> list[bytes]:
        return [enemy.opening(liar, bytes([9 + place]) * 32) if at == liar else one for at, one in enumerate(frames)]

    def confirm(place: int, frames: list[bytes]) -> list[bytes]:
        return [frame if at == place or at in enemy.private else frames[liar] for at, frame in enumerate(frames)]

    enemy.session(show, confirm)
    for place in enemy.victims.sites:
        enemy.ask(place)


def before_confirmation(enemy: Enemy) -> None:
    """A round is asked before anybody has confirmed."""
    enemy.open()
    for place in enemy.victims.sites:
        enemy.join(place, enemy.openings)
    for place in enemy.victims.sites:
        enemy.ask(place)


def replayed_session(enemy: Enemy) -> None:
    """The messages of a session are shown again in the next."""
    enemy.session()
    before = list(enemy.openings)
    for place in enemy.victims.sites:
        enemy.ask(place)
    enemy.open()
    for place in enemy.victims.sites:
        enemy.join(place, before)
        enemy.ask(place, attempt=1)


def sessions_mixed(enemy: Enemy) -> None:
    """Victims answer one round in different sessions."""
    enemy.session()
    first, *others = enemy.victims.sites
    enemy.ask(first)
    enemy.session()
    for place in others:
        enemy.ask(place)


def malformed(enemy: Enemy) -> None:
    """Frames that are none: each is refused in a word, and nothing else leaves."""
    enemy.session()
    for place, site in enemy.victims.sites.items():
        for frame in (b"", b"SILO", os.urandom(200), bytes(1 << 20)):
            for answered in (site.answer_frame(frame), site.session_frame(frame)):
                enemy.refused.append(f"{len(answered)} bytes")
        enemy.ask(place)


ATTACKS: Final[Mapping[str, Callable[[Enemy], None]]] = {
    attack.__name__: attack
    for attack in (
        different_sets,
        different_attempts,
        different_releases,
        different_tasks,
        asked_twice,
        too_few,
        nested_sets,
        copied_key,
        copied_key_in_other_bytes,
        key_without_secret,
        substituted_key,
        reflected_opening,
        split_transcripts,
        few_acknowledgements,
        before_confirmation,
        replayed_session,
        sessions_mixed,
        malformed,
    )
}
"""Every attack by its name."""
