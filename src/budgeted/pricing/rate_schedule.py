"""When which rates apply: by date, time of day and size of the input, and the ceiling over all of these."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Final

from budgeted.pricing.token_rates import Rates

DAY_SECONDS: Final = 86_400
_LONGEST_CALL: Final = 3600  # seconds; a price that starts within them may be the one that the call meets
_RATES: Final = tuple(each.name for each in fields(Rates) if each.init)


@dataclass(frozen=True, slots=True)
class Steps:
    """Rates by the size of the whole input: level `i` applies to all tokens once the input is above `starts[i - 1]`."""

    starts: tuple[int, ...]
    levels: tuple[Rates, ...]

    def at(self, input_tokens: int) -> Rates:
        """Return the rates for a call with that much input."""
        return self.levels[bisect_left(self.starts, input_tokens)] if self.starts else self.levels[0]


@dataclass(frozen=True, slots=True)
class Day:
    """Steps by the time of day: `steps[i]` applies from `times[i - 1]`, in seconds after midnight UTC."""

    times: tuple[int, ...]
    steps: tuple[Steps, ...]

    def at(self, second: float) -> Steps:
        """Return the steps for a second of the day."""
        return self.steps[bisect_right(self.times, second)] if self.times else self.steps[0]


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
        constant = not dates and not days[0].times and not days[0].steps[0].starts
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
        return day.at(at % DAY_SECONDS).at(input_tokens)

    def ceiling(self, at: float, input_tokens: int) -> Rates:
        """Return the highest rates for a call that starts at `at`, at any time of day, with at most that much input."""
        steps = self._ceilings[bisect_right(self._edges, at)] if self._edges else self._ceilings[0]
        return steps.at(input_tokens)

    def levels(self) -> Iterator[Rates]:
        """Yield all the rates that ever apply."""
        for day in self._days:
            for steps in day.steps:
                yield from steps.levels


def _ceiling(days: Sequence[Day]) -> Steps:
    """Return steps that are nowhere below those of any of the days, nor below a lower step of their own."""
    every = [steps for day in days for steps in day.steps]
    starts = sorted({start for steps in every for start in steps.starts})
    levels: list[Rates] = []
    for size in (0, *(start + 1 for start in starts)):
        levels.append(_dearest([*levels[-1:], *(steps.at(size) for steps in every)]))
    return Steps(tuple(starts), tuple(levels))


def _dearest(several: Sequence[Rates]) -> Rates:
    return Rates(**{name: max(getattr(rates, name) for rates in several) for name in _RATES})
