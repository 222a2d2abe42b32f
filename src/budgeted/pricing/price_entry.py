"""What a price list has about one model of one provider, compiled, and how an entry is changed as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction
from types import MappingProxyType
from typing import Final, NamedTuple

from budgeted.pricing.rate_schedule import Schedule
from budgeted.pricing.token_rates import Rates

NO_REGIONS: Final[Mapping[str, Fraction]] = MappingProxyType({})


class Entry(NamedTuple):
    """What is known of a model.

    Attributes:
        provider: as genai-prices names it.
        model: as the price list names it.
        context_window: in tokens, or None if nobody knows.
        standard: the rates of the standard service tier.
        tiers: the rates of the tiers that are priced apart, by name.
        regions: what the rates are multiplied by where a call is served in a region, by its name.
        router_fee: pico-USD per input token that a router bills beside the model that answers; None for a model.
        max_output_tokens: the most that one answer can have, or None if the list does not say.
    """

    provider: str
    model: str
    context_window: int | None
    standard: Schedule
    tiers: Mapping[str, Schedule]
    regions: Mapping[str, Fraction] = NO_REGIONS
    router_fee: int | None = None
    max_output_tokens: int | None = None

    def map(self, change: Callable[[Rates], Rates]) -> Entry:
        """Return this entry with the rates of all its tiers changed."""
        tiers = {name: schedule.map(change) for name, schedule in self.tiers.items()}
        return self._replace(standard=self.standard.map(change), tiers=tiers)

    def until(self, date: int, later: Entry) -> Entry:
        """Return this entry up to a date, in Unix seconds, and another one from then on."""
        tiers = {name: self.tiers.get(name, schedule).until(date, schedule) for name, schedule in later.tiers.items()}
        for name, schedule in self.tiers.items():
            tiers.setdefault(name, schedule.until(date, later.standard))
        return later._replace(standard=self.standard.until(date, later.standard), tiers=tiers)
