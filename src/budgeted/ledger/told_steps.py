"""How work that takes long on a whole ledger tells which step it is at, and how far."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from typing import Protocol, TypeAlias

Tell: TypeAlias = Callable[[int], object]
"""Told how many more lines, bytes or accounts are done."""


class Step(Protocol):
    """Entered around each step of long work; what it gives is told how far the step is."""

    def __call__(self, what: str, total: int | None = None, *, changes: bool = False) -> AbstractContextManager[Tell]:
        """Begin a step.

        Args:
            what: what is done, such as ``"copying"``.
            total: how much there is to do; None where that is not known, or not told.
            changes: whether something that lasts is changed from here on, so that an interruption leaves a part of it.
        """


@contextlib.contextmanager
def untold(what: str, total: int | None = None, *, changes: bool = False) -> Iterator[Tell]:  # noqa: ARG001 - nobody asks
    """A step that nobody looks at."""
    yield lambda _: None
