"""Periods in all time zones, and limits under clocks that are set forward and back, stopped and wrong.

Each kind of period is looked up in zones over some years, around every change of their clocks, and compared with a
calendar that is reckoned by other means. Then processes that share a ledger charge limits of many periods, each by a
clock of its own that jumps, goes back, sleeps or is wrong for a while: every period is reset exactly once, none is
reopened, a hold counts in the period it was made in, and a clock that the boot clock contradicts is not believed.
"""

from __future__ import annotations

import calendar
import contextlib
import datetime as dt
import logging
import random
import zoneinfo
from collections.abc import Sequence
from typing import Any

import msgspec
from ledgers import opened
from servers import postgres_url, project

from budgeted import BudgetManager, Limit
from budgeted.ledger import background_worker
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.limit_conversion import spec
from budgeted.limits.periods import Period, window
from budgeted.limits.trusted_clock import TOLERANCE, TrustedClock
from budgeted.metering.manual_hold import Hold
from proof.calendars import boundaries
from proof.calendars.zone_table import DAY, MARGIN, ZoneTable
from proof.trial import CannotRun, Case, Trial

SHORT, LONG = 12.0, 150.0

YEARS = 3
"""How many years of a zone a case looks at."""

PERIODS = tuple(
    Period(count, unit)
    for unit, counts in {
        "second": (1, 7, 45),
        "minute": (1, 7, 30, 90),
        "hour": (1, 5, 6, 12, 36),
        "day": (1, 2, 30, 45),
        "week": (1, 2, 5),
        "month": (1, 2, 3, 5),
        "year": (1, 3, 4),
    }.items()
    for count in counts
)

ODD = (
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Asuncion",
    "America/Havana",
    "America/Santiago",
    "America/Sao_Paulo",
    "Antarctica/Troll",
    "Asia/Amman",
    "Asia/Beirut",
    "Asia/Gaza",
    "Asia/Tehran",
    "Atlantic/Azores",
    "Australia/Lord_Howe",
    "Pacific/Apia",
)
"""Zones that skip midnights or days, or set their clocks by half an hour, by two, or four times a year."""

SECURE = 61.0
"""Seconds that a clock is believed without a look at the boot clock."""


def run(trial: Trial) -> None:
    """Try calendars, then clocks on each kind of ledger."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)
    background_worker.PERIOD = 1e6  # by a clock that is wrong, a hold may seem to be one that nobody ends
    zones = sorted(zoneinfo.available_timezones() - {"localtime"})
    if len(zones) < 300:
        trial.left_out("this machine knows few time zones")
    trial.random_cases("calendar", lambda case: try_calendar(case, zones), 0.4)
    trial.random_cases("clock", try_clock, 0.02)
    for kind, share in {"memory": 0.1, "journal": 0.14, "sqlite": 0.14, "postgresql": 0.2}.items():
        try:
            trial.random_cases(kind, lambda case: try_limits(case, zones), share)
        except CannotRun as reason:
            trial.left_out(f"{kind}: {reason}")


# -- calendars


def try_calendar(case: Case, zones: Sequence[str]) -> None:
    """All periods in one zone, over some years."""
    rng = case.rng
    odd = [name for name in ODD if name in zones]
    name = rng.choice(odd if rng.random() < 0.4 else zones)
    if case.trial.long and case.number % 2:
        name = zones[case.number // 2 % len(zones)]  # all of them, sooner or later
    year = rng.randrange(1971, 2060) if rng.random() < 0.5 else rng.randrange(1990, 2026)
    first = int(dt.datetime(year, 1, 1, tzinfo=dt.UTC).timestamp())
    last = first + YEARS * 365 * DAY
    zone = ZoneTable(name, first, last)
    case.tell(f"{name} from {first}")
    instants = [rng.randrange(first, last) for _ in range(12)]
    for at, step in zone.changes():
        if first <= at < last:
            case.fault("a clock is set forward" if step > 0 else "a clock is set back", f"at {at} by {step} s")
            if zone.local(at).date() != zone.local(at - 1).date() and step > 0:
                case.fault("a day is skipped" if step >= DAY // 2 else "a midnight is skipped")
            instants += [at - DAY, at - step, at - 1, at, at + 1, at + abs(step), at + DAY]
    for period in PERIODS:
        anchor = _anchor(rng, zone)
        case.tell(f"every {period} from {anchor!r}")
        for at in instants:
            _look(period, anchor, at, zone)
        case.trial.case("calendar", len(instants))


def _anchor(rng: random.Random, zone: ZoneTable) -> dt.date | None:
    """None, a date, or a local or aware time, of the years that are looked at: the 31st and leap days above all."""
    if rng.random() < 0.4:
        return None
    near = zone.local(rng.randrange(zone.starts[0] + MARGIN, zone.starts[0] + MARGIN + YEARS * 365 * DAY))
    month, day = rng.choice([(1, 31), (2, 28), (2, 29), (8, 31), (12, 31), (3, 30), (near.month, min(near.day, 28))])
    if (month, day) == (2, 29) and not calendar.isleap(near.year):
        day = 28
    local = near.replace(month=month, day=day)
    if rng.random() < 0.3:
        return local.date()
    return dt.datetime.fromtimestamp(zone.instant(local), dt.UTC) if rng.random() < 0.5 else local


def _look(period: Period, anchor: dt.date | None, at: int, zone: ZoneTable) -> None:
    """One instant: in its period, in the same as all of it, and with no gap to the next."""
    start, end = window(period, anchor, at, zone.tz)
    right = boundaries.window(period, anchor, at, zone)
    assert (start, end) == right, f"every {period} from {anchor!r}: {at} is in {(start, end)}, should be in {right}"
    assert start <= at < end
    assert window(period, anchor, start, zone.tz) == window(period, anchor, end - 1, zone.tz) == (start, end)
    assert window(period, anchor, end, zone.tz)[0] == end, f"every {period}: behind {end} comes another beginning"


# -- the boot clock


def try_clock(case: Case) -> None:
    """A wall clock that jumps, and a boot clock that tells."""
    machine = Machine(case)
    for _ in range(60):
        machine.go_on()
        told = machine.clock()
        right = machine.true
        assert told <= right + 2 * TOLERANCE + SECURE, f"{told - right} s ahead is believed"
        if machine.wrong <= 0:
            assert told == machine.wall, "a clock that is right, or behind, is not believed"
    case.trial.case("clock", 60)


class Machine:
    """A machine with a wall clock that is set, a boot clock that is not, and the time that it is.

    Attributes:
        true: the time that it is.
        wrong: seconds that the wall clock is ahead of it, beyond what a time server does.
    """

    def __init__(self, case: Case, true: float = 1_800_000_000.0) -> None:
        self._case = case
        self.true = true
        self.drift = 0.0
        self.wrong = 0.0
        self._booted = true - case.rng.uniform(10, 10**6)
        self.clock = TrustedClock(lambda: self.wall, lambda: self.true - self._booted)

    @property
    def wall(self) -> float:
        """What the wall clock says."""
        return self.true + self.drift + self.wrong

    def go_on(self) -> None:
        """Time goes by, and something may happen to the clock."""
        rng, case = self._case.rng, self._case
        self.true += rng.choice([0.0, 1.0, 30.0, 3000.0, rng.uniform(0, 5 * 3600)])
        what = rng.randrange(12)
        if what == 0:
            self.true += rng.uniform(3600, 40 * DAY)
            case.fault("a machine sleeps")
        elif what == 1:
            self.wrong = rng.uniform(2 * TOLERANCE + SECURE, 500 * DAY)
            case.fault("a clock jumps ahead")
        elif what == 2:
            self.wrong = -rng.uniform(1, 40 * DAY)
            case.fault("a clock is set back")
        elif what == 3:
            self.drift = rng.uniform(-20, 20)
            case.fault("a time server sets a clock")
        elif what < 8:
            self.wrong = 0.0
        case.tell(f"it is {self.true:.0f}, the clock says {self.wall:.0f}")


# -- limits


class Expected(msgspec.Struct):
    """What a limit must have: the period that it is in, how it began, and what was charged in it (nano-USD)."""

    limit: Limit
    start: int = 0
    spent: int = 0
    held: int = 0
    resets: int = 0


class Open(msgspec.Struct):
    """A call in flight: its hold, what is held, and the periods that it was held in."""

    hold: Hold
    usd: int
    starts: tuple[int, ...]


def try_limits(case: Case, zones: Sequence[str]) -> None:
    """Processes that share a ledger, each with a clock of its own, and a limit of many periods."""
    rng = case.rng
    name = rng.choice(zones)
    begin = rng.randrange(int(dt.datetime(1990, 1, 1, tzinfo=dt.UTC).timestamp()), 2_500_000_000)
    zone = ZoneTable(name, begin, begin + 2 * 365 * DAY)
    limits = [Limit(10**6, period) for period in rng.sample(PERIODS, 6)]
    case.tell(f"{name}: {', '.join(map(str, limits))}")
    with contextlib.ExitStack() as stack:
        machines, managers = [], []
        for ledger in _ledgers(case, stack):
            machine = Machine(case, begin + rng.uniform(-3600, 3600))
            manager = BudgetManager(
                "p",
                ledger=ledger,
                max_budget=limits if not managers else None,
                timezone=name,
                clock=machine.clock if rng.random() < 0.5 else lambda machine=machine: machine.wall,  # type: ignore[misc]
                hold_timeout=1e15,
                alerts=(),
            )
            machines.append(machine)
            managers.append(stack.enter_context(manager))
        Walk(case, zone, machines, managers, limits).go()


def _ledgers(case: Case, stack: contextlib.ExitStack) -> list[Any]:
    """The ledger of a kind, as two processes have it; one in memory is one process's."""
    if case.subject == "memory":
        return ["memory://"]
    if case.subject == "journal":
        return [stack.enter_context(contextlib.closing(JournalLedger(case.directory / "l"))) for _ in range(2)]
    try:
        where = f"sqlite:///{case.directory / 'l.db'}" if case.subject == "sqlite" else postgres_url()
    except ImportError as error:
        raise CannotRun(str(error)) from error
    name = project()
    return [opened(where, name) for _ in range(2)]


class Walk:
    """Calls of several processes, and what every limit must say after each."""

    def __init__(
        self,
        case: Case,
        zone: ZoneTable,
        machines: Sequence[Machine],
        managers: Sequence[BudgetManager],
        limits: Sequence[Limit],
    ) -> None:
        self.case, self.zone, self.machines, self.managers = case, zone, machines, managers
        account = managers[0].ledger.read("g")
        assert account is not None
        by_id = {spec(limit, 0, zone.tz).limit: limit for limit in limits}
        self.expected = [Expected(by_id[slot.limit], slot.start) for slot in account.slots]
        self.open: list[Open] = []
        self.charged = 0

    def go(self) -> None:
        """A number of steps."""
        for _ in range(25):
            turn = self.case.rng.randrange(len(self.managers))
            self.machines[turn].go_on()
            what = self.case.rng.random()
            if what < 0.6 or not self.open:
                self._hold(turn)
            if what > 0.3 and self.open:
                self._settle(self.open.pop(self.case.rng.randrange(len(self.open))))
            self._compare(turn)
            self.case.trial.case(self.case.subject)
        while self.open:
            self._settle(self.open.pop())
        self._compare(0)

    def _hold(self, turn: int) -> None:
        manager = self.managers[turn]
        at = int(manager.payer.clock())
        usd = self.case.rng.randrange(1, 10**9)
        hold = manager.hold(cost=usd / 10**9)
        hold.__enter__()
        for one in self.expected:
            assert one.limit.period is not None
            start, _ = boundaries.window(one.limit.period, None, at, self.zone)
            if start > one.start:  # and never back
                one.start, one.spent, one.held, one.resets = start, 0, 0, one.resets + 1
            one.held += usd
        self.open.append(Open(hold, usd, tuple(one.start for one in self.expected)))
        self.case.tell(f"{turn} holds {usd} at {at}")

    def _settle(self, call: Open) -> None:
        cost = self.case.rng.randrange(2 * call.usd)
        call.hold.settle(cost=cost / 10**9)
        call.hold.__exit__(None, None, None)
        self.charged += cost
        for one, start in zip(self.expected, call.starts, strict=True):
            if one.start == start:  # else it belongs to a period that has ended
                one.held -= call.usd
                one.spent += cost
        self.case.tell(f"what held {call.usd} costs {cost}")

    def _compare(self, turn: int) -> None:
        ledger = self.managers[turn].ledger
        account = ledger.read("g")
        assert account is not None
        found = [(slot.start, slot.spent, slot.held) for slot in account.slots]
        right = [(one.start, one.spent, one.held) for one in self.expected]
        for one, is_, should in zip(self.expected, found, right, strict=True):
            assert is_ == should, f"{one.limit}: (start, spent, held) is {is_}, should be {should}"
        assert account.usd == self.charged, "what was charged in all does not follow the periods"
