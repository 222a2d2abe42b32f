"""When which rates apply: by date, day of the week, time of day and size of the input, and the ceiling over these."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

from budgeted.pricing.token_rates import Rates

DAY_SECONDS: Final = 86_400
WEEK: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_FIRST_DAY: Final = 3  # of the Unix time: a Thursday
_LONGEST_CALL: Final = 3600  # seconds; a price that starts within them may be the one that the call meets
_MAXIMA: Final = tuple(each.name for each in fields(Rates) if each.init and each.type == "int" and each.name != "unpriced")


@dataclass(frozen=True, slots=True)
class Steps:
    """Rates by the size of the whole input: level `i` applies to all tokens once the input is above `starts[i - 1]`."""

    starts: tuple[int, ...]
    levels: tuple[Rates, ...]

    def at(self, input_tokens: int) -> Rates:
        """Return the rates for a call with that much input."""
        return self.levels[bisect_left(self.starts, input_tokens)] if self.starts else self.levels[0]

    def map(self, change: Callable[[Rates], Rates]) -> Steps:
        """Return these steps with each of the rates changed."""
        return Steps(self.starts, tuple(map(change, self.levels)))


@dataclass(frozen=True, slots=True)
class Day:
    """Steps by the time of day: `steps[i]` applies from `times[i - 1]`, in seconds after midnight UTC.

    `week` has the days from Monday to Sunday, in UTC, where they differ; this one is then of no account.
    """

    times: tuple[int, ...]
    steps: tuple[Steps, ...]
    week: tuple[Day, ...] = ()

    def at(self, at: float) -> Steps:
        """Return the steps for a moment, in Unix seconds."""
        if self.week:
            day = self.week[int(at // DAY_SECONDS + _FIRST_DAY) % 7]
            return day.steps[bisect_right(day.times, at % DAY_SECONDS)]
        return self.steps[bisect_right(self.times, at % DAY_SECONDS)] if self.times else self.steps[0]

    def every_step(self) -> Iterator[Steps]:
        """Yield the steps of all times of all days of the week."""
        for day in self.week or (self,):
            yield from day.steps

    def map(self, change: Callable[[Steps], Steps]) -> Day:
        """Return this day with each of its steps changed."""
        return Day(self.times, tuple(map(change, self.steps)), tuple(day.map(change) for day in self.week))


class Schedule:
    """The rates of one service tier, for ever: `days[i]` applies from `dates[i - 1]`, in Unix seconds."""

    __slots__ = ("_ceilings", "_dates", "_days", "_edges", "only")

    def __init__(self, dates: Sequence[int], days: Sequence[Day]) -> None:
        """Work out the ceilings, so that a bound is as quickly found as a cost."""
        self._dates, self._days = tuple(dates), tuple(days)
        edges: list[int] = []
        ceilings = [_ceiling(days[:1])]
        for index, date in enumerate(dates):
            edges += [date - _LONGEST_CALL, date]
            ceilings += [_ceiling(days[index : index + 2]), _ceiling(days[index + 1 : index + 2])]
        self._edges, self._ceilings = tuple(edges), tuple(ceilings)
        constant = not dates and not days[0].times and not days[0].week and not days[0].steps[0].starts
        self.only: Rates | None = days[0].steps[0].levels[0] if constant else None

    @classmethod
    def always(cls, rates: Rates) -> Schedule:
        """Return the schedule on which nothing ever changes."""
        return cls((), (Day((), (Steps((), (rates,)),)),))

    def __eq__(self, other: object) -> bool:
        """Compare what applies when."""
        if not isinstance(other, Schedule):
            return NotImplemented
        return (self._dates, self._days) == (other._dates, other._days)

    def __hash__(self) -> int:
        return hash((self._dates, self._days))

    def rates(self, at: float, input_tokens: int) -> Rates:
        """Return the rates for a call at `at`, in Unix seconds, with that much input."""
        day = self._days[bisect_right(self._dates, at)] if self._dates else self._days[0]
        return day.at(at).at(input_tokens)

    def ceiling(self, at: float, input_tokens: int) -> Rates:
        """Return the highest rates for a call that starts at `at`, at any time of day, with at most that much input."""
        steps = self._ceilings[bisect_right(self._edges, at)] if self._edges else self._ceilings[0]
        return steps.at(input_tokens)

    def levels(self) -> Iterator[Rates]:
        """Yield all the rates that ever apply."""
        for day in self._days:
            for steps in day.every_step():
                yield from steps.levels

    def map(self, change: Callable[[Rates], Rates]) -> Schedule:
        """Return this schedule with each of its rates changed."""
        return self.map_steps(lambda steps: steps.map(change))

    def map_steps(self, change: Callable[[Steps], Steps]) -> Schedule:
        """Return this schedule with what holds by the size of the input changed, whenever it applies."""
        return Schedule(self._dates, [day.map(change) for day in self._days])

    def map_days(self, change: Callable[[Day], Day]) -> Schedule:
        """Return this schedule with each of its days changed."""
        return Schedule(self._dates, [change(day) for day in self._days])

    def until(self, date: int, later: Schedule) -> Schedule:
        """Return this schedule up to a date, in Unix seconds, and another one from then on."""
        before, after = bisect_left(self._dates, date), bisect_right(later._dates, date)
        dates = (*self._dates[:before], date, *later._dates[after:])
        return Schedule(dates, (*self._days[: before + 1], *later._days[after:]))


def peak_hours(peak: Sequence[tuple[int, int]], days: Sequence[str], off_peak: Callable[[Rates], Rates]) -> Callable[[Day], Day]:
    """Return a change of a day on which no price depends: its own rates are for peak hours, and others for the rest.

    Args:
        peak: when peaks begin and end, in seconds after midnight UTC, in order.
        days: the days of the week that have peaks, as `WEEK` has them.
        off_peak: the rates for the rest, of those for peaks.
    """

    def change(day: Day) -> Day:
        dear = day.steps[0]
        cheap = dear.map(off_peak)
        times = tuple(second for span in peak for second in span)
        busy = Day(times, (cheap, *(dear, cheap) * len(peak)))
        return Day((), (dear,), tuple(busy if name in days else Day((), (cheap,)) for name in WEEK))

    return change


def _ceiling(days: Sequence[Day]) -> Steps:
    """Return steps that are nowhere below those of any of the days, nor below a lower step of their own."""
    every = [steps for day in days for steps in day.every_step()]
    starts = sorted({start for steps in every for start in steps.starts})
    levels: list[Rates] = []
    for size in (0, *(start + 1 for start in starts)):
        levels.append(_dearest([*levels[-1:], *(steps.at(size) for steps in every)]))
    return Steps(tuple(starts), tuple(levels))


def _dearest(several: Sequence[Rates]) -> Rates:
    fees: dict[str, int] = {}
    for rates in several:
        for name, rate in rates.fees:
            fees[name] = max(rate, fees.get(name, 0))
    highest = {name: max(getattr(rates, name) for rates in several) for name in _MAXIMA}
    return Rates(**highest, fees=tuple(sorted(fees.items())))


def dearest(several: Sequence[Schedule]) -> Schedule:
    """Return the schedule that is never below any of several, whenever and for whatever input."""
    return Schedule.always(_dearest([rates for schedule in several for rates in schedule.levels()]))
