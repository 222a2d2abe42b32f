"""Rates of a price as integers: pico-USD per token of each type, per search and per call."""

from __future__ import annotations

from dataclasses import dataclass, field

from budgeted.money import PICO_PER_NANO
from budgeted.pricing.token_types import AUDIO, AUDIO_OUT, CACHE_WRITE, CACHE_WRITE_1H, IMAGE, IMAGE_OUT
from budgeted.pricing.usage import Counts


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
        # Without a lock: threads that work it out at once all find the same.
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
