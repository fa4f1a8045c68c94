"""Attacks on a synthetic table by one who has it: what it gives away about the people it was learnt from.

`attack_all` runs them. For places where real rows may be pooled only: a simulation, or the eyes of one site. An attack
that finds nothing proves nothing; what holds against every attack is the epsilon of the certificate.
"""

from silosynth.common.evaluate.attacks.driver import attack_all
from silosynth.common.evaluate.attacks.outcome import Attack, Attacks, Skipped
from silosynth.common.evaluate.attacks.scene import Budget

__all__ = ["Attack", "Attacks", "Budget", "Skipped", "attack_all"]
