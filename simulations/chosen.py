"""What a person chooses instead of what a study file says: engine, trust, epsilon. The choice is part of the study."""

from dataclasses import replace

from silosynth.common.engines import CODECS
from silosynth.common.errors import InvalidInput
from silosynth.common.plan import resolve
from silosynth.common.study import Member, Study, Trust
from silosynth.common.study_file import AUTO

_CAPACITY = 1024  # of sites imagined: neither what a study costs nor its noise depends on it


def chosen(
    study: Study, *, engine: str | None = None, trust: str | None = None, epsilon: float | None = None
) -> tuple[Study, tuple[str, ...]]:
    """The study with what was chosen (None: as it is), and what a person should know about it.

    Settings under [engine] mean something to one engine only: with another one they are dropped, and a note says so.

    Raises:
        InvalidInput: for a choice that there is not.
    """
    notes: tuple[str, ...] = ()
    if engine is not None and check_engine(engine, "--engine") != study.engine:
        if study.settings:
            names = ", ".join(name for name, _ in study.settings)
            notes = (f"engine {engine} runs with its defaults: {names} under [engine] are for {study.engine}",)
        study = replace(study, engine=engine, settings=())
    if trust is not None:
        study = replace(study, trust=check_trust(trust, "--trust"))
    if epsilon is not None:
        study = replace(study, budget=replace(study.budget, epsilon=check_epsilon(epsilon, "--epsilon")))
    return study, notes


def imagined(study: Study, sites: int) -> Study:
    """The study as if so many sites took part, with keys where sums are masked: planned, and never run.

    Raises InvalidStudy for settings or a budget that make no plan.
    """
    keyed = study.trust is Trust.SECURE_SUM
    numbers = range(1, sites + 1)
    return resolve(study, tuple(Member(f"site-{at}", _CAPACITY, f"{at:064x}" if keyed else "") for at in numbers))


def check_engine(name: str, option: str) -> str:
    """`name`, if there is such an engine. Raises InvalidInput, which names the option it came from."""
    if name not in (known := (AUTO, *CODECS)):
        raise InvalidInput(f"{option} {name}: there is no such engine; this version has {', '.join(known)}")
    return name


def check_trust(name: str, option: str) -> Trust:
    """The way of trust with that name. Raises InvalidInput."""
    if name not in list(Trust):
        raise InvalidInput(f"{option} {name}: there is no such way of trust; choose {' or '.join(Trust)}")
    return Trust(name)


def check_epsilon(epsilon: float, option: str) -> float:
    """`epsilon`, if a study can have it. Raises InvalidInput."""
    if not epsilon > 0:  # also true of NaN
        raise InvalidInput(f"{option} {epsilon:g}: epsilon must be above 0; 1 is a sound first choice")
    return epsilon
