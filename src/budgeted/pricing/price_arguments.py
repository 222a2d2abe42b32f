"""What an application, or a row of the list of our own, says of a price: checked, and as integers."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping
from decimal import Decimal
from fractions import Fraction
from typing import Final, TypeAlias

from budgeted.money import pico_per_token, pico_usd
from budgeted.pricing.price_dimensions import Tier
from budgeted.pricing.service_tiers import APART, STANDARD, tier_of
from budgeted.validation import shown

Amount: TypeAlias = float | str | Decimal
"""USD, as a number or as text."""

LARGEST_FACTOR: Final = 1000
"""A price is multiplied by no more than this: whoever says more has mistaken percent for a factor, or worse."""

_SECONDS_PER_HOUR: Final = 3600
_MOST_INPUT: Final = 1_000_000_000

PER_TOKEN: Final[Mapping[str, str]] = {
    "input": "input",
    "output": "output",
    "cached_input": "cached_input",
    "cache_write": "cache_write",
    "cache_write_1h": "cache_write_1h",
    "reasoning": "reasoning",
    "audio_input": "input_audio",
    "cached_audio_input": "cached_audio",
    "audio_output": "output_audio",
    "image_input": "input_image",
    "image_output": "output_image",
}
"""What is said in USD per million tokens, and the field of `Rates` that it is."""

_UNITS: Final[Mapping[str, tuple[str, Callable[[object, str], int]]]] = {
    **{name: (rate, pico_per_token) for name, rate in PER_TOKEN.items()},
    "per_call": ("per_call", pico_usd),
    "per_search": ("per_search", pico_usd),
    "per_second": ("per_hour", lambda value, what: pico_usd(value, what, units=_SECONDS_PER_HOUR)),
}


def rates(given: Mapping[str, object], where: str = "") -> dict[str, int]:
    """Return amounts in pico-USD, by the names of the fields of `Rates`.

    Args:
        given: USD per million tokens, per call, per search or per second, by what they are for; None for none.
        where: what they belong to, for the error's text.

    Raises:
        TypeError: an amount is none at all.
        ValueError: a name is unknown, or an amount negative, not finite or absurd.
    """
    found = {}
    for name, amount in given.items():
        if name not in _UNITS:
            raise ValueError(f"{where or 'a price'} knows {', '.join(_UNITS)}, got {shown(name)}")
        if amount is not None:
            rate, convert = _UNITS[name]
            found[rate] = convert(amount, f"{name} of {where}" if where else name)
    return found


def needed(given: Mapping[str, object]) -> dict[str, int]:
    """Return amounts as `rates` does, where None is no amount."""
    return {rate: convert(amount, name) for name, amount in given.items() for rate, convert in (_UNITS[name],)}


def factor(value: object, what: str) -> Fraction:
    """Return what a price is multiplied by, exactly as it is written.

    Raises:
        TypeError: it is no number.
        ValueError: it is not above 0, not finite, or absurd.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float, str, Decimal, Fraction)):
        raise TypeError(f"{what} must be a number such as 1.1, got {shown(value)}")
    try:
        # A float means the number that it prints as; a long exponent is never written out.
        exact = Fraction(value) if isinstance(value, (int, Fraction)) else Decimal(str(value))
        if 0 < exact <= LARGEST_FACTOR and (isinstance(exact, Fraction) or exact.adjusted() > -_FINEST):
            return Fraction(exact)
    except ArithmeticError:
        pass
    raise ValueError(
        f"{what} must be a number above 0 and up to {LARGEST_FACTOR:,}, such as 1.1 for a tenth more, "
        f"got {shown(value)}"
    )


_FINEST: Final = 12


def tiers(value: object) -> dict[str, Tier]:
    """Return service tiers by name, from what their rates are multiplied by, or from rates of their own.

    Raises:
        TypeError: it is no mapping of such.
        ValueError: a provider has no such tier, or a number is absurd.
    """
    if not isinstance(value, Mapping):
        raise TypeError(f'tiers must be a mapping such as {{"priority": 1.8}}, got {shown(value)}')
    if not value:
        raise ValueError('tiers must name a tier, such as {"priority": 1.8}, got {}')
    found: dict[str, Tier] = {}
    for name, said in value.items():
        tier = _tier_name(name)
        if tier in found:
            raise ValueError(f"tiers must name each tier once, got {shown(name)} again")
        what = f"tiers[{shown(name)}]"
        if isinstance(said, Mapping):
            own = {key: amount for key, amount in said.items() if key != "multiplier"}
            times = factor(said["multiplier"], f"multiplier of {what}") if "multiplier" in said else Fraction(1)
            if not said:
                raise ValueError(f"{what} must say what the tier costs, such as 1.8, got {{}}")
            found[tier] = Tier(times, rates(own, what))
        else:
            found[tier] = Tier(factor(said, what))
    return found


def _tier_name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"a service tier must be a str, got {shown(name)}")
    tier = tier_of(name)
    if tier in STANDARD:
        raise ValueError(f"the tier {shown(name)} is the standard one, whose rates input and output say: leave it out")
    if tier not in APART:
        raise ValueError(f"no provider has a service tier {shown(name)}; there are {', '.join(sorted(APART))}")
    return tier


def steps(value: object) -> tuple[tuple[int, dict[str, int]], ...]:
    """Return the rates that are others for long inputs, in order of the number of tokens that is exceeded.

    Raises:
        TypeError: it is no mapping of numbers of tokens to rates.
        ValueError: a number is not positive, or a rate absurd.
    """
    example = '{200_000: {"input": 2.5, "output": 15}}'
    if not isinstance(value, Mapping):
        raise TypeError(f"steps must be a mapping such as {example}, got {shown(value)}")
    if not value:
        raise ValueError(f"steps must have a step, such as {example}, got {{}}")
    found = []
    for above, said in value.items():
        if isinstance(above, bool) or not isinstance(above, int):
            raise TypeError(f"a step must be a number of input tokens, as in {example}, got {shown(above)}")
        if not 0 < above <= _MOST_INPUT:
            raise ValueError(f"a step must be from 1 to {_MOST_INPUT:,} input tokens, got {shown(above)}")
        if not isinstance(said, Mapping):
            raise TypeError(f"steps[{above}] must be rates, as in {example}, got {shown(said)}")
        if not said:
            raise ValueError(f"steps[{above}] must say a rate, as in {example}, got {{}}")
        found.append((above, rates(said, f"steps[{above}]")))
    return tuple(sorted(found, key=lambda step: step[0]))


def moment(value: object, what: str = "valid_from") -> int:
    """Return a date, or a date and time, in Unix seconds. One without an offset is in UTC.

    Raises:
        TypeError: it is neither a date nor text.
        ValueError: it is text that is no date, or out of range.
    """
    found = value
    if isinstance(value, str):
        try:
            found = dt.datetime.fromisoformat(value.strip())
        except ValueError:
            found = None
    elif isinstance(value, dt.date) and not isinstance(value, dt.datetime):
        found = dt.datetime.combine(value, dt.time())
    elif not isinstance(value, dt.datetime):
        raise TypeError(f'{what} must be a date such as "2026-12-01", got {shown(value)}')
    if isinstance(found, dt.datetime):
        try:
            aware = found if found.tzinfo is not None else found.replace(tzinfo=dt.UTC)
            return int(aware.timestamp())
        except (OverflowError, ValueError):
            pass
    raise ValueError(f'{what} must be a date such as "2026-12-01", or one with a time, got {shown(value)}')
