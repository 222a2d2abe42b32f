"""Log records of what may happen over and over: of those that are alike one a minute, with how many it stands for.

A job that loops all night over calls that nobody confirms is to fill no disk. What was left out is counted by the next
record; the rest is written when the manager is closed, or the process ends.
"""

from __future__ import annotations

import contextlib
import logging
import math
import weakref
from collections.abc import Hashable, Mapping

from budgeted.system.forks import at_fork

logger = logging.getLogger("budgeted")

SECONDS = 60.0
"""How long after a record the next one like it is written."""

MOST_KEYS = 1_000
"""Beyond as many, the rest counts as alike: a model's name may be invented."""


def say(level: int, text: str, args: tuple[object, ...], fields: Mapping[str, object]) -> None:
    """Write a record. A filter or handler of the application's may raise, and yet what was paid for is returned.

    Args:
        level: of :mod:`logging`.
        text: the message.
        args: for the message.
        fields: the record's attributes.
    """
    with contextlib.suppress(Exception):
        logger.log(level, text, *args, extra=fields)


class _Line:
    """Records that are alike: when one was written, how many were not since, and the last of these."""

    __slots__ = ("args", "at", "fields", "left", "level", "text")

    level: int
    text: str
    args: tuple[object, ...]
    fields: Mapping[str, object]

    def __init__(self) -> None:
        self.at = -math.inf
        self.left = 0

    def write(self) -> None:
        """Write one record for all that are left."""
        count, self.left = self.left, 0
        if count == 1:
            say(self.level, self.text, self.args, self.fields)
        elif count > 1:
            fields = {**self.fields, "budgeted.count": count}
            text = self.text + " (the last of %d alike)"
            say(self.level, text, (*self.args, count), fields)


class Repeats:
    """What one manager has to say over and over.

    Nothing here takes a lock, as it comes up in finalisers as well: threads that come in the same instant may write
    two records instead of one.
    """

    def __init__(self) -> None:
        self._lines: dict[Hashable, _Line] = {}
        _all[weakref.ref(self, _all.pop)] = None

    def log(
        self, key: Hashable, at: float, level: int, text: str, args: tuple[object, ...], fields: Mapping[str, object]
    ) -> None:
        """Write a record, or count it for the next one.

        Args:
            key: what is alike has the same.
            at: now, in unix seconds.
            level: of :mod:`logging`.
            text: the message.
            args: for the message.
            fields: the record's attributes.
        """
        if key not in self._lines and len(self._lines) >= MOST_KEYS:
            key = None
        line = self._lines.setdefault(key, _Line())
        line.level, line.text, line.args, line.fields = level, text, args, fields
        line.left += 1
        if not 0 <= at - line.at < SECONDS:
            line.at = at
            line.write()

    def write_rest(self) -> None:
        """Write what was counted, and not written, so far."""
        for line in list(self._lines.values()):
            line.write()

    def forget(self) -> None:
        """Begin anew."""
        self._lines.clear()


# A dict, since its keys can be listed while other threads add to it; a WeakSet's cannot.
_all: dict[weakref.ref[Repeats], None] = {}


def write_rest() -> None:
    """Write what all managers have counted, and not written."""
    for one in list(_all):
        if (repeats := one()) is not None:
            repeats.write_rest()


def _after_fork() -> None:
    """What was counted is the parent's to tell."""
    for one in list(_all):
        if (repeats := one()) is not None:
            repeats.forget()


at_fork(after_in_child=_after_fork)
