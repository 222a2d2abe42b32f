"""Rates of a price as integers: per kind of token, over service tiers, dates, times of day and sizes of the input."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Final

from budgeted.money import PICO_PER_NANO
from budgeted.pricing.usage import Counts

CACHE_WRITE: Final = 1

CACHE_WRITE_1H: Final = 2

AUDIO: Final = 4

IMAGE: Final = 8

AUDIO_OUT: Final = 16

IMAGE_OUT: Final = 32

EVERY_KIND: Final = 63

_DAY: Final = 86_400

_LONGEST_CALL: Final = 3600  # seconds; a price that starts within them may be the one that the call meets


@dataclass(frozen=True, slots=True)
class Rates:
    """What one call is charged by: pico-USD per token, and per search and call.

    Every rate is set. Where a provider has no price of its own for a kind of token, it is the rate that such tokens
    are charged at instead (`rates_of`).
    """

    input: int
    output: int
    cached_input: int
    cache_write: int
    cache_write_1h: int
    reasoning: int
    input_audio: int
    cached_audio: int
    output_audio: int
    input_image: int
    output_image: int
    per_search: int
    per_call: int
    plain: bool = field(init=False, repr=False, compare=False)
    _highest: dict[int, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        ordinary = (
            self.reasoning == self.output_audio == self.output_image == self.output
            and self.input_audio == self.input_image == self.input
            and self.cached_audio == self.cached_input
        )
        object.__setattr__(self, "plain", ordinary)

    def cost(self, usage: Counts) -> int:
        """Return what `usage` costs in nano-USD, rounded up once."""
        cached, written = usage.cached_input_tokens, usage.cache_write_tokens
        fresh = usage.input_tokens - cached - written
        pico = fresh * self.input + usage.output_tokens * self.output + cached * self.cached_input + self.per_call
        if written:
            for_an_hour = usage.cache_write_1h_tokens
            pico += (written - for_an_hour) * self.cache_write + for_an_hour * self.cache_write_1h
        if usage.web_searches:
            pico += usage.web_searches * self.per_search
        if not self.plain:
            pico += self._surcharge(usage, fresh)
        return -(-pico // PICO_PER_NANO)

    def _surcharge(self, usage: Counts, fresh: int) -> int:
        """Return what audio, images and reasoning cost more, or less, than text does, in pico-USD.

        No provider says whether images are among the cached tokens, or audio among those written to a cache. They are
        taken to be fresh as far as there are fresh ones, and every token is charged once.
        """
        audio, image = usage.input_audio_tokens, usage.input_image_tokens
        spoken, drawn = usage.output_audio_tokens, usage.output_image_tokens
        thought = usage.reasoning_tokens if self.reasoning != self.output else 0
        if not (audio or image or spoken or drawn or thought):
            return 0
        cached_audio = usage.cached_audio_tokens
        audio -= cached_audio
        thought = min(thought, usage.output_tokens - spoken - drawn)
        pico = (
            cached_audio * (self.cached_audio - self.cached_input) + audio * self.input_audio + image * self.input_image
        )
        rest, for_an_hour = audio + image, usage.cache_write_1h_tokens
        for count, rate in (
            (fresh, self.input),
            (usage.cached_input_tokens - cached_audio, self.cached_input),
            (usage.cache_write_tokens - for_an_hour, self.cache_write),
            (for_an_hour, self.cache_write_1h),
        ):
            taken = min(rest, count)
            rest -= taken
            pico -= taken * rate
        made = spoken * self.output_audio + drawn * self.output_image + thought * self.reasoning
        return pico + made - (spoken + drawn + thought) * self.output

    def highest(self, kinds: int) -> tuple[int, int]:
        """Return the highest rates for input and for output, pico-USD per token, for the `kinds` of token (bits)."""
        found = self._highest.get(kinds)
        if found is None:
            found = self._highest[kinds] = self._find_highest(kinds)
        return found

    def _find_highest(self, kinds: int) -> tuple[int, int]:
        given = [self.input, self.cached_input]
        given += [self.cache_write] if kinds & (CACHE_WRITE | CACHE_WRITE_1H) else []
        given += [self.cache_write_1h] if kinds & CACHE_WRITE_1H else []
        given += [self.input_audio, self.cached_audio] if kinds & AUDIO else []
        given += [self.input_image] if kinds & IMAGE else []
        made = [self.output, self.reasoning]
        made += [self.output_audio] if kinds & AUDIO_OUT else []
        made += [self.output_image] if kinds & IMAGE_OUT else []
        return max(given), max(made)


_RATES: Final = tuple(each.name for each in fields(Rates) if each.init)


def rates_of(
    *,
    input: int,
    output: int,
    cached_input: int | None = None,
    cache_write: int | None = None,
    cache_write_1h: int | None = None,
    reasoning: int | None = None,
    input_audio: int | None = None,
    cached_audio: int | None = None,
    output_audio: int | None = None,
    input_image: int | None = None,
    output_image: int | None = None,
    per_search: int = 0,
    per_call: int = 0,
) -> Rates:
    """Return rates (pico-USD) where None means the rate of the tokens that these are a part of."""

    def first(*rates: int | None) -> int:
        return next(rate for rate in rates if rate is not None)

    return Rates(
        input=input,
        output=output,
        cached_input=first(cached_input, input),
        cache_write=first(cache_write, input),
        cache_write_1h=first(cache_write_1h, cache_write, input),
        reasoning=first(reasoning, output),
        input_audio=first(input_audio, input),
        cached_audio=first(cached_audio, cached_input if input_audio is None else input_audio, input),
        output_audio=first(output_audio, output),
        input_image=first(input_image, input),
        output_image=first(output_image, output),
        per_search=per_search,
        per_call=per_call,
    )


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
        return day.at(at % _DAY).at(input_tokens)

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
