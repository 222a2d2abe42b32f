"""What calls to one model of one provider cost, and at most could cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from budgeted.money import PICO_PER_NANO
from budgeted.pricing.openrouter_variants import PER_RESULT
from budgeted.pricing.price_entry import Entry
from budgeted.pricing.rate_schedule import Schedule
from budgeted.pricing.service_tiers import STANDARD, tier_of
from budgeted.pricing.token_rates import MS_PER_HOUR, SEARCH, SOUND, Rates
from budgeted.pricing.token_types import AUDIO, AUDIO_OUT, CACHE_WRITE, EVERY_KIND, IMAGE_OUT
from budgeted.pricing.usage import Counts
from budgeted.validation import shown

ANYWHERE: Final = frozenset({"", "global", "not_available"})
"""What providers say of inference that has no region of its own.

https://platform.claude.com/docs/en/build-with-claude/data-residency
"""

_STATE_THEIR_COST: Final = frozenset({"openrouter", "perplexity", "x-ai"})
"""Providers whose answers state what they cost.

https://openrouter.ai/docs/use-cases/usage-accounting, https://docs.perplexity.ai/docs/getting-started/pricing,
https://docs.x.ai/developers/cost-tracking
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
        free: True if nothing that it has a price for costs anything.
        by_time: True if sound is billed by its length.
        stated: True if the provider's answers state what they cost.
        router: True if other models answer, and a fee is billed beside theirs: see `answered_by`.
        registered: True if `register_price` made it: it holds whatever name the answer gives the model.
    """

    __slots__ = (
        "_answers",
        "_by_region",
        "_by_tier",
        "_entry",
        "_flat",
        "_per_result",
        "_plain",
        "_unasked",
        "_unpriced",
        "by_kind",
        "by_time",
        "context_window",
        "flat",
        "free",
        "max_output_tokens",
        "model",
        "per_call",
        "per_search",
        "provider",
        "registered",
        "router",
        "stated",
    )

    def __init__(self, entry: Entry, *, max_output_tokens: int | None = None, registered: bool = False) -> None:
        """Work out what a bound and a cost need: they are asked for with every call.

        Args:
            entry: what is known of the model.
            max_output_tokens: the most tokens that one answer can have, if the entry does not say.
            registered: whether the application has said it for that very name.
        """
        self._entry = entry
        self.provider = entry.provider
        self.model = entry.model
        self.max_output_tokens = entry.max_output_tokens or max_output_tokens
        self.context_window = entry.context_window
        self.registered = registered
        self.router = entry.router_fee is not None
        self._by_tier = _by_tier(entry.standard, entry.tiers)
        self._by_region: dict[str, Mapping[str, Schedule]] = {}
        # Anthropic writes a cache only when asked to; elsewhere it may just happen.
        self._unasked = 0 if entry.provider == "anthropic" else CACHE_WRITE
        only = entry.standard.only
        # The highest rates for input and output, and the price per call, of a plain request whose price never changes;
        # and what its answer is charged by.
        self._flat = None if only is None else (*only.highest(self._unasked), only.per_call)
        self._plain = only.text if only is not None else None
        self._describe([rates for schedule in (entry.standard, *entry.tiers.values()) for rates in schedule.levels()])
        self.stated = entry.provider in _STATE_THEIR_COST
        self._per_result = PER_RESULT if entry.provider == "openrouter" else 0
        self._answers = entry.provider == "google" and gemini_bills_answers(entry.model)

    def _describe(self, levels: Sequence[Rates]) -> None:
        """Set what is said of all the rates that ever apply."""
        self.per_search = -(-max(rates.per_search for rates in levels) // PICO_PER_NANO)
        self.per_call = -(-max(rates.per_call for rates in levels) // PICO_PER_NANO)
        self.by_time = any(rates.per_hour for rates in levels)
        self._unpriced = ~0
        for rates in levels:
            self._unpriced &= rates.unpriced
        # Whether sound, pictures or what goes into a cache may cost more than text. For want of a rate, only where the
        # model's name says that it hears or draws: looking through every request of all the others would cost more.
        known = EVERY_KIND if "audio" in self.model else EVERY_KIND & ~self._unpriced
        self.by_kind = any(rates.highest(known) != rates.highest(self._unasked) for rates in levels)
        self.flat = self.per_call > 0 and all(rates.free for rates in levels)
        self.free = all(rates.free and not rates.per_call and not rates.per_hour for rates in levels)

    def __repr__(self) -> str:
        return f"<Price of {self.model!r} at {self.provider or 'any provider'!r}>"

    def cost(self, usage: Counts, at: float) -> int:
        """Return what a call cost.

        Args:
            usage: what it used. Its `service_tier` and `region` pick the rates, and its `fees` and `audio_ms` are
                charged beside the tokens. What this price does not know is charged at the dearest rate that it has,
                a fee at nothing: `unknown` tells of it.
            at: when it was made, in Unix seconds.

        Returns:
            nano-USD, rounded up once.
        """
        plain = self._plain
        # Nearly always, and without a further call: tokens of text, at rates that never change.
        if (
            plain is not None
            and usage.service_tier is None
            and not usage.cache_write_tokens
            and not usage.input_audio_tokens
            and not usage.output_audio_tokens
            and not usage.output_image_tokens
            and not usage.web_searches
            and not usage.audio_ms
            and not usage.fees
            and not usage.region
        ):
            given, made, kept = plain
            cached = usage.cached_input_tokens
            pico = (usage.input_tokens - cached) * given + cached * kept + usage.output_tokens * made
            return -(-pico // 1000)  # pico-USD in a nano-USD
        schedule = None if usage.region else self._by_tier.get(usage.service_tier or "")
        if schedule is None:
            several = self._schedules(usage.service_tier, usage.region)
            return max(one.rates(at, usage.input_tokens).cost(usage) for one in several)
        return (schedule.only or schedule.rates(at, usage.input_tokens)).cost(usage)

    def unknown(self, usage: Counts) -> str:
        """Return what of a usage this price does not know, in words, or "" as nearly always.

        Args:
            usage: what a call used.

        Example:
            >>> find("gpt-5", "openai").unknown(Usage(10, 10, service_tier="turbo"))
            "service tier 'turbo'"
        """
        if (
            (usage.service_tier is None or usage.service_tier in self._by_tier)
            and not usage.region
            and not usage.fees
            and not usage.audio_ms
            and not usage.web_searches
            and not usage.input_audio_tokens
            and not usage.output_audio_tokens
            and not usage.output_image_tokens
        ):
            return ""
        return ", ".join(self._unknown(usage))

    def bound(
        self, input_tokens: int, at: float, tier: str | None = None, kinds: int = 0, region: str = ""
    ) -> tuple[int, int]:
        """Return the most that a call can cost, over sizes of input, times of day, and dates of the next hour.

        Args:
            input_tokens: at most this much input.
            at: when the call starts, in Unix seconds.
            tier: the service tier that the request names. None and "auto" are the standard one; one that this price
                does not know is taken for the dearest.
            kinds: which dearer tokens it may use, as bits: `CACHE_WRITE`, `CACHE_WRITE_1H` (the request asks for
                a cache), `AUDIO`, `IMAGE` (it has such input), `AUDIO_OUT`, `IMAGE_OUT` (it may be answered so).
            region: where the request asks to be served, as the provider names it; an unknown one is the dearest.

        Returns:
            What is fixed, in nano-USD, with the price per call; and pico-USD per output token. Searches are not
            in it: `beside_tokens` is for those.
        """
        if self._flat is not None and tier is None and not kinds and not region:
            given, made, each = self._flat
        else:
            schedule = None if region else self._by_tier.get(tier or "")
            if schedule is None:
                return self._bound_of_several(input_tokens, at, tier, kinds, region)
            rates = schedule.ceiling(at, input_tokens)
            given, made = rates.highest(kinds | self._unasked)
            each = rates.per_call
        return -(-(input_tokens * given + each) // PICO_PER_NANO), made

    def _bound_of_several(
        self, input_tokens: int, at: float, tier: str | None, kinds: int, region: str
    ) -> tuple[int, int]:
        """Return the bound where it is looked for a tier or a region whose name is not at hand, or unknown."""
        fixed, made = [], []
        for schedule in self._schedules(tier, region):
            rates = schedule.ceiling(at, input_tokens)
            most_given, most_made = rates.highest(kinds | self._unasked)
            fixed.append(-(-(input_tokens * most_given + rates.per_call) // PICO_PER_NANO))
            made.append(most_made)
        return max(fixed), max(made)

    def beside_tokens(
        self,
        calls: int,
        searches: int,
        at: float,
        tier: str | None = None,
        fees: Sequence[tuple[str, int]] = (),
        audio_ms: int = 0,
        region: str = "",
    ) -> int:
        """Return what further calls, searches, fees and sound cost at most beside their tokens, in nano-USD.

        Args:
            calls: how many calls, beyond the one that `bound` has the price of.
            searches: how many searches the provider may make.
            at: when the call starts, in Unix seconds.
            tier: the service tier that the request names.
            fees: units that may be billed each, by what they are, as `Usage` has them.
            audio_ms: milliseconds of sound that is billed by time.
            region: where the request asks to be served.
        """
        if self._answers:
            searches = min(searches, 1)
        picos: list[int] = []
        for schedule in self._schedules(tier, region):
            rates = schedule.ceiling(at, 0)
            pico = calls * rates.per_call + searches * (rates.per_search or self._per_result)
            if audio_ms:
                pico -= -audio_ms * rates.per_hour // MS_PER_HOUR
            if fees:
                pico += rates.billed_each(fees)
            picos.append(pico)
        return -(-max(picos) // PICO_PER_NANO)

    def rates(self, at: float, input_tokens: int = 0, tier: str | None = None) -> Rates:
        """Return the rates of a call, to be shown: in pico-USD, the dearest ones if the tier is unknown.

        Args:
            at: when it is made, in Unix seconds.
            input_tokens: how much input it has.
            tier: the service tier that it names; None for the standard one.
        """
        several = [one.rates(at, input_tokens) for one in self._schedules(tier, "")]
        return max(several, key=lambda rates: (rates.output, rates.input))

    def ceiling(self, at: float, input_tokens: int, tier: str | None = None) -> Rates:
        """Return the highest rates of calls with at most that much input, at any time of day, as :meth:`rates`."""
        several = [one.ceiling(at, input_tokens) for one in self._schedules(tier, "")]
        return max(several, key=lambda rates: (rates.output, rates.input))

    def answered_by(self, found: Price) -> Price:
        """Return what is charged where another model has answered than the one that was asked for.

        Args:
            found: the price of the model that answered.

        Returns:
            The same, but with this one's fee in it if this is a router's price.
        """
        fee = self._entry.router_fee
        if fee is None or found.router:
            return found
        entry = found._entry.map(lambda rates: rates.plus_per_input_token(fee))
        return Price(entry, max_output_tokens=found.max_output_tokens, registered=found.registered)

    def charges_as(self, other: Price) -> bool:
        """Whether it charges what another price does, for answers that are as long at most."""
        return self._charged() == other._charged()

    def _charged(self) -> tuple[object, ...]:
        entry = self._entry
        same = (entry.standard, dict(entry.tiers), dict(entry.regions), entry.router_fee)
        return (self.max_output_tokens, self.context_window, self._unasked, same)

    def _schedules(self, tier: str | None, region: str) -> Sequence[Schedule]:
        """Return the schedule for a tier in a region, or all that it may be if one of them is unknown."""
        several: list[Schedule] = []
        for tiers in self._tiers_in(region):
            found = tiers.get(tier or "")
            if found is None:
                found = tiers.get(tier_of(tier or ""))
            several += [found] if found is not None else tiers.values()
        return several

    def _tiers_in(self, region: str) -> Sequence[Mapping[str, Schedule]]:
        """Return the schedules by tier for a region, or those for all regions if nobody knows it."""
        place = region.lower()
        if place in ANYWHERE:
            return (self._by_tier,)
        if place in self._entry.regions:
            return (self._in(place),)
        return (self._by_tier, *map(self._in, self._entry.regions))

    def _in(self, region: str) -> Mapping[str, Schedule]:
        # Without a lock: threads that work it out at once all find the same.
        found = self._by_region.get(region)
        if found is None:
            factor = self._entry.regions[region]
            there = self._entry.map(lambda rates: rates.scaled(factor))
            found = self._by_region[region] = _by_tier(there.standard, there.tiers)
        return found

    def _unknown(self, usage: Counts) -> list[str]:
        found: list[str] = []
        tier, region = usage.service_tier, usage.region.lower()
        if not self.free:
            if tier is not None and tier not in self._by_tier and tier_of(tier) not in self._by_tier:
                found.append(f"service tier {shown(tier)}")
            if region not in ANYWHERE and region not in self._entry.regions:
                found.append(f"region {shown(usage.region)}")
        missing = self._unpriced
        if (usage.input_audio_tokens and missing & AUDIO) or (usage.output_audio_tokens and missing & AUDIO_OUT):
            found.append("audio tokens")
        if usage.output_image_tokens and missing & IMAGE_OUT:
            found.append("image tokens")
        if usage.audio_ms and missing & SOUND and not self.free:
            found.append("sound by its length")
        if usage.web_searches and missing & SEARCH:
            found.append(f"{usage.web_searches} searches")
        known = {name for rates in self._entry.standard.levels() for name, _ in rates.fees}
        found += [f"{units} {name.replace('_', ' ')}" for name, units in usage.fees if units and name not in known]
        return found


def _by_tier(standard: Schedule, tiers: Mapping[str, Schedule]) -> Mapping[str, Schedule]:
    """Return schedules by all the names that tiers have, in the letters in which they come most often."""
    return {**dict.fromkeys(STANDARD, standard), **tiers}


def alike(one: Price | None, other: Price | None) -> bool:
    """Whether a call costs the same at both prices, whatever it uses; as if neither is known."""
    return one is other or (one is not None and other is not None and one.charges_as(other))


def gemini_bills_answers(model: str) -> bool:
    """Whether a grounded answer is billed as one search; the models since the third are billed for each search.

    https://ai.google.dev/gemini-api/docs/pricing
    """
    return model.startswith(("gemini-1", "gemini-2"))
