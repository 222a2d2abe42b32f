"""A sliced ledger for the tests of every ledger: it takes slices for all calls, and tells of them when it is asked."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.sliced import coming_and_going, slices
from budgeted.ledger.sliced.ledger import SlicedLedger

TOLD_FIRST = (
    "read",
    "accounts",
    "rollups",
    "spent_most",
    "uncertain",
    "uncertain_page",
    "uncertain_sums",
    "open_holds",
    "everything",
)
"""What is asked of the shared ledger, which a round later would know by itself what the tests look for at once."""


@contextmanager
def eager() -> Iterator[None]:
    """Have each call take a slice where two have room, which leaves half of what is left."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slices, "STARTS_AT", 1)
        patch.setattr(slices, "SHARE", 2)
        patch.setattr(coming_and_going, "LEAST", 2)
        patch.setattr(coming_and_going, "FIRST", 2)
        yield


class ToldAtOnce(SlicedLedger):
    """One whose balances are those of the calls that were made, not of the slices that they were made in."""


def _told_first(name: str) -> Callable[..., Any]:
    def verb(self: ToldAtOnce, *args: Any, **more: Any) -> Any:
        self.give_back()
        return getattr(super(ToldAtOnce, self), name)(*args, **more)

    return verb


for _name in TOLD_FIRST:
    setattr(ToldAtOnce, _name, _told_first(_name))


def sliced() -> ToldAtOnce:
    """Slices of a ledger in memory. What it does in the background, it does at once."""
    return ToldAtOnce(MemoryLedger(), later=lambda job: job())
