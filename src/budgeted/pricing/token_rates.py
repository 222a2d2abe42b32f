"""Rates of a price as integers: pico-USD per token of each type, and for each unit of what else is billed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Final

from budgeted.money import PICO_PER_NANO
from budgeted.pricing.token_types import AUDIO, AUDIO_OUT, CACHE_WRITE, CACHE_WRITE_1H, IMAGE, IMAGE_OUT
from budgeted.pricing.usage import Counts

MS_PER_HOUR: Final = 3_600_000
SEARCH: Final = 64
SOUND: Final = 128
"""Bits beside those of `token_types`, for what a price may not know: searches, and sound that is billed by time."""

_TOKENS: Final = (
    "input",
    "output",
    "cached_input",
    "cache_write",
    "cache_write_1h",
    "reasoning",
    "input_audio",
    "cached_audio",
    "output_audio",
    "input_image",
    "output_image",
)
_TEXT: Final = {
    "input_audio": "input",
    "cached_audio": "cached_input",
    "output_audio": "output",
    "input_image": "input",
    "output_image": "output",
}
_APART: Final = {"input_audio": AUDIO, "output_audio": AUDIO_OUT, "output_image": IMAGE_OUT}
_PROCESSING: Final = (*_TOKENS, "per_call", "per_hour")
_WHOLE: Final = (*_PROCESSING, "per_search")
NO_FEES: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Rates:
    """What one call is charged by: pico-USD per token, per search and call, per hour of sound, and per unit of a fee.

    Every rate is set. Where a provider has no price of its own for a kind of token, it is the rate that such tokens
    are charged at instead (`rates_of`). `given` has the rates that were given, and `unpriced` the kinds, as bits, that
    nobody has given a rate for.
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
    per_hour: int = 0
    fees: tuple[tuple[str, int], ...] = ()
    unpriced: int = 0
    given: Mapping[str, int] = field(default_factory=dict, repr=False, compare=False)
    plain: bool = field(init=False, repr=False, compare=False)
    _highest: dict[int, tuple[int, int]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plain", self.reasoning == self.output)

    def cost(self, usage: Counts) -> int:
        """Return what `usage` costs in nano-USD, rounded up once."""
        cached, written = usage.cached_input_tokens, usage.cache_write_tokens
        fresh = usage.input_tokens - cached - written
        pico = fresh * self.input + usage.output_tokens * self.output + cached * self.cached_input + self.per_call
        if written:
            for_an_hour = usage.cache_write_1h_tokens
            pico += (written - for_an_hour) * self.cache_write + for_an_hour * self.cache_write_1h
        if (
            usage.input_audio_tokens
            or usage.input_image_tokens
            or usage.output_audio_tokens
            or usage.output_image_tokens
            or not self.plain
        ):
            pico += self._surcharge(usage, fresh)
        if usage.web_searches or usage.fees or usage.audio_ms:
            pico += self._beside_tokens(usage)
        return -(-pico // PICO_PER_NANO)

    def _beside_tokens(self, usage: Counts) -> int:
        """Return what searches, sound that is billed by time, and fees cost, in pico-USD.

        Where an answer tells its pages, these are what the price per call is for.
        """
        pico = usage.web_searches * self.per_search - (-usage.audio_ms * self.per_hour // MS_PER_HOUR)
        return pico + self.billed_each(usage.fees)

    def billed_each(self, fees: Sequence[tuple[str, int]]) -> int:
        """Return what fees cost, in pico-USD. Of a model that reads pages, the price per call is that of one page.

        Args:
            fees: units that are billed each, by what they are, as `Usage` has them.
        """
        pico, rates = 0, dict(self.fees)
        for name, units in fees:
            pico += units * rates.get(name, 0)
            if name == PAGE and name in rates:
                pico -= self.per_call
        return pico

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

    @property
    def free(self) -> bool:
        """Whether no kind of token costs anything."""
        return not any(getattr(self, name) for name in _TOKENS)

    @property
    def text(self) -> tuple[int, int, int] | None:
        """What input, output and cached input cost, if thinking and images cost that too, and calls nothing."""
        same = self.plain and self.input_image == self.input and not self.per_call
        return (self.input, self.output, self.cached_input) if same else None

    @property
    def hears(self) -> bool:
        """Whether sound has a price of its own."""
        return not {"input_audio", "output_audio", "per_hour"}.isdisjoint(self.given)

    def with_given(self, more: Mapping[str, int], fees: Mapping[str, int] = NO_FEES) -> Rates:
        """Return these rates with more of them given, over those that are."""
        return rates_of({**self.given, **more}, {**dict(self.fees), **fees})

    def filled(self, more: Mapping[str, int], fees: Mapping[str, int] = NO_FEES) -> Rates:
        """Return these rates with more of them given, where none is."""
        return rates_of({**more, **self.given}, {**fees, **dict(self.fees)})

    def as_text(self, kinds: Collection[str]) -> Rates:
        """Return these rates with kinds of token that are charged as the text they stand in, where none is given."""
        text = {name: getattr(self, _TEXT[name]) for name in kinds}
        return self.filled(text)

    def scaled(self, factor: Fraction, *, whole: bool = False) -> Rates:
        """Return these rates times a factor, rounded up: those of processing, or the searches and fees as well."""

        def times(rate: int) -> int:
            return -(-rate * factor.numerator // factor.denominator)

        names = _WHOLE if whole else _PROCESSING
        given = {name: times(rate) if name in names else rate for name, rate in self.given.items()}
        return rates_of(given, {name: times(rate) if whole else rate for name, rate in self.fees})

    def plus_per_input_token(self, fee: int) -> Rates:
        """Return these rates with a fee, pico-USD, for each token of input, of whatever kind."""
        kinds = ("input", "cached_input", "cache_write", "cache_write_1h", "input_audio", "cached_audio", "input_image")
        raised = {name: getattr(self, name) + fee for name in kinds}
        return replace(self, **raised)


PAGE: Final = "page"
"""The fee for a page that was read. Of a model that reads pages, each is a call, unless the answer tells how many."""


def rates_of(given: Mapping[str, int], fees: Mapping[str, int] = NO_FEES) -> Rates:
    """Return rates (pico-USD) where what is not given has the rate of the tokens that it is a part of.

    Sound, and pictures that are drawn, are never charged as text for want of a rate: they have the dearest one that
    is given, and are told as unpriced.

    Args:
        given: rates by the names of the fields of `Rates`; those for input and output are 0 if missing.
        fees: pico-USD for each unit of what is billed beside.
    """
    input, output = given.get("input", 0), given.get("output", 0)
    text = {
        "input": input,
        "output": output,
        "cached_input": given.get("cached_input", input),
        "cache_write": given.get("cache_write", input),
        "cache_write_1h": given.get("cache_write_1h", given.get("cache_write", input)),
        "reasoning": given.get("reasoning", output),
        "input_image": given.get("input_image", input),
    }
    dearest = max(*text.values(), *(given.get(name, 0) for name in _APART))
    missing = [bit for name, bit in _APART.items() if name not in given] if dearest else []
    missing += [bit for name, bit in (("per_search", SEARCH), ("per_hour", SOUND)) if name not in given]
    heard = given.get("input_audio", dearest)
    return Rates(
        **text,
        input_audio=heard,
        cached_audio=given.get("cached_audio", heard),
        output_audio=given.get("output_audio", dearest),
        output_image=given.get("output_image", dearest),
        per_search=given.get("per_search", 0),
        per_call=given.get("per_call", 0),
        per_hour=given.get("per_hour", 0),
        fees=tuple(sorted(fees.items())),
        unpriced=sum(missing),
        given=given,
    )
