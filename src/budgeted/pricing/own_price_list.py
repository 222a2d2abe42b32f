"""The list of our own, for what genai-prices cannot say or does not have: see `own_price_list.toml`."""

from __future__ import annotations

import functools
import importlib.resources
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from fractions import Fraction
from typing import Final
from urllib.parse import urlsplit

from budgeted.money import pico_usd
from budgeted.pricing import price_arguments
from budgeted.pricing.price_dimensions import Dimensions, PeakHours
from budgeted.pricing.price_entry import Entry

_ABOUT: Final = frozenset({"provider", "models", "hosts", "source", "read", "note", "routes_to"})


@dataclass(frozen=True, slots=True)
class Row:
    """What one row says, and of what.

    Attributes:
        provider: as genai-prices names it.
        models: patterns of models, by the names that the price list, or a request, has for them.
        hosts: what the rates of processing are multiplied by where a call goes to such a host, by patterns of hosts.
        routes_to: the models that a router may route to, as they are looked up without a provider.
        dimensions: what it says.
        source: the page that says so.
        read: the month in which that was looked at, such as "2026-11".
    """

    provider: str
    models: tuple[str, ...]
    hosts: Mapping[str, Fraction]
    routes_to: tuple[str, ...]
    dimensions: Dimensions
    source: str
    read: str

    def covers(self, provider: str, names: Iterable[str]) -> bool:
        """Whether it is of a provider's model by one of these names, in lower case."""
        return provider == self.provider and any(fnmatchcase(name, model) for name in names for model in self.models)

    def laid_over(self, entry: Entry | None, model: str, host: str) -> Entry | None:
        """Return an entry, if there is one, with what this says of it where the call goes to that host."""
        factor = next((factor for pattern, factor in self.hosts.items() if fnmatchcase(host, pattern)), None)
        changed = self.dimensions.laid_over(entry, self.provider, model)
        return (
            changed.map(lambda rates: rates.scaled(factor)) if changed is not None and factor is not None else changed
        )


def rows_for(provider: str, names: Iterable[str]) -> list[Row]:
    """Return the rows for a model, in their order.

    Args:
        provider: as genai-prices names it.
        names: what the model is called, in any case of letters.
    """
    lower = [name.lower() for name in names]
    return [row for row in rows() if row.covers(provider, lower)]


def host_of(base_url: str | None) -> str:
    """Return the host that calls go to, or ""."""
    try:
        return urlsplit(base_url or "").hostname or ""
    except ValueError:
        return ""


@functools.cache
def rows() -> tuple[Row, ...]:
    """Return all rows, in the order of the file: a later one is laid over an earlier one."""
    text = importlib.resources.files("budgeted.pricing").joinpath("own_price_list.toml").read_text("utf-8")
    return tuple(_row(each) for each in tomllib.loads(text)["price"])


def _row(said: dict[str, object]) -> Row:
    return Row(
        str(said["provider"]),
        tuple(model.lower() for model in _texts(said["models"])),
        _factors(said.get("hosts", {})),
        _texts(said.get("routes_to", [])),
        dimensions({name: value for name, value in said.items() if name not in _ABOUT}),
        str(said["source"]),
        str(said["read"]),
    )


def dimensions(said: Mapping[str, object]) -> Dimensions:
    """Return what is said of a price, by the names of `register_price`, and by those that only this list has."""
    rest = dict(said)
    fees = rest.pop("fees", {})
    steps, tiers, peak = rest.pop("steps", None), rest.pop("tiers", None), rest.pop("peak", None)
    valid_from, multiplier = rest.pop("valid_from", None), rest.pop("multiplier", None)
    regions, fee = _factors(rest.pop("regions", {})), rest.pop("router_fee", None)
    limits = {name: rest.pop(name) for name in ("max_output_tokens", "context_window") if name in rest}
    as_text = tuple(price_arguments.PER_TOKEN[name] for name in _texts(rest.pop("as_text", [])))
    return Dimensions(
        given=price_arguments.rates(rest),
        fees={str(name): pico_usd(amount, str(name)) for name, amount in _table(fees).items()},
        steps=price_arguments.steps(steps) if steps is not None else (),
        tiers=price_arguments.tiers(tiers) if tiers is not None else {},
        regions=regions,
        as_text=as_text,
        peak=_peak(_table(peak)) if peak is not None else None,
        multiplier=price_arguments.factor(multiplier, "multiplier") if multiplier is not None else None,
        valid_from=price_arguments.moment(valid_from) if valid_from is not None else None,
        router_fee=price_arguments.rates({"input": fee})["input"] if fee is not None else None,
        **{name: int(str(value)) for name, value in limits.items()},
    )


def _peak(said: Mapping[str, object]) -> PeakHours:
    spans = [tuple(_second(part) for part in span.split("-")) for span in _texts(said["hours"])]
    factor = price_arguments.factor(said["off_peak"], "off_peak")
    return PeakHours(tuple((start, end) for start, end in spans), _texts(said["days"]), factor)


def _second(time: str) -> int:
    hours, minutes = time.split(":")
    return int(hours) * 3600 + int(minutes) * 60


def _table(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        raise TypeError(f"a table is expected, got {value!r}")
    return value


def _texts(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise TypeError(f"a list of text is expected, got {value!r}")
    return tuple(str(each) for each in value)


def _factors(value: object) -> dict[str, Fraction]:
    return {name: price_arguments.factor(times, name) for name, times in _table(value).items()}
