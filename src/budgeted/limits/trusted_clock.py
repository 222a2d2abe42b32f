"""What time it is, as far as the clock of this boot does not contradict it.

A limit's period that has begun is never reopened, so a wall clock that is wrong and ahead for one call would lock the
limits of that call for as long as it is ahead. The boot clock tells better: nobody sets it, and it goes on while the
machine sleeps. From a moment at which both were read, it draws a line of what the wall clock should say.

- *Ahead of the line* by more than :data:`TOLERANCE`: contradicted. It is told as an error, once an hour, and calls are
  counted where the line says. A long suspend is no contradiction, since the boot clock counts it.
- *Behind the line*: believed, as it can do no harm. No period is reopened, so that calls count in the one that has
  begun. The line stays: if the clock was set back by mistake, it comes forward again without being contradicted.
- *A clock that was wrong when the process began*: if it was ahead, and is put right, it is behind the line, and
  believed. If it was behind, and is put right, it is contradicted, and the process stays behind until it is started
  anew: as all limits go on, with periods as long as they are, it is never locked up, and the error says what to do. A
  clock that says a time before this package was written had not been set at all: then whatever comes later is believed.
- *A virtual machine that was halted* does not count that on its boot clock. It is told, and it stays behind, likewise.
- *Small steps*, as a time server makes them, are within the tolerance; an hour later the line is drawn anew.
- *A boot clock that goes back* is another machine's: the process was moved, and the line is drawn anew.

What was begun by mistake all the same, by a process that was started with a wrong clock, is brought back by
``budgeted repair --period``.
"""

from __future__ import annotations

import datetime as dt
import logging
import math
import time
from collections.abc import Callable
from typing import Final

from budgeted.limits.periods import local_time
from budgeted.system.clocks import boot_time

logger = logging.getLogger("budgeted")

TOLERANCE: Final = 300.0
"""Seconds that the wall clock may be ahead of what the boot clock says."""

REDRAWN: Final = 3600.0
"""Seconds after which the line is drawn anew, and after which a contradiction is told again."""

UNSET: Final = dt.datetime(2025, 1, 1, tzinfo=dt.UTC).timestamp()
"""A clock that says an earlier time was not set yet, as on machines whose clock has no battery."""

_SURE: Final = 60.0
"""Seconds that the wall clock may go on by without a look at the boot clock: well below the tolerance."""


class TrustedClock:
    """A wall clock that is not believed where a boot clock contradicts it. Calling it returns unix seconds.

    Any thread, finaliser or signal handler may ask: it takes no lock. From ``seen`` on and before ``sure_until`` (unix
    seconds) the wall clock is believed without a look at the other one.

    Args:
        wall: returns unix seconds; None for ``time.time``.
        boot: returns seconds by a clock that nobody sets.

    Example:
        >>> clock = TrustedClock(wall=lambda: 1_800_000_000.0, boot=lambda: 50.0)
        >>> clock()
        1800000000.0
    """

    __slots__ = ("_boot", "_drawn_at", "_line", "_told", "_wall", "seen", "sure_until")

    def __init__(self, wall: Callable[[], float] | None = None, boot: Callable[[], float] = boot_time) -> None:
        self._wall = wall
        self._boot = boot
        self._told = -math.inf
        self.trust()

    def __call__(self) -> float:
        """The time, in unix seconds."""
        # Not bound to a name of its own: whoever puts another time.time there is believed, as far as it goes.
        now = time.time() if self._wall is None else self._wall()
        return now if self.seen <= now < self.sure_until else self.checked(now)

    def trust(self) -> None:
        """Believe the wall clock as it is now, whatever it said before."""
        now, boot = time.time() if self._wall is None else self._wall(), self._boot()
        self._line, self._drawn_at = now - boot, boot
        self.seen, self.sure_until = now, now + _SURE

    def checked(self, now: float) -> float:
        """The time, where the wall clock says ``now`` and has to be compared."""
        boot = self._boot()
        ahead = now - (self._line + boot)
        if boot < self._drawn_at or self._line + self._drawn_at < UNSET <= now:
            ahead = 0.0
            self._line, self._drawn_at = now - boot, boot
        if ahead > TOLERANCE:
            self.seen, self.sure_until = math.inf, -math.inf
            if boot - self._told >= REDRAWN:
                self._told = boot
                _tell(now, ahead)
            return self._line + boot
        if ahead >= -TOLERANCE and boot - self._drawn_at >= REDRAWN:
            self._line, self._drawn_at = now - boot, boot
        if self._told > -math.inf:
            self._told = -math.inf
            logger.warning("budgeted: the clock of this host agrees with its boot clock again, and is believed")
        self.seen, self.sure_until = now, now + _SURE
        return now


def _tell(now: float, ahead: float) -> None:
    logger.error(
        "budgeted: the clock of this host says %s, which is %s later than it can be since this process has read it: "
        "it is not believed, and calls are counted in the periods that the boot clock tells. Set the clock; or, if it "
        "is right now, start this process anew",
        local_time(now, dt.UTC).isoformat(timespec="seconds") if now < 2**37 else f"{now:.0f}",
        dt.timedelta(seconds=round(ahead)) if ahead < 2**37 else f"{ahead:.0f} s",
    )


_system: Final = TrustedClock()


def system_clock() -> float:
    """The time of this host, in unix seconds, as far as it is believed: one clock for all that this process has."""
    # As calling a TrustedClock has it: every guarded call asks twice, and a function is asked in half the time.
    now = time.time()
    return now if _system.seen <= now < _system.sure_until else _system.checked(now)


def is_system_clock(clock: Callable[[], float]) -> bool:
    """Whether a clock tells this host's time, rather than one that was injected, as in tests."""
    return clock is time.time or clock is system_clock
