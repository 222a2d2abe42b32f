"""Money as integers: balances in nano-USD (1e-9 USD), rates in pico-USD per token (1e-12 USD).

Nothing here uses the caller's decimal context, and nothing rounds more than once.
"""

from __future__ import annotations

import re
from decimal import Context, Decimal, InvalidOperation
from numbers import Rational, Real
from typing import Final

from budgeted.validation import shown

NANO: Final = 10**9
"""Nano-USD in one USD."""

PICO_PER_NANO: Final = 1000
"""Pico-USD in one nano-USD."""

MAX_USD: Final = 10**9
"""The largest amount accepted, in USD."""

_PICO_PER_MILLION: Final = 10**6  # 1 USD per million tokens is 1e-6 USD, so a million pico-USD, per token
_HUGE, _TINY = Decimal("1e40"), Decimal("1e-40")
_CONTEXT: Final = Context(traps=[InvalidOperation])
# Blanks are never given back (`*+`): where two runs of them meet, many blanks would take many seconds.
_MONEY: Final = re.compile(
    r"""\s*+ (?P<sign>-)? (?:us\$|usd|\$)? \s*+
    (?P<number> -? (?: \d{1,3}(?:,\d{3})+(?:\.\d*)? | \d+(?:_\d+)*(?:\.\d*)? | \.\d+ ) (?:e[+-]?\d{1,9})? )
    \s*+ (?:us\$|usd|\$|dollars?)? \s*+""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def nano_usd(value: object, what: str = "amount", *, up: bool = True) -> int:
    """Turn an amount of money into whole nano-USD.

    Args:
        value: USD as an int, float, Decimal, Fraction or any other real number, or as text such as ``"5"``,
            ``"$5"``, ``"1,000.50"`` or ``"5 USD"``. A float means the number that it prints as: 0.1 is 0.1.
        what: what the amount is, for the error's text.
        up: round up (for costs) or down (for limits) what is finer than a nano-USD.

    Returns:
        Nano-USD, from 0 to ``MAX_USD * NANO``.

    Raises:
        TypeError: ``value`` is no amount at all (a bool, None, bytes, ...).
        ValueError: it is negative, not finite, above ``MAX_USD``, or text that is no number.

    Example:
        >>> nano_usd("$0.25"), nano_usd(0.1)
        (250000000, 100000000)
    """
    if type(value) is int and 0 <= value <= MAX_USD:
        return value * NANO
    return _scaled(value, NANO, what, up=up)


def pico_per_token(usd_per_million: object, what: str = "price") -> int:
    """Turn a price in USD per million tokens, as price lists give it, into pico-USD per token, rounded up.

    Args:
        usd_per_million: the price, in any form that `nano_usd` takes.
        what: what the price is, for the error's text.

    Raises:
        TypeError: the price is no amount at all.
        ValueError: it is negative, not finite, above ``MAX_USD``, or text that is no number.

    Example:
        >>> pico_per_token(0.15)
        150000
    """
    return _scaled(usd_per_million, _PICO_PER_MILLION, what, up=True)


def pico_usd(value: object, what: str = "price", *, units: int = 1) -> int:
    """Turn a price in USD into whole pico-USD, rounded up.

    Args:
        value: the price of one unit, in any form that `nano_usd` takes.
        what: what the price is, for the error's text.
        units: for how many units the pico-USD are.

    Raises:
        TypeError: the price is no amount at all.
        ValueError: it is negative, not finite, above ``MAX_USD``, or text that is no number.

    Example:
        >>> pico_usd("0.0001", units=3600)
        360000000000
    """
    return _scaled(value, NANO * PICO_PER_NANO * units, what, up=True)


def to_usd(nano: int) -> float:
    """Return the float nearest to ``nano`` nano-USD, in USD."""
    return nano / NANO


def format_usd(nano: int) -> str:
    """Write nano-USD exactly, with two decimals or as many as it takes.

    Example:
        >>> format_usd(500_000_000), format_usd(123_000), format_usd(1_234_560_000_000)
        ('$0.50', '$0.000123', '$1,234.56')
    """
    whole, rest = divmod(abs(nano), NANO)
    decimals = f"{rest:09}".rstrip("0").ljust(2, "0")
    return f"{'-' if nano < 0 else ''}${whole:,}.{decimals}"


def short_usd(nano: int) -> str:
    """Write nano-USD as a glance reads them: four digits or three that matter, and never nothing for something.

    Example:
        >>> [short_usd(nano) for nano in (0, 91_750, 21_349_000, 6_040_616_750, 1_204_490_000_000)]
        ['$0.00', '$0.0000918', '$0.0213', '$6.04', '$1,204']
    """
    size, sign = abs(nano), "-" if nano < 0 else ""
    if size >= 1_000 * NANO:
        return f"{sign}${(size + NANO // 2) // NANO:,}"
    step = 10**7 if size >= NANO else 10 ** max(0, len(str(size)) - 3)
    rounded = (size + step // 2) // step * step
    # What has been rounded up to a whole dollar is written as such.
    return f"{sign}{format_usd(rounded)}"


def _scaled(value: object, scale: int, what: str, *, up: bool) -> int:
    numerator, denominator = _ratio(value, what)
    if numerator < 0:
        raise ValueError(f"{what} must not be negative, got {shown(value)}")
    if numerator > MAX_USD * denominator:
        raise ValueError(f"{what} must not be above {MAX_USD:,} USD, got {shown(value)}")
    units, rest = divmod(numerator * scale, denominator)
    return units + 1 if up and rest else units


def _ratio(value: object, what: str) -> tuple[int, int]:
    """Return ``value`` as an exact fraction."""
    if isinstance(value, str):
        return _decimal_ratio(_number_in(value, what), value, what)
    if isinstance(value, float):
        return _decimal_ratio(float.__repr__(value), value, what)
    if not isinstance(value, bool):
        if isinstance(value, Rational):
            return int(value.numerator), int(value.denominator)
        if isinstance(value, Decimal | Real):
            return _decimal_ratio(str(value), value, what)  # numpy's float32(0.1), too, prints as 0.1 and means it
    raise TypeError(f'{what} must be a number of USD, such as 5, 0.25 or "$5", got {shown(value)}')


def _decimal_ratio(number: str, value: object, what: str) -> tuple[int, int]:
    try:
        exact = Decimal(number, _CONTEXT)
    except InvalidOperation:
        raise _unreadable(value, what) from None
    if not exact.is_finite():
        raise ValueError(f"{what} must be finite, got {shown(value)}")
    if not exact:
        return 0, 1
    # Beyond these all numbers are alike to us, and an exponent of a million digits is never written out.
    if exact.adjusted() > 40:
        exact = _HUGE.copy_sign(exact)
    elif exact.adjusted() < -40:
        exact = _TINY.copy_sign(exact)
    return exact.as_integer_ratio()


def _number_in(text: str, what: str) -> str:
    found = _MONEY.fullmatch(text)
    if found is None:
        if text.strip().lstrip("+-").lower() in {"nan", "snan", "inf", "infinity"}:
            raise ValueError(f"{what} must be finite, got {shown(text)}")
        raise _unreadable(text, what)
    return (found["sign"] or "") + found["number"].replace(",", "").replace("_", "")


def _unreadable(value: object, what: str) -> ValueError:
    return ValueError(f'{what} must be a number of USD, such as "5", "0.25" or "$5", got {shown(value)}')


def plain_usd(amount: float) -> str:
    """An amount for a machine to read: to the nano-USD, without a sign of the currency or zeros at the end.

    Args:
        amount: in USD.

    Example:
        >>> plain_usd(0.5), plain_usd(1e-9)
        ('0.5', '0.000000001')
    """
    return f"{round(amount * NANO) / NANO:.9f}".rstrip("0").rstrip(".")
