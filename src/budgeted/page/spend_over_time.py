"""What was spent over time, as a few series that add up: by day or month from the rows that the ledger keeps."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple, TypeAlias, get_args

from budgeted.ledger import background_worker
from budgeted.ledger.limit_conversion import EPOCH
from budgeted.ledger.spending_records import RollupRow
from budgeted.limits.periods import local_time
from budgeted.manager.account_names import free_name
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.report_sums import Heading, Sums
from budgeted.manager.reports import heading_of
from budgeted.validation import shown

Period: TypeAlias = Literal["hour", "day", "month"]
"""What one bar of a chart is."""

PERIODS: Final[tuple[Period, ...]] = get_args(Period)

HEADINGS: Final = ("model", "user", "provider", "tool", "key")
"""What can be told apart over time, besides the values of a tag: ``tag:NAME``."""

MOST_NAMED: Final = 7
"""Series of the dearest names; what the others spent is one more."""

DAYS: Final = 30
"""Days that are looked back on, today among them."""

MONTHS: Final = 12
"""Months, likewise: within the 400 days that ledgers keep rows for."""

OTHERS: Final = "(others)"
NAMELESS: Final = "(unnamed)"
"""What a call without a model is under: an amount that was set aside by hand."""


class Spent(NamedTuple):
    """What was spent in one hour, day or month: nano-USD.

    Args:
        named: by name. What two have paid for is in both.
        rest: what is under no name.
        total: all of it, once.
        shared: what is under more than one name.
    """

    named: Mapping[str, int]
    rest: int = 0
    total: int = 0
    shared: int = 0


NOTHING: Final = Spent({})


@dataclass(frozen=True, slots=True)
class Series:
    """What was spent under one name.

    Attributes:
        name: a model, a user, ...; of the last ones what :attr:`SpendOverTime.others` and ``rest`` say.
        amounts: nano-USD in each period.
    """

    name: str
    amounts: tuple[int, ...]

    @property
    def total(self) -> int:
        """The sum of all periods, in nano-USD."""
        return sum(self.amounts)


@dataclass(frozen=True, slots=True)
class SpendOverTime:
    """What was spent over time: series that add up to the totals, less what is in more than one of them.

    Attributes:
        by: what the names are, as a report has it: ``"model"``, ``"user"``, ``"tag:feature"``, ...
        period: what one amount is of.
        starts: when each period began, in the project's time zone; the present one is the last.
        at: when this was summed up, to the minute.
        series: the dearest first, then what all others have spent, then what is under no name.
        totals: nano-USD in each period, each call once.
        shared: nano-USD that are in more than one series, as a team and its user have both paid for them.
        others: the name of the series of all others, or "" if there is none.
        rest: the name of the series of what is under no name, such as ``"(nobody)"``, or "".
        since: where amounts are known only from then on: when somebody began to watch; else None.
        unwatched: nano-USD that were spent since then while nobody watched: of no period that is known.
    """

    by: str
    period: Period
    at: dt.datetime
    starts: tuple[dt.datetime, ...]
    series: tuple[Series, ...]
    totals: tuple[int, ...]
    shared: int = 0
    others: str = ""
    rest: str = ""
    since: dt.datetime | None = None
    unwatched: int = 0

    @property
    def total(self) -> int:
        """All that was spent, in nano-USD, each call once."""
        return sum(self.totals)

    def colour(self, line: Series) -> int:
        """Which colour one of the series has: 0 to 6, 7 for that of all others, 8 for what is under no name."""
        if line.name == self.others:
            return MOST_NAMED
        return MOST_NAMED + 1 if line.name == self.rest else self.series.index(line)


def spend_by_days(books: BudgetManager, by: str, period: Literal["day", "month"]) -> SpendOverTime:
    """What a project spent per day or month: the last 30 days or 12 months.

    Args:
        books: the project's.
        by: what the series are: one of :data:`HEADINGS`, or ``tag:NAME``.
        period: of one amount.

    Raises:
        ValueError: ``by`` is no heading; the text quotes it.

    Example:
        >>> spend_by_days(books, "model", "day").series[0].name
        'gpt-5-mini'
    """
    heading, now = heading_over_time(by), _now(books)
    first_days = _last_days(now.date()) if period == "day" else _first_of_months(now.date())
    rows = _rows(books, first_days[0], heading.account)
    return _over_days(by, heading, period, now, first_days, rows)


def spend_of_account(books: BudgetManager, account: str, by: Sequence[str]) -> list[SpendOverTime]:
    """What one account spent per day in the last 30 days, under several headings.

    Args:
        books: the project's.
        account: the ledger's name of it.
        by: the headings: ``"model"``, ``"provider"``.

    Example:
        >>> [models] = spend_of_account(books, "u:alice", ("model",))
        >>> models.totals[-1]  # nano-USD, today
        1250000000
    """
    now = _now(books)
    first_days = _last_days(now.date())
    rows = _rows(books, first_days[0], account)
    headings = [(one, heading_over_time(one)._replace(account=account)) for one in by]
    return [_over_days(one, heading, "day", now, first_days, rows) for one, heading in headings]


def _now(books: BudgetManager) -> dt.datetime:
    return local_time(books.payer.clock(), books.payer.timezone)


def _over_days(
    by: str,
    heading: Heading,
    period: Literal["day", "month"],
    now: dt.datetime,
    first_days: Sequence[dt.date],
    rows: Iterable[RollupRow],
) -> SpendOverTime:
    sums = _sums_of_parts(heading, rows, lambda day: day if period == "day" else day.replace(day=1))
    starts = tuple(dt.datetime(day.year, day.month, day.day, tzinfo=now.tzinfo) for day in first_days)
    return over_time(by, period, now, starts, [sums.get(day, NOTHING) for day in first_days])


def sums_by(
    books: BudgetManager, heading: Heading, since: dt.date, part: Callable[[dt.date], dt.date]
) -> dict[dt.date, Spent]:
    """What was spent from a day on, by what part of the calendar each day belongs to."""
    return _sums_of_parts(heading, _rows(books, since, heading.account), part)


def _rows(books: BudgetManager, since: dt.date, account: str | None) -> list[RollupRow]:
    """The report's rows from a day on, of one account or of all."""
    background_worker.drain()
    return books.ledger.rollups(since.toordinal() - EPOCH, account)


def _sums_of_parts(
    heading: Heading, found: Iterable[RollupRow], part: Callable[[dt.date], dt.date]
) -> dict[dt.date, Spent]:
    rows: dict[int, list[RollupRow]] = {}
    for row in found:
        rows.setdefault(row.day, []).append(row)
    parts: dict[dt.date, list[RollupRow]] = {}
    for day, some in rows.items():
        parts.setdefault(part(dt.date.fromordinal(day + EPOCH)), []).extend(some)
    return {day: _spent(heading, some) for day, some in parts.items()}


def _spent(heading: Heading, rows: Iterable[RollupRow]) -> Spent:
    sums = Sums(heading, rows)
    named = {name: figures[0] for name, figures in sums.named.items()}
    return Spent(named, sums.rest[0], sums.total[0], sums.shared[0])


def over_time(
    by: str, period: Period, at: dt.datetime, starts: Sequence[dt.datetime], spent: Sequence[Spent]
) -> SpendOverTime:
    """Series of what was spent in each period: of the dearest names, of all others, and of what is under no name."""
    at = at.replace(second=0, microsecond=0)
    totals: dict[str, int] = {}
    for one in spent:
        for name, usd in one.named.items():
            totals[name] = totals.get(name, 0) + usd
    dearest = sorted((name for name, usd in totals.items() if usd), key=lambda name: (-totals[name], name))
    named = dearest[:MOST_NAMED]
    taken = set(totals)
    series = [
        Series(name or free_name(NAMELESS, taken), tuple(one.named.get(name, 0) for one in spent)) for name in named
    ]
    taken.update(line.name for line in series)
    others = tuple(_of_others(one, sum(line.amounts[i] for line in series)) for i, one in enumerate(spent))
    others_name = _add(series, OTHERS, others, taken)
    rest_name = _add(series, heading_of(by).rest, tuple(one.rest for one in spent), taken)
    sums, shared = tuple(one.total for one in spent), sum(one.shared for one in spent)
    return SpendOverTime(by, period, at, tuple(starts), tuple(series), sums, shared, others_name, rest_name)


def _of_others(one: Spent, named: int) -> int:
    """What of a period is in none of the other series."""
    return one.total + one.shared - one.rest - named


def _add(series: list[Series], name: str, amounts: tuple[int, ...], taken: set[str]) -> str:
    """Add a series that is called like nothing else, where there is anything of it; what it is called, or ""."""
    if not any(amounts):
        return ""
    free = free_name(name, taken)
    taken.add(free)
    series.append(Series(free, amounts))
    return free


def heading_over_time(by: str) -> Heading:
    """How rows are summed up by one of :data:`HEADINGS`, or by the values of a tag.

    Raises:
        ValueError: ``by`` is none of these; the text quotes it.
    """
    if by not in HEADINGS and not by.startswith("tag:"):
        msg = f"by={shown(by)} is not known over time; write one of {', '.join(HEADINGS)}, tag:NAME"
        raise ValueError(msg)
    return heading_of(by)


def check_period(period: str) -> Period:
    """One of :data:`PERIODS`.

    Raises:
        ValueError: it is none; the text quotes it.
    """
    for one in PERIODS:
        if one == period:
            return one
    msg = f"period={shown(period)} is not known; write one of {', '.join(PERIODS)}"
    raise ValueError(msg)


def _last_days(today: dt.date) -> list[dt.date]:
    return [today - dt.timedelta(days=back) for back in range(DAYS - 1, -1, -1)]


def _first_of_months(today: dt.date) -> list[dt.date]:
    months = [today.year * 12 + today.month - 1 - back for back in range(MONTHS - 1, -1, -1)]
    return [dt.date(month // 12, month % 12 + 1, 1) for month in months]
