"""Names in order, of which a page is found at once, however many there are."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Iterable
from operator import itemgetter

SIZE = 250
"""Names that stand together at most; twice as many are split. Adding one moves those behind it, and no others."""

_first = itemgetter(0)


class SortedNames:
    """A sorted set of names."""

    __slots__ = ("_groups",)

    def __init__(self, names: Iterable[str] = ()) -> None:
        ordered = sorted(names)
        # None of them is empty. Tuples, since the collector of garbage looks at what is in lists again and again.
        self._groups = [tuple(ordered[i : i + SIZE]) for i in range(0, len(ordered), SIZE)]

    def add(self, name: str) -> None:
        """Add a name, unless it is there."""
        groups = self._groups
        if not groups:
            groups.append((name,))
            return
        number = max(0, bisect.bisect_right(groups, name, key=_first) - 1)
        group = groups[number]
        at = bisect.bisect_left(group, name)
        if at == len(group) or group[at] != name:
            group = (*group[:at], name, *group[at:])
            if len(group) > 2 * SIZE:
                groups[number : number + 1] = [group[:SIZE], group[SIZE:]]
            else:
                groups[number] = group

    def discard(self, name: str) -> None:
        """Remove a name, if it is there."""
        number = bisect.bisect_right(self._groups, name, key=_first) - 1
        if number < 0:
            return
        group = self._groups[number]
        at = bisect.bisect_left(group, name)
        if at < len(group) and group[at] == name:
            if len(group) == 1:
                del self._groups[number]
            else:
                self._groups[number] = (*group[:at], *group[at + 1 :])

    def page(self, prefix: str, after: str | None, count: int) -> list[str]:
        """The first names with a prefix, behind ``after``, at most ``count``."""
        begin = prefix if after is None or after < prefix else after
        number = max(0, bisect.bisect_right(self._groups, begin, key=_first) - 1)
        names: Iterable[str] = itertools.chain.from_iterable(itertools.islice(self._groups, number, None))
        if self._groups:
            names = itertools.islice(names, bisect.bisect_left(self._groups[number], begin), None)
        behind = (name for name in names if name != after)
        return list(itertools.islice(itertools.takewhile(lambda name: name.startswith(prefix), behind), count))
