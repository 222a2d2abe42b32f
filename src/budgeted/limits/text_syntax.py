"""How limits are written: as text such as ``$10/day on gpt-5*``."""

from __future__ import annotations

import datetime as dt
import difflib
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final

from budgeted.limits.limit_parts import (
    MOST,
    LimitParts,
    anchor_text,
    check_together,
    checked_anchor,
    checked_models,
)
from budgeted.limits.periods import WORDS, Period, parse_period
from budgeted.money import MAX_USD, nano_usd
from budgeted.units import Unit, amount_text
from budgeted.validation import shown

_SCALES: Final = {"k": 10**3, "m": 10**6, "b": 10**9}
_LONGEST_TEXT: Final = 1000
_HOUR: Final = 3600

_EXAMPLES: Final = (
    '"$10/day", "$5", "60 calls/minute", "20k input tokens/hour", "20 tool calls", "$5/rolling 24 hours", '
    '"$1/day on gpt-5*", "$100/month from 2026-01-15" or "$100/month, keep up to $50"'
)

_UNITS: Final[dict[str, Unit]] = {
    **dict.fromkeys(("token", "total token"), "tokens"),
    **dict.fromkeys(("input token", "prompt token"), "input tokens"),
    **dict.fromkeys(("output token", "completion token"), "output tokens"),
    **dict.fromkeys(("call", "request", "req", "model call", "api call", "llm call"), "calls"),
    "tool call": "tool calls",
}
"""What is no money, by its names in the singular."""
_NAMED: Final = {name.replace(" ", ""): unit for name, unit in _UNITS.items()}

_RATE_UNITS: Final[dict[str, Unit]] = {
    "r": "calls",
    "t": "tokens",
    "it": "input tokens",
    "ot": "output tokens",
}
_RATE_PERIODS: Final = {"s": "second", "m": "minute", "h": "hour", "d": "day"}
_RATES: Final = {
    f"{what}p{letter}": (unit, Period(1, parse_period(period).unit))
    for what, unit in _RATE_UNITS.items()
    for letter, period in _RATE_PERIODS.items()
}
"""Units per period in one word, as providers write them: rpm, tpm, rpd, itpm, ..."""

_WORDS: Final = (
    *WORDS,
    *"tokens calls requests dollars usd input output prompt completion tool rpm tpm".split(),
    *"per each every from rolling keep and".split(),
)

_DATE: Final = r"\d{4}-\d\d-\d\d (?: [T\s] \d\d:\d\d (?::\d\d(?:\.\d+)?)? (?: \s?z | [+-]\d\d:?\d\d )? )? (?!\w)"
_DOLLAR: Final = r"us\$ | usd | \$"
_UNIT: Final = "|".join(
    [*(name.replace(" ", r"[\s_-]?\s*+") + "s?" for name in sorted(_UNITS, key=len, reverse=True)), *_RATES, "dollars?"]
)

# Blanks are never given back (`*+`): a thousand of them took a minute, where several runs of them may meet.
_AMOUNT: Final = rf"""(?P<sign>-)? \s*+ (?P<dollar>{_DOLLAR})? \s*+ (?P<minus>-)?
    (?P<number> (?: \d{{1,3}}(?:,\d{{3}})+ | \d+(?:_\d+)* ) (?:\.\d*)? (?:e[+-]?\d{{1,3}})? | \.\d+ )
    (?: \s*+ (?P<scale>[kmb]) \b )?
    (?: \s*+ (?P<unit>{_DOLLAR}|{_UNIT}) (?!\w) )?"""
_UNNAMED_AMOUNT: Final = re.sub(r"\?P<[a-z]+>", "?:", _AMOUNT)
_KEEP: Final = r"(?: \s*+,\s*+ | \s++ ) keep(?:s|ing)? \s++ (?: up\s++to\s++ | at\s++most\s++ )?"

# A length of time, which parse_period reads.
_LENGTH: Final = r"""(?: (?:rolling|sliding) (?:\s++|-) )?
    (?: \d+ \s*+ (?:(?<=\d)-)? (?: (?:rolling|sliding)\s++ )? )? [a-z]+
    (?: \s++(?:window|period)\b )? (?: \s++(?:rolling|sliding)\b )?"""

# One limit, and the "+" before the next one. Behind a model it takes an amount to follow: command-r+ is a model.
_LIMIT: Final = re.compile(
    rf"""\s*+ {_AMOUNT}
    (?: (?: \s*+ (?: / | \b(?:per|an?|each|every)\b ) \s*+ | \s++ (?=(?:rolling|sliding)\b) ) (?P<period>{_LENGTH})
      | \s++ (?P<adverb>[a-z]+ly (?: \s++(?:rolling|sliding)\b )? ) )?
    (?P<clauses> (?:
        \s++on\s++\S+?(?=\s|\Z|\+\s*+[$\d]|,\s*+keep) | \s++from\s++{_DATE} | {_KEEP} {_UNNAMED_AMOUNT}
    )* )
    \s*+ (?: \Z | (?P<more>\+) )""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)

_CLAUSE: Final = re.compile(
    rf"\s++on\s++(?P<models>\S+?)(?=\s|\Z|,\s*+keep) | \s++from\s++(?P<anchor>{_DATE}) | {_KEEP} (?P<kept>{_AMOUNT})",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


def read_limits(text: str, period: Period | None = None) -> list[LimitParts]:
    """Read limits from text, several of them joined by ``+``.

    Args:
        text: the limits.
        period: of a limit whose text names none.

    Raises:
        ValueError: it cannot be read; the text says what may have been meant.
    """
    try:
        return list(_scan(text, period))
    except ValueError as error:
        meant = _respelt(text, period)
        reason = f"did you mean {meant!r}? Else " if meant else f"{error}. " if str(error) else ""
        raise ValueError(f"cannot read the limit {shown(text)}: {reason}write one such as {_EXAMPLES}") from None


def _scan(text: str, period: Period | None) -> Iterator[LimitParts]:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"it has more than {_LONGEST_TEXT} characters")
    more, position = True, 0
    while more:
        found = _LIMIT.match(text, position)
        if found is None:
            raise ValueError(_hint(text) or (f"{shown(text[position:])} is none" if position else ""))
        yield _parts(found, period)
        more, position = bool(found["more"]), found.end()


def _parts(found: re.Match[str], given: Period | None) -> LimitParts:
    unit, period = _unit(found)
    named = found["period"] or found["adverb"]
    if named and period is not None:
        of_length = f"{_number(found)} {unit}/{parse_period(named)}"
        raise ValueError(f'{found["unit"]} is per {period} already: leave the other period out, or write "{of_length}"')
    if named:
        period = parse_period(named)
    if unit is None:  # of so many per minute, nobody means dollars
        unit = "calls" if period is not None and period.seconds < _HOUR else "usd"
    amount = _amount(found, unit)
    models, anchor, keep = _clauses(found["clauses"], unit)
    if anchor is not None and period is None and given is None:
        raise ValueError("counting from a date needs a period")
    parts = LimitParts(unit, amount, period, models, anchor, keep)
    check_together(parts if period is not None else parts._replace(period=given))
    return parts


def _unit(found: re.Match[str]) -> tuple[Unit | None, Period | None]:
    """What an amount is in, if that is said, and the period that this says as well."""
    if found["unit"] is None:
        return ("usd" if found["dollar"] else None), None
    word = re.sub(r"[\s_-]", "", found["unit"].lower())
    if word[0] in "$ud":
        return "usd", None
    unit, period = _RATES[word] if word in _RATES else (_NAMED[word.removesuffix("s")], None)
    if found["dollar"]:
        either = f'"${_number(found)}" or "{_number(found)} {unit}"'
        raise ValueError(f"an amount is in USD or in something else, not both: write {either}")
    return unit, period


def _number(found: re.Match[str]) -> str:
    """The number as it is written, with the letter for thousands and more."""
    return f"{found['number']}{found['scale'] or ''}"


def _amount(found: re.Match[str], unit: Unit) -> int:
    """An amount in nano-USD, or in the unit itself."""
    number = Fraction(found["number"].replace(",", "").replace("_", ""))
    scale = (found["scale"] or "").lower()
    if unit == "usd" and scale in ("m", "b"):  # $5m may be anything
        raise ValueError("millions of USD are written out")
    number *= _SCALES[scale] if scale else 1
    if found["sign"] or found["minus"]:
        raise ValueError("its amount is negative")
    most = MAX_USD if unit == "usd" else MOST[unit]
    if number > most:
        raise ValueError(f"it may be at most {most:,} {unit.replace('usd', 'USD')}")
    if unit != "usd" and number.denominator > 1:
        bare = (
            ""
            if found["unit"]
            else f', and a bare number per minute or second is one: write "${_number(found)}" for USD'
        )
        raise ValueError(f"{unit} come whole{bare}")
    return nano_usd(number, up=False) if unit == "usd" else int(number)


def _clauses(text: str, unit: Unit) -> tuple[str | None, dt.datetime | None, int]:
    """The models, the date and what is kept of a limit that is in a unit."""
    models, anchor, keep = [], [], []
    for clause in _CLAUSE.finditer(text):
        if clause["models"]:
            models.append(clause["models"])
        elif clause["anchor"]:
            anchor.append(clause["anchor"])
        else:
            keep.append(clause)
    if len(models) > 1 or len(anchor) > 1:
        raise ValueError("'on' and 'from' may come once each")
    if len(keep) > 1:
        raise ValueError("'keep' may come once")
    return (
        checked_models(models[0]) if models else None,
        checked_anchor(anchor[0]) if anchor else None,
        _kept(keep[0], unit) if keep else 0,
    )


def _kept(clause: re.Match[str], unit: Unit) -> int:
    own, rate = _unit(clause)
    if rate is not None or own not in (None, unit):
        right = f"${_number(clause)}" if unit == "usd" else f"{_number(clause)} {unit}"
        raise ValueError(f'what it keeps is in its own unit: write "keep up to {right}"')
    return _amount(clause, unit)


def _hint(text: str) -> str:
    """What may be wrong with text that is no limit at all."""
    if re.search(r"\b(?:keep|carry|carried|roll\s?-?over|unused)", text, re.IGNORECASE):
        return 'what it keeps is an amount of its own unit at its end, as in "$100/month, keep up to $50"'
    if re.search(r"\b(?:rolling|sliding)\b", text, re.IGNORECASE):
        return 'a rolling period is a length of time, as in "$5/rolling 24 hours"'
    return ""


def _respelt(text: str, period: Period | None) -> str | None:
    """Return what was meant, if it takes only better spelling to read it."""
    if len(text) > _LONGEST_TEXT:
        return None
    head, on, models = text.lower().partition(" on ")

    def nearest(word: re.Match[str]) -> str:
        return next(iter(difflib.get_close_matches(word[0], _WORDS, n=1)), word[0])

    try:
        joined = re.sub(r"\s*(?:[,;&]|\band\b)\s+(?!keep)", " + ", re.sub(r"[a-z]{3,}", nearest, head))
        read = _scan(joined + on + models, period)
        return " + ".join(map(limit_text, read))
    except ValueError:
        return None


def limit_text(limit: LimitParts) -> str:
    """Write a limit so that it can be read again."""
    text = _amount_text(limit.amount, limit.unit)
    if limit.period:
        text += f"/{limit.period}"
    if limit.models:
        text += f" on {limit.models}"
    if limit.anchor:
        text += f" from {anchor_text(limit.anchor)}"
    if limit.keep:
        text += f", keep up to {_amount_text(limit.keep, limit.unit)}"
    return text


def _amount_text(amount: int, unit: Unit) -> str:
    return amount_text(amount, unit).removesuffix(".00")
