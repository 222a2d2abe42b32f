"""What is said of a price, by the application or by the list of our own, and an entry with that laid over it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Final

from budgeted.pricing.price_entry import NO_REGIONS, Entry
from budgeted.pricing.rate_schedule import Schedule, Steps
from budgeted.pricing.token_rates import Rates, rates_of

_NOTHING: Final = Schedule.always(rates_of({}))


@dataclass(frozen=True, slots=True)
class Tier:
    """A service tier: what the standard rates are multiplied by, and those that it has of its own."""

    factor: Fraction = Fraction(1)
    given: Mapping[str, int] = field(default_factory=dict)

    def of(self, rates: Rates) -> Rates:
        """Return the tier's rates."""
        return rates.scaled(self.factor).with_given(self.given)


@dataclass(frozen=True, slots=True)
class PeakHours:
    """When the rates that are said hold, in seconds after midnight UTC, on which days; else they are multiplied."""

    hours: tuple[tuple[int, int], ...]
    days: tuple[str, ...]
    factor: Fraction


@dataclass(frozen=True, slots=True)
class Dimensions:
    """All that can be said of a price. What is not said stays as it is.

    Attributes:
        given: rates in pico-USD, by the names of the fields of `Rates`.
        fees: pico-USD for each unit that is billed beside tokens, by its name.
        steps: by how many input tokens have to be exceeded, the rates that are others then.
        tiers: service tiers, by name.
        regions: what the rates of processing are multiplied by, by the name of a region.
        as_text: kinds of token that are charged as text where no rate is given.
        peak: when the rates hold, if they do not always.
        multiplier: what all of the price is multiplied by.
        valid_from: from when on this holds, in Unix seconds; None for always.
        router_fee: pico-USD per input token that a router bills beside the model that answers.
        max_output_tokens: the most that one answer can have.
        context_window: in tokens.
    """

    given: Mapping[str, int] = field(default_factory=dict)
    fees: Mapping[str, int] = field(default_factory=dict)
    steps: tuple[tuple[int, Mapping[str, int]], ...] = ()
    tiers: Mapping[str, Tier] = field(default_factory=dict)
    regions: Mapping[str, Fraction] = field(default_factory=dict)
    as_text: tuple[str, ...] = ()
    peak: PeakHours | None = None
    multiplier: Fraction | None = None
    valid_from: int | None = None
    router_fee: int | None = None
    max_output_tokens: int | None = None
    context_window: int | None = None

    @property
    def whole(self) -> bool:
        """Whether this is a whole price, so that nothing of a listed one is left."""
        return "input" in self.given and "output" in self.given

    @property
    def says_anything(self) -> bool:
        """Whether anything of a price is said at all."""
        return bool(self.given or self.tiers or self.steps or self.multiplier or self.max_output_tokens)

    @property
    def sufficient(self) -> bool:
        """Whether this is a price even where none is listed: it says what a call is billed by, not just what more."""
        return any(name in self.given for name in ("input", "output", "per_call", "per_hour"))

    def laid_over(self, listed: Entry | None, provider: str, model: str) -> Entry | None:
        """Return an entry with all this in it, or None if there is none and this does not make one.

        Args:
            listed: the entry that is known so far, if there is one.
            provider: whose model it is, for a new entry.
            model: its name, for a new entry.
        """
        if listed is None or self.whole:
            if not self.sufficient:
                return None
            base = listed or Entry(provider, model, None, _NOTHING, {})
            rates = Schedule.always(rates_of(self.given, self.fees))
            base = base._replace(standard=rates, tiers={}, regions=NO_REGIONS)
        else:
            base = listed._replace(
                standard=listed.standard.map(lambda rates: rates.with_given(self.given, self.fees)),
                tiers={
                    name: schedule.map(lambda rates: rates.filled(self.given, self.fees))
                    for name, schedule in listed.tiers.items()
                },
            )
        changed = self._shaped(base)
        return changed if listed is None or self.valid_from is None else listed.until(self.valid_from, changed)

    def _shaped(self, entry: Entry) -> Entry:
        """Return an entry with the steps, hours, tiers and regions that are said, and multiplied."""
        if self.as_text:
            entry = entry.map(lambda rates: rates.as_text(self.as_text))
        standard = entry.standard
        if self.steps:
            standard = standard.map_steps(self._stepped)
        if self.peak is not None:
            factor = self.peak.factor
            standard = standard.at_peaks(self.peak.hours, self.peak.days, lambda rates: rates.scaled(factor))
        tiers = {**entry.tiers, **{name: standard.map(tier.of) for name, tier in self.tiers.items()}}
        entry = entry._replace(
            standard=standard,
            tiers=tiers,
            regions={**entry.regions, **self.regions},
            router_fee=entry.router_fee if self.router_fee is None else self.router_fee,
            max_output_tokens=self.max_output_tokens or entry.max_output_tokens,
            context_window=self.context_window or entry.context_window,
        )
        times = self.multiplier
        return entry if times is None else entry.map(lambda rates: rates.scaled(times, whole=True))

    def _stepped(self, steps: Steps) -> Steps:
        """Return the steps that are said, each of which begins with the rates of the one before."""
        levels = [steps.levels[0]]
        for _, given in self.steps:
            levels.append(levels[-1].with_given(given))
        return Steps(tuple(above for above, _ in self.steps), tuple(levels))
