"""Honest numbers: a synthetic table scored against the rows it was learnt from, between floor and ceiling.

`evaluate` computes, `summary` prints, `report.render` draws. Pure, and only for places where real rows may be pooled: a
simulation, or the eyes of one site.
"""

from silosynth.common.evaluate.case import Budget
from silosynth.common.evaluate.evaluation import evaluate
from silosynth.common.evaluate.scores import Score, Scores, summary

__all__ = ["Budget", "Score", "Scores", "evaluate", "summary"]
