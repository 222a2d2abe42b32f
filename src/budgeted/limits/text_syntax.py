"""How limits are written: as text such as ``$10/day on gpt-5*``, and as ids such as ``usd/day~gpt-5*``."""

from __future__ import annotations

import datetime as dt
import difflib
import math
import re
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, Literal, NamedTuple, TypeAlias, cast
from urllib.parse import quote, unquote

from budgeted.limits.periods import WORDS, Period, local_time, parse_period
from budgeted.money import MAX_USD, NANO, format_usd, nano_usd
from budgeted.validation import shown

Unit: TypeAlias = Literal["usd", "tokens", "calls"]
_MOST: Final[dict[Unit, int]] = {"usd": MAX_USD * NANO, "tokens": 10**15, "calls": 10**15}
_SCALES: Final = {"k": 10**3, "m": 10**6, "b": 10**9}
_LONGEST_TEXT: Final = 1000
_LONGEST_PATTERN: Final = 256

_EXAMPLES: Final = (
    '"$10/day", "$5", "100000 tokens/hour", "60 calls/minute", "$1/day on gpt-5*" or "$100/month from 2026-01-15"'
)

_WORDS: Final = (*WORDS, "tokens", "calls", "requests", "dollars", "usd", "per", "each", "every", "from")
_DATE: Final = r"\d{4}-\d\d-\d\d (?: [T\s] \d\d:\d\d (?::\d\d(?:\.\d+)?)? (?: \s?z | [+-]\d\d:?\d\d )? )? (?!\w)"

# One limit, and the "+" before the next one. Behind a model it takes an amount to follow: command-r+ is a model.
# Blanks are never given back (`*+`): a thousand of them took a minute, where several runs of them may meet.
_LIMIT: Final = re.compile(
    rf"""\s*+ (?P<sign>-)? \s*+ (?P<dollar>us\$|usd|\$)? \s*+ (?P<minus>-)?
    (?P<number> (?: \d{{1,3}}(?:,\d{{3}})+ | \d+(?:_\d+)* ) (?:\.\d*)? (?:e[+-]?\d{{1,3}})? | \.\d+ )
    (?: \s*+ (?P<scale>[kmb]) \b )?
    (?: \s*+ (?P<unit>us\$|usd|\$|dollars?|tokens?|calls?|requests?|reqs?) (?!\w) )?
    (?: \s*+ (?: / | \b(?:per|an?|each|every)\b ) \s*+ (?P<period>(?:\d+\s*+)?[a-z]+)
      | \s++ (?P<adverb>[a-z]+ly) )?
    (?P<clauses> (?: \s++on\s++\S+?(?=\s|\Z|\+\s*+[$\d]) | \s++from\s++{_DATE} )* )
    \s*+ (?: \Z | (?P<more>\+) )""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)

_CLAUSE: Final = re.compile(
    rf"\s++ (?: on\s++(?P<models>\S+) | from\s++(?P<anchor>{_DATE}) )", re.ASCII | re.IGNORECASE | re.VERBOSE
)

_ID: Final = re.compile(
    r"(?P<unit>usd|tokens|calls) (?: /(?P<count>\d{1,15})?(?P<per>[a-z]+) (?:@(?P<anchor>[\dT:Z-]+))? )?"
    r"(?: ~(?P<models>\S+) )?",
    re.ASCII | re.VERBOSE,
)


class LimitParts(NamedTuple):
    """What a limit consists of, already checked one by one."""

    unit: Unit
    amount: int
    period: Period | None = None
    models: str | None = None
    anchor: dt.datetime | None = None


def read_limits(text: str) -> list[LimitParts]:
    """Read limits from text, several of them joined by ``+``.

    Raises:
        ValueError: it cannot be read; the text says what may have been meant.
    """
    try:
        return list(_scan(text))
    except ValueError as error:
        meant = _respelt(text)
        reason = f"did you mean {meant!r}? Else " if meant else f"{error}. " if str(error) else ""
        raise ValueError(f"cannot read the limit {shown(text)}: {reason}write one such as {_EXAMPLES}") from None


def _scan(text: str) -> Iterator[LimitParts]:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"it has more than {_LONGEST_TEXT} characters")
    more, position = True, 0
    while more:
        found = _LIMIT.match(text, position)
        if found is None:
            raise ValueError(f"{shown(text[position:])} is none" if position else "")
        yield _parts(found)
        more, position = bool(found["more"]), found.end()


def _parts(found: re.Match[str]) -> LimitParts:
    unit = _unit(found)
    number = Fraction(found["number"].replace(",", "").replace("_", ""))
    number *= _SCALES[found["scale"].lower()] if found["scale"] else 1
    if found["sign"] or found["minus"]:
        raise ValueError("its amount is negative")
    most = MAX_USD if unit == "usd" else _MOST[unit]
    if number > most:
        raise ValueError(f"it may be at most {most:,} {unit.replace('usd', 'USD')}")
    if unit != "usd" and number.denominator > 1:
        raise ValueError(f"{unit} come whole")
    amount = nano_usd(number, up=False) if unit == "usd" else int(number)
    named = found["period"] or found["adverb"]
    models, anchor = _clauses(found["clauses"])
    if anchor is not None and named is None:
        raise ValueError("counting from a date needs a period")
    return LimitParts(unit, amount, parse_period(named) if named else None, models, anchor)


def _unit(found: re.Match[str]) -> Unit:
    word = (found["unit"] or "$").lower()
    if word[0] in "$ud":
        if found["scale"] and found["scale"].lower() != "k":  # $5m may be anything
            raise ValueError("millions of USD are written out")
        return "usd"
    if found["dollar"]:
        raise ValueError("an amount is in USD or in something else, not both")
    return "tokens" if word[0] == "t" else "calls"


def _clauses(text: str) -> tuple[str | None, dt.datetime | None]:
    models, anchor = [], []
    for clause in _CLAUSE.finditer(text):
        if clause["models"]:
            models.append(clause["models"])
        else:
            anchor.append(clause["anchor"])
    if len(models) > 1 or len(anchor) > 1:
        raise ValueError("'on' and 'from' may come once each")
    return checked_models(models[0]) if models else None, checked_anchor(anchor[0]) if anchor else None


def _respelt(text: str) -> str | None:
    """Return what was meant, if it takes only better spelling to read it."""
    if len(text) > _LONGEST_TEXT:
        return None
    head, on, models = text.lower().partition(" on ")

    def nearest(word: re.Match[str]) -> str:
        return next(iter(difflib.get_close_matches(word[0], _WORDS, n=1)), word[0])

    try:
        return " + ".join(map(limit_text, _scan(re.sub(r"[a-z]{3,}", nearest, head) + on + models)))
    except ValueError:
        return None


def limit_text(limit: LimitParts) -> str:
    """Write a limit so that it can be read again."""
    if limit.unit == "usd":
        text = format_usd(limit.amount).removesuffix(".00")
    else:
        text = f"{limit.amount:,} {limit.unit if limit.amount != 1 else limit.unit[:-1]}"
    if limit.period:
        text += f"/{limit.period}"
    if limit.models:
        text += f" on {limit.models}"
    if limit.anchor:
        text += f" from {anchor_text(limit.anchor)}"
    return text


def checked_amount(unit: Unit, amount: object) -> int:
    """An amount in nano-USD, tokens or calls.

    Raises:
        TypeError: it is not an int.
        ValueError: it is out of range.
    """
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise TypeError(f"an amount of {_unit_name(unit)} must be an int, got {shown(amount)}")
    if not 0 <= amount <= _MOST[unit]:
        raise ValueError(f"an amount of {_unit_name(unit)} must be from 0 to {_MOST[unit]:,}, got {shown(amount)}")
    return amount


def _unit_name(unit: Unit) -> str:
    return "nano-USD" if unit == "usd" else unit


def checked_models(pattern: object) -> str | None:
    """A glob of models in lower case; None for one that all models match.

    Raises:
        TypeError: it is not a str.
        ValueError: it is none, or would be read as two limits.
    """
    if not isinstance(pattern, str):
        raise TypeError(f'models must be a str such as "gpt-5*", got {shown(pattern)}')
    if not pattern or len(pattern) > _LONGEST_PATTERN or not pattern.isprintable() or re.search(r"[\s,]", pattern):
        raise ValueError(f'models must be one pattern without spaces or commas, such as "gpt-5*", got {shown(pattern)}')
    if re.search(r"\+[$\d]", pattern):
        raise ValueError(f'write "?" for the "+" in models={shown(pattern)}: it would separate two limits')
    return None if pattern == "*" else pattern.lower()


def checked_anchor(value: object) -> dt.datetime:
    """Bring an anchor into its one form: whole seconds, in UTC or naive.

    Raises:
        TypeError: it is neither a date, text nor a number.
        ValueError: it is no date from 1900 to 2999.
    """
    try:
        anchor = _datetime(value)
    except (ValueError, OverflowError, OSError):
        anchor = None
    # Outside these years the calendar's arithmetic may overflow, and a time in milliseconds would pass for one.
    if anchor is None or not 1900 <= anchor.year < 3000:
        raise ValueError(
            'periods are counted from a date such as "2026-01-15" or "2026-01-15T09:00Z", or from unix seconds, '
            f"from 1900 to 2999, got {shown(value)}"
        )
    return anchor


def _datetime(value: object) -> dt.datetime:
    if isinstance(value, str):
        value = dt.datetime.fromisoformat(value.upper().replace(" Z", "Z"))
    if isinstance(value, dt.datetime):
        known = value.astimezone(dt.UTC) if value.tzinfo else value
        return known.replace(microsecond=0, fold=0)
    if isinstance(value, dt.date):
        return dt.datetime(value.year, value.month, value.day)  # noqa: DTZ001
    if isinstance(value, int | float) and not isinstance(value, bool):
        return local_time(math.floor(value), dt.UTC)
    raise TypeError(f"periods are counted from a date, a datetime, text or unix seconds, got {shown(value)}")


def anchor_text(anchor: dt.datetime) -> str:
    """Write an anchor, as short as it can be read again."""
    if anchor.tzinfo is None and anchor.time() == dt.time():
        return anchor.date().isoformat()
    text = anchor.replace(tzinfo=None).isoformat(timespec="seconds" if anchor.second else "minutes")
    return f"{text}Z" if anchor.tzinfo else text


def limit_id(parts: LimitParts) -> str:
    """Write the id of a limit, which leaves its amount out."""
    text = str(parts.unit)
    if parts.period:
        text += f"/{parts.period.count if parts.period.count > 1 else ''}{parts.period.unit}"
    if parts.anchor:
        text += f"@{anchor_text(parts.anchor)}"
    if parts.models:
        text += f"~{quote(parts.models, safe='*?[]!/:@+')}"
    return text


def parts_of_id(id: str, amount: int) -> LimitParts:
    """What the limit consists of that has an id.

    Raises:
        TypeError: the amount is not an int.
        ValueError: no limit has this id, or the amount is out of range.
    """
    found = _ID.fullmatch(id)
    if found is None:
        raise ValueError(f"no limit has the id {shown(id)}")
    unit, models, anchor = cast("Unit", found["unit"]), found["models"], found["anchor"]
    period = parse_period(f"{found['count'] or 1} {found['per']}") if found["per"] else None
    return LimitParts(
        unit,
        checked_amount(unit, amount),
        period,
        models and checked_models(unquote(models)),
        checked_anchor(anchor) if anchor else None,
    )
