"""An engine's hyper-parameters: its defaults, with those that a study states in their place."""

from collections.abc import Collection
from dataclasses import fields, replace
from typing import TYPE_CHECKING, TypeVar

from silosynth.common.errors import InvalidStudy
from silosynth.common.study import Study

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

Settings = TypeVar("Settings", bound="DataclassInstance")


def settled(study: Study, defaults: Settings, most: Settings, may_be_none: Collection[str] = ()) -> Settings:
    """`defaults` with the study's own. `most`: of each; above 0, but for those that `may_be_none`.

    Raises InvalidStudy for a name or value that means nothing.
    """
    known = {entry.name for entry in fields(defaults)}
    for name, value in study.settings:
        if name not in known:
            raise InvalidStudy(f"engine setting {name!r} is unknown; known are {', '.join(sorted(known))}")
        limit = getattr(most, name)
        if not (0 < value <= limit or (value == 0 and name in may_be_none)) or value != type(limit)(value):
            wanted = "number" if isinstance(limit, float) else "whole number"
            raise InvalidStudy(f"engine setting {name!r} must be a positive {wanted} of at most {limit}")
        defaults = replace(defaults, **{name: type(limit)(value)})
    return defaults
