"""A time zone as a table: from which instant on which offset holds, found by asking for it day by day."""

from __future__ import annotations

import bisect
import datetime as dt
import zoneinfo

DAY = 86_400
MARGIN = 2200 * DAY
"""How far beyond what is asked for a table is right: longer than any period that is looked up."""

EPOCH = dt.datetime(1970, 1, 1)  # noqa: DTZ001 - a local time


class ZoneTable:
    """A zone over some years.

    Args:
        name: as IANA has it.
        first: unix seconds from which on the table is right.
        last: until when.

    Attributes:
        starts: when each offset begins to hold, ascending.
        offsets: seconds east of UTC, as many.
        epoch: when the clocks showed the first moment of 1970.
    """

    def __init__(self, name: str, first: int, last: int) -> None:
        self.tz = zoneinfo.ZoneInfo(name)
        # Farther from the table than from any change of the clocks: the years before are looked at for it.
        self.epoch = 0 if first < 0 else ZoneTable(name, -DAY, DAY).instant(EPOCH)
        self.starts: list[int] = [first - MARGIN]
        self.offsets: list[int] = [self._offset(self.starts[0])]
        for day in range(self.starts[0], last + MARGIN, DAY):
            if self._offset(day + DAY) != self.offsets[-1]:
                self._add_changes(day, day + DAY)

    def _offset(self, at: int) -> int:
        offset = dt.datetime.fromtimestamp(at, self.tz).utcoffset()
        assert offset is not None
        return int(offset.total_seconds())

    def _add_changes(self, low: int, high: int) -> None:
        """Every change of the offset between two instants."""
        for hour in range(low, high, 900):
            begin, end = hour, hour + 900
            while self._offset(end) != self.offsets[-1]:
                left, right = begin, end
                while right - left > 1:
                    middle = (left + right) // 2
                    if self._offset(middle) == self.offsets[-1]:
                        left = middle
                    else:
                        right = middle
                self.starts.append(right)
                self.offsets.append(self._offset(right))
                begin = right

    def changes(self) -> list[tuple[int, int]]:
        """When the clocks are set, and by how many seconds: more than 0 forwards."""
        steps = zip(self.starts[1:], self.offsets, self.offsets[1:], strict=False)
        return [(start, after - before) for start, before, after in steps]

    def local(self, at: int) -> dt.datetime:
        """What the clocks show at an instant."""
        offset = self.offsets[bisect.bisect_right(self.starts, at) - 1]
        return EPOCH + dt.timedelta(seconds=at + offset)

    def instant(self, local: dt.datetime) -> int:
        """When the clocks show a local time: the first time they do; one that they skip is as far behind the jump."""
        seconds = round((local - EPOCH).total_seconds())
        ends = [*self.starts[1:], 2**62]
        for start, end, offset in zip([-(2**62), *self.starts[1:]], ends, self.offsets, strict=True):
            if start <= seconds - offset < end:
                return seconds - offset
            if end <= seconds - offset and end < 2**62:
                following = self.offsets[ends.index(end) + 1]
                if seconds - following < end:  # skipped
                    return seconds - offset
        raise AssertionError(local)
