"""When which rates apply: by date, day of the week, time of day and size of the input, and the ceiling over these."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

from budgeted.pricing.token_rates import Rates

DAY_SECONDS: Final = 86_400
WEEKDAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
_WEEK_SECONDS: Final = 7 * DAY_SECONDS
_SINCE_MONDAY: Final = 3 * DAY_SECONDS  # at the beginning of the Unix time, which was a Thursday
_LONGEST_CALL: Final = 3600  # seconds; a price that starts within them may be the one that the call meets
_AMOUNTS: Final = tuple(each.name for each in fields(Rates) if each.type == "int" and each.name != "unpriced")


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
class Cycle:
    """Steps by the time of day, or of week: `steps[i]` applies from `times[i - 1]`.

    Times are seconds after midnight, UTC; of a week those after Monday's (`weekly`).
    """

    times: tuple[int, ...]
    steps: tuple[Steps, ...]
    weekly: bool = False

    def at(self, at: float) -> Steps:
        """Return the steps for a moment, in Unix seconds."""
        second = (at + _SINCE_MONDAY) % _WEEK_SECONDS if self.weekly else at % DAY_SECONDS
        return self.steps[bisect_right(self.times, second)]

    def map(self, change: Callable[[Steps], Steps]) -> Cycle:
        """Return this cycle with each of its steps changed."""
        return Cycle(self.times, tuple(map(change, self.steps)), self.weekly)


class Schedule:
    """The rates of one service tier, for ever: `cycles[i]` applies from `dates[i - 1]`, in Unix seconds."""

    __slots__ = ("_ceilings", "_cycles", "_dates", "_edges", "only")

    def __init__(self, dates: Sequence[int], cycles: Sequence[Cycle]) -> None:
        """Work out the ceilings, so that a bound is as quickly found as a cost."""
        self._dates, self._cycles = tuple(dates), tuple(cycles)
        edges: list[int] = []
        ceilings = [_ceiling(cycles[:1])]
        for index, date in enumerate(dates):
            edges += [date - _LONGEST_CALL, date]
            ceilings += [_ceiling(cycles[index : index + 2]), _ceiling(cycles[index + 1 : index + 2])]
        self._edges, self._ceilings = tuple(edges), tuple(ceilings)
        constant = not dates and not cycles[0].times and not cycles[0].steps[0].starts
        self.only: Rates | None = cycles[0].steps[0].levels[0] if constant else None

    @classmethod
    def always(cls, rates: Rates) -> Schedule:
        """Return the schedule on which nothing ever changes."""
        return cls((), (Cycle((), (Steps((), (rates,)),)),))

    def __eq__(self, other: object) -> bool:
        """Compare what applies when."""
        if not isinstance(other, Schedule):
            return NotImplemented
        return (self._dates, self._cycles) == (other._dates, other._cycles)

    def __hash__(self) -> int:
        return hash((self._dates, self._cycles))

    def rates(self, at: float, input_tokens: int) -> Rates:
        """Return the rates for a call at `at`, in Unix seconds, with that much input."""
        # What seldom differs is asked for only where it does: every call comes by here.
        cycle = self._cycles[bisect_right(self._dates, at)] if self._dates else self._cycles[0]
        steps = cycle.at(at) if cycle.times else cycle.steps[0]
        return steps.levels[bisect_left(steps.starts, input_tokens)] if steps.starts else steps.levels[0]

    def ceiling(self, at: float, input_tokens: int) -> Rates:
        """Return the highest rates for a call that starts at `at`, at any time of day, with at most that much input."""
        steps = self._ceilings[bisect_right(self._edges, at)] if self._edges else self._ceilings[0]
        return steps.levels[bisect_left(steps.starts, input_tokens)] if steps.starts else steps.levels[0]

    def levels(self) -> Iterator[Rates]:
        """Yield all the rates that ever apply."""
        for cycle in self._cycles:
            for steps in cycle.steps:
                yield from steps.levels

    def map(self, change: Callable[[Rates], Rates]) -> Schedule:
        """Return this schedule with each of its rates changed."""
        return self.map_steps(lambda steps: steps.map(change))

    def map_steps(self, change: Callable[[Steps], Steps]) -> Schedule:
        """Return this schedule with what holds by the size of the input changed, whenever it applies."""
        return Schedule(self._dates, [cycle.map(change) for cycle in self._cycles])

    def at_peaks(
        self, hours: Sequence[tuple[int, int]], days: Collection[str], off_peak: Callable[[Rates], Rates]
    ) -> Schedule:
        """Return a schedule whose rates are those of this one, on which no time of day matters, only at peaks.

        Args:
            hours: when peaks begin and end, in seconds after midnight UTC, in order.
            days: the days that have peaks, as `WEEKDAYS` names them.
            off_peak: the rates for the rest, of those for peaks.
        """

        def weekly(cycle: Cycle) -> Cycle:
            dear = cycle.steps[0]
            spans = [span for day, name in enumerate(WEEKDAYS) if name in days for span in _spans(day, hours)]
            cheap = dear.map(off_peak)
            return Cycle(tuple(time for span in spans for time in span), (cheap, *(dear, cheap) * len(spans)), True)

        return Schedule(self._dates, [weekly(cycle) for cycle in self._cycles])

    def until(self, date: int, later: Schedule) -> Schedule:
        """Return this schedule up to a date, in Unix seconds, and another one from then on."""
        before, after = bisect_left(self._dates, date), bisect_right(later._dates, date)
        dates = (*self._dates[:before], date, *later._dates[after:])
        return Schedule(dates, (*self._cycles[: before + 1], *later._cycles[after:]))


def _spans(day: int, hours: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return when peaks begin and end on a day, in seconds after Monday's midnight."""
    return [(day * DAY_SECONDS + start, day * DAY_SECONDS + end) for start, end in hours]


def _ceiling(cycles: Sequence[Cycle]) -> Steps:
    """Return steps that are nowhere below those of any of the cycles, nor below a lower step of their own."""
    every = [steps for cycle in cycles for steps in cycle.steps]
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
    highest = {name: max(getattr(rates, name) for rates in several) for name in _AMOUNTS}
    return Rates(**highest, fees=tuple(sorted(fees.items())))


def dearest(several: Sequence[Schedule]) -> Schedule:
    """Return the schedule that is never below any of several, whenever and for whatever input."""
    return Schedule.always(_dearest([rates for schedule in several for rates in schedule.levels()]))
