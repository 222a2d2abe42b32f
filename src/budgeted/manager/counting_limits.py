"""Which limits of an account count the calls of a model, and in which of their periods."""

from __future__ import annotations

import datetime as dt
from typing import TypeAlias

import msgspec

from budgeted.ledger.accounts import USD, Slot
from budgeted.ledger.limit_conversion import counts, limit_of
from budgeted.limits.limit import Limit
from budgeted.limits.periods import NEVER

Windows: TypeAlias = tuple[tuple[str, int, int], ...]
"""Limits of an account, each with the start and the end of its period in unix seconds."""

MOST_KEPT = 1_000
"""Sets of limits and their periods that are kept in mind."""


class Counting(msgspec.Struct, frozen=True, gc=False):
    """The limits of an account that count some calls, from ``begins`` to ``ends`` (unix seconds).

    ``around`` has for each the start of the period before, and the end of the period after. ``priced`` tells whether
    one is in USD, ``ahead`` whether one has seen a later period than the clock tells: a clock set back reopens none.
    """

    windows: Windows
    around: tuple[tuple[int, int], ...]
    begins: int
    ends: int
    priced: bool
    ahead: bool


class CountingLimits:
    """Finds them in a time zone, once for all accounts that have the same ones: most users have."""

    def __init__(self, tz: dt.tzinfo) -> None:
        self._tz = tz
        self._known: dict[tuple[str, str, tuple[tuple[str, int], ...]], Counting] = {}

    def of(self, slots: tuple[Slot, ...], provider: str, model: str, at: int) -> Counting:
        """The limits among an account's that count a call of a model at a time (unix seconds)."""
        key = provider, model, tuple([(slot.limit, slot.start) for slot in slots])
        found = self._known.get(key)
        if found is None or not found.begins <= at < found.ends:
            found = self._find(slots, provider, model, at)
            if len(self._known) >= MOST_KEPT:
                self._known.clear()
            self._known[key] = found
        return found

    def _find(self, slots: tuple[Slot, ...], provider: str, model: str, at: int) -> Counting:
        windows = []
        around = []
        begins, ends = 0, NEVER
        priced = ahead = False
        for slot in slots:
            limit = limit_of(slot)
            if not counts(limit, provider, model):
                continue
            start, end = limit.window(at, self._tz)
            begins, ends = max(begins, start), min(ends, end)
            if slot.start > start:
                start, end, ahead = slot.start, slot.end, True
            windows.append((slot.limit, start, end))
            around.append(self._around(limit, start, end))
            priced = priced or slot.unit == USD
        return Counting(tuple(windows), tuple(around), begins, ends, priced, ahead)

    def _around(self, limit: Limit, start: int, end: int) -> tuple[int, int]:
        before = limit.window(start - 1, self._tz)[0] if start else 0
        return before, limit.window(end, self._tz)[1] if end < NEVER else NEVER
