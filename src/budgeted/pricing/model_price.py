"""What calls to one model of one provider cost, and at most could cost."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from budgeted.money import PICO_PER_NANO
from budgeted.pricing.rate_schedule import Schedule
from budgeted.pricing.token_types import CACHE_WRITE, EVERY_KIND
from budgeted.pricing.usage import Counts

PER_RESULT: Final = 4_000_000_000
"""Pico-USD that OpenRouter bills for each result of a search of its own.

https://openrouter.ai/docs/guides/features/plugins/web-search
"""


class Price:
    """What one model of one provider costs. `find` and `register_price` make them.

    Attributes:
        provider: as genai-prices names it; "" for a price registered for any provider.
        model: as the price list names it, or as asked for if the price is a registered one.
        max_output_tokens: the most tokens that one answer can have, or None if nobody knows.
        context_window: in tokens, or None if nobody knows.
        per_call: the most that one call costs beside its tokens, in nano-USD.
        per_search: the most that one web search by the provider costs, in nano-USD.
        flat: True if calls have a price and tokens have none, so that what a call costs is known without them.
        stated: True if the provider's answers state what they cost.
        registered: True if `register_price` made it: it holds whatever name the answer gives the model.
    """

    __slots__ = (
        "_answers",
        "_flat",
        "_only",
        "_per_result",
        "_standard",
        "_tiers",
        "_unasked",
        "by_kind",
        "context_window",
        "flat",
        "max_output_tokens",
        "model",
        "per_call",
        "per_search",
        "provider",
        "registered",
        "stated",
    )

    def __init__(
        self,
        provider: str,
        model: str,
        standard: Schedule,
        tiers: Mapping[str, Schedule] | None = None,
        *,
        max_output_tokens: int | None = None,
        context_window: int | None = None,
        registered: bool = False,
    ) -> None:
        """`tiers` holds the service tiers priced apart from the standard one, by name."""
        self.provider = provider
        self.model = model
        self.max_output_tokens = max_output_tokens
        self.context_window = context_window
        self.registered = registered
        self._standard = standard
        self._tiers = dict(tiers or {})
        # Anthropic writes a cache only when asked to; elsewhere it may just happen.
        self._unasked = 0 if provider == "anthropic" else CACHE_WRITE
        self._only = standard.only
        # The highest rates for input and output, and the price per call, of a plain request whose price never changes.
        self._flat = None if self._only is None else (*self._only.highest(self._unasked), self._only.per_call)
        levels = [rates for schedule in (standard, *self._tiers.values()) for rates in schedule.levels()]
        self.per_search = -(-max(rates.per_search for rates in levels) // PICO_PER_NANO)
        self.per_call = -(-max(rates.per_call for rates in levels) // PICO_PER_NANO)
        # Whether sound, pictures or what goes into a cache may cost more than text.
        self.by_kind = any(rates.highest(EVERY_KIND) != rates.highest(self._unasked) for rates in levels)
        self.flat = self.per_call > 0 and all(max(rates.highest(EVERY_KIND)) == 0 for rates in levels)
        self.stated = provider in ("openrouter", "perplexity")
        self._per_result = PER_RESULT if provider == "openrouter" else 0
        self._answers = provider == "google" and gemini_bills_answers(model)

    def __repr__(self) -> str:
        return f"<Price of {self.model!r} at {self.provider or 'any provider'!r}>"

    def cost(self, usage: Counts, at: float) -> int:
        """Return what a call cost.

        Args:
            usage: what it used. Its `service_tier` picks the rates; a tier that has no price of its own
                ("default", "auto", any unknown name) has the standard ones.
            at: when it was made, in Unix seconds.

        Returns:
            nano-USD, rounded up once.
        """
        rates = self._only
        if rates is None or usage.service_tier is not None:
            rates = self._schedule(usage.service_tier).rates(at, usage.input_tokens)
        return rates.cost(usage)

    def bound(self, input_tokens: int, at: float, tier: str | None = None, kinds: int = 0) -> tuple[int, int]:
        """Return the most that a call can cost, over sizes of input, times of day, and dates of the next hour.

        Args:
            input_tokens: at most this much input.
            at: when the call starts, in Unix seconds.
            tier: the service tier that the request names. None, "auto" and unknown names are the standard one.
            kinds: which dearer tokens it may use, as bits: `CACHE_WRITE`, `CACHE_WRITE_1H` (the request asks for
                a cache), `AUDIO`, `IMAGE` (it has such input), `AUDIO_OUT`, `IMAGE_OUT` (it may be answered so).

        Returns:
            What is fixed, in nano-USD, with the price per call; and pico-USD per output token. Searches are not
            in it: `beside_tokens` is for those.
        """
        if self._flat is not None and tier is None and not kinds:
            given, made, each = self._flat
        else:
            rates = self._schedule(tier).ceiling(at, input_tokens)
            given, made = rates.highest(kinds | self._unasked)
            each = rates.per_call
        return -(-(input_tokens * given + each) // PICO_PER_NANO), made

    def beside_tokens(self, calls: int, searches: int, at: float, tier: str | None = None) -> int:
        """Return what further calls and searches cost at most beside their tokens, in nano-USD.

        Args:
            calls: how many calls, beyond the one that `bound` has the price of.
            searches: how many searches the provider may make.
            at: when the call starts, in Unix seconds.
            tier: the service tier that the request names.
        """
        rates = self._schedule(tier).ceiling(at, 0)
        if self._answers:
            searches = min(searches, 1)
        each = rates.per_search or self._per_result
        return -(-(calls * rates.per_call + searches * each) // PICO_PER_NANO)

    def charges_as(self, other: Price) -> bool:
        """Whether it charges what another price does, for answers that are as long at most."""
        mine = (self.max_output_tokens, self.context_window, self._unasked, self._standard, self._tiers)
        return mine == (other.max_output_tokens, other.context_window, other._unasked, other._standard, other._tiers)

    def _schedule(self, tier: str | None) -> Schedule:
        if tier is None:
            return self._standard
        found = self._tiers.get(tier)
        return found if found is not None else self._tiers.get(tier.lower(), self._standard)


def alike(one: Price | None, other: Price | None) -> bool:
    """Whether a call costs the same at both prices, whatever it uses; as if neither is known."""
    return one is other or (one is not None and other is not None and one.charges_as(other))


def gemini_bills_answers(model: str) -> bool:
    """Whether a grounded answer is billed as one search; the models since the third are billed for each search.

    https://ai.google.dev/gemini-api/docs/pricing
    """
    return model.startswith(("gemini-1", "gemini-2"))
