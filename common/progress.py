"""How long work says where it is. A caller hands in one function; what it prints is the caller's business."""

from typing import Protocol


class Progress(Protocol):
    """Called often (at least every two seconds of work), from the thread that works. Must be cheap and never raise."""

    def __call__(self, phase: str, done: int, of: int, note: str = "") -> None:
        """Step `done` of `of` in `phase` is finished (`of` 0: unknown). `note`: a few words, never values of rows."""
        ...


def silent(phase: str, done: int, of: int, note: str = "") -> None:
    """The progress of one who does not want to know."""
