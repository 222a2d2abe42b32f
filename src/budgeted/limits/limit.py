"""Limits: how much may be spent, per period or for ever, on every model or on some."""

from __future__ import annotations

import datetime as dt
import difflib
import fnmatch
import math
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from typing import Final, Literal, NamedTuple, TypeAlias, TypeVar, cast
from urllib.parse import quote, unquote

from budgeted.limits.periods import WORDS, Period, parse_period, window
from budgeted.money import MAX_USD, NANO, format_usd, nano_usd
from budgeted.validation import shown

Unit: TypeAlias = Literal["usd", "tokens", "calls"]
LimitLike: TypeAlias = "Limit | str | float | Decimal"
_T = TypeVar("_T")
Anchor: TypeAlias = dt.date | str | float

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
_LIMIT: Final = re.compile(
    rf"""\s* (?P<sign>-)? \s* (?P<dollar>us\$|usd|\$)? \s* (?P<minus>-)?
    (?P<number> (?: \d{{1,3}}(?:,\d{{3}})+ | \d+(?:_\d+)* ) (?:\.\d*)? (?:e[+-]?\d{{1,3}})? | \.\d+ )
    (?: \s* (?P<scale>[kmb]) \b )?
    (?: \s* (?P<unit>us\$|usd|\$|dollars?|tokens?|calls?|requests?|reqs?) (?!\w) )?
    (?: \s* (?: / | \b(?:per|an?|each|every)\b ) \s* (?P<period>(?:\d+\s*)?[a-z]+)
      | \s+ (?P<adverb>[a-z]+ly) )?
    (?P<clauses> (?: \s+on\s+\S+?(?=\s|\Z|\+\s*[$\d]) | \s+from\s+{_DATE} )* )
    \s* (?: \Z | (?P<more>\+) )""",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)
_CLAUSE: Final = re.compile(
    rf"\s+ (?: on\s+(?P<models>\S+) | from\s+(?P<anchor>{_DATE}) )", re.ASCII | re.IGNORECASE | re.VERBOSE
)
_ID: Final = re.compile(
    r"(?P<unit>usd|tokens|calls) (?: /(?P<count>\d{1,15})?(?P<per>[a-z]+) (?:@(?P<anchor>[\dT:Z-]+))? )?"
    r"(?: ~(?P<models>\S+) )?",
    re.ASCII | re.VERBOSE,
)


class _Parts(NamedTuple):
    """What a limit consists of, already checked one by one."""

    unit: Unit
    amount: int
    period: Period | None = None
    models: str | None = None
    anchor: dt.datetime | None = None


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Limit:
    """An amount of USD, tokens or calls, per period or for ever, optionally only for some models.

    Limits are values: hashable, and equal if all their parts are. ``id`` tells which limit of an account it is,
    and leaves the amount out: the same limit with a new amount keeps what was spent.

    Args:
        value: text such as ``"$10/day"``, a number of USD, or another limit. What is finer than a nano-USD is
            cut off.
        period: the period, where ``value`` names none: a ``Period``, ``"monthly"``, ``"30d"``, ...
        models: the models it counts, where ``value`` names none: a glob such as ``"gpt-5*"``, in any case.
        anchor: from when on periods are counted, where ``value`` does not tell: a date or naive datetime (local
            to the manager's time zone), an aware datetime, ISO text of these, or unix seconds.

    Attributes:
        unit: ``"usd"``, ``"tokens"`` or ``"calls"``.
        amount: in nano-USD, tokens or calls.
        period: a ``Period``, or None for ever.
        models: a glob in lower case, or None for all models.
        anchor: a naive datetime, or an aware one in UTC; None if periods follow the calendar.
        id: unit, period, anchor and models as short ASCII text, for example ``"usd/day~gpt-5*"``.

    Raises:
        TypeError: ``value`` is neither a limit, text nor a number.
        ValueError: it cannot be read as a limit, or its parts do not go together.

    Example:
        >>> Limit("100k tokens per hour"), Limit(20, "monthly"), str(Limit("$0.50 a day ON GPT-5*"))
        (Limit('100,000 tokens/hour'), Limit('$20/month'), '$0.50/day on gpt-5*')
    """

    unit: Unit
    amount: int
    period: Period | None
    models: str | None
    anchor: dt.datetime | None
    id: str = field(compare=False)

    def __init__(
        self,
        value: LimitLike,
        period: str | Period | None = None,
        *,
        models: str | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        parts = _parts_of(value)
        self._fill(
            _Parts(
                parts.unit,
                parts.amount,
                _either("period", parts.period, None if period is None else parse_period(period)),
                _either("models", parts.models, None if models is None else _models(models)),
                _either("anchor", parts.anchor, None if anchor is None else _anchor(anchor)),
            )
        )

    @classmethod
    def parse_all(cls, value: LimitLike | Iterable[LimitLike]) -> tuple[Limit, ...]:
        """Read several limits: text joined by ``+``, a single limit or number, or an iterable of all these.

        Raises:
            TypeError, ValueError: as the constructor, or two of them are the same limit.

        Example:
            >>> Limit.parse_all("$5/day + $100/month")
            (Limit('$5/day'), Limit('$100/month'))
        """
        limits = tuple(cls._each(value))
        first: dict[str, Limit] = {}
        for limit in limits:
            if first.setdefault(limit.id, limit) is not limit:
                raise ValueError(f"two amounts for one limit: {str(first[limit.id])!r} and {str(limit)!r}")
        return limits

    @classmethod
    def from_id(cls, id: str, amount: int) -> Limit:
        """Make the limit that has this ``id``, with an amount in nano-USD, tokens or calls.

        Raises:
            TypeError: the amount is not an int.
            ValueError: no limit has this id, or the amount is out of range.
        """
        found = _ID.fullmatch(id)
        if found is None:
            raise ValueError(f"no limit has the id {shown(id)}")
        unit, models, anchor = cast("Unit", found["unit"]), found["models"], found["anchor"]
        period = parse_period(f"{found['count'] or 1} {found['per']}") if found["per"] else None
        limit = cls._of(
            _Parts(
                unit,
                _amount(unit, amount),
                period,
                models and _models(unquote(models)),
                _anchor(anchor) if anchor else None,
            )
        )
        if limit.id != id:
            raise ValueError(f"no limit has the id {shown(id)}, did you mean {limit.id!r}?")
        return limit

    def with_amount(self, amount: int) -> Limit:
        """Return the same limit with another amount, in nano-USD, tokens or calls."""
        return self._of(_Parts(self.unit, _amount(self.unit, amount), self.period, self.models, self.anchor))

    def matches(self, model: str) -> bool:
        """Tell whether calls of ``model`` count, in upper or lower case."""
        return self.models is None or fnmatch.fnmatchcase(model.lower(), self.models)

    def window(self, at: float, tz: dt.tzinfo) -> tuple[int, int]:
        """Return start and end of the period that ``at`` is in, in unix seconds; see ``periods.window``."""
        return window(self.period, self.anchor, at, tz)

    def __str__(self) -> str:
        return _text(self)

    def __repr__(self) -> str:
        return f"Limit({str(self)!r})"

    @classmethod
    def _each(cls, value: object) -> Iterator[Limit]:
        if isinstance(value, str):
            yield from map(cls._of, _read(value))
        elif isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | Mapping):
            for one in value:
                yield from cls._each(one)
        else:
            yield cls(cast("LimitLike", value))

    @classmethod
    def _of(cls, parts: _Parts) -> Limit:
        limit = object.__new__(cls)
        limit._fill(parts)
        return limit

    def _fill(self, parts: _Parts) -> None:
        if parts.anchor is not None and parts.period is None:
            raise ValueError(
                f"a limit for ever is not counted from a date, got {_written(parts.anchor)}: "
                'add a period, such as "$100/month from 2026-01-15", or leave the date out'
            )
        for name, part in zip(_Parts._fields, parts, strict=True):
            object.__setattr__(self, name, part)
        object.__setattr__(self, "id", _id(parts))


def _parts_of(value: object) -> _Parts:
    if isinstance(value, Limit):
        return _Parts(value.unit, value.amount, value.period, value.models, value.anchor)
    if not isinstance(value, str):
        return _Parts("usd", nano_usd(value, "a limit", up=False))
    several = _read(value)
    if len(several) > 1:
        raise ValueError(f"one limit is wanted here, and {shown(value)} is {len(several)}: Limit.parse_all reads them")
    return several[0]


def _read(text: str) -> list[_Parts]:
    try:
        return list(_scan(text))
    except ValueError as error:
        meant = _respelt(text)
        reason = f"did you mean {meant!r}? Else " if meant else f"{error}. " if str(error) else ""
        raise ValueError(f"cannot read the limit {shown(text)}: {reason}write one such as {_EXAMPLES}") from None


def _scan(text: str) -> Iterator[_Parts]:
    if len(text) > _LONGEST_TEXT:
        raise ValueError(f"it has more than {_LONGEST_TEXT} characters")
    more, position = True, 0
    while more:
        found = _LIMIT.match(text, position)
        if found is None:
            raise ValueError(f"{shown(text[position:])} is none" if position else "")
        yield _parts(found)
        more, position = bool(found["more"]), found.end()


def _parts(found: re.Match[str]) -> _Parts:
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
    return _Parts(unit, amount, parse_period(named) if named else None, models, anchor)


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
    return _models(models[0]) if models else None, _anchor(anchor[0]) if anchor else None


def _respelt(text: str) -> str | None:
    """Return what was meant, if it takes only better spelling to read it."""
    if len(text) > _LONGEST_TEXT:
        return None
    head, on, models = text.lower().partition(" on ")

    def nearest(word: re.Match[str]) -> str:
        return next(iter(difflib.get_close_matches(word[0], _WORDS, n=1)), word[0])

    try:
        return " + ".join(map(_text, _scan(re.sub(r"[a-z]{3,}", nearest, head) + on + models)))
    except ValueError:
        return None


def _either(name: str, own: _T | None, given: _T | None) -> _T | None:
    if own is not None and given is not None:
        raise ValueError(f"the limit names its {name} itself, {shown(own)}: leave out {name}={shown(given)}")
    return own if given is None else given


def _text(limit: Limit | _Parts) -> str:
    if limit.unit == "usd":
        text = format_usd(limit.amount).removesuffix(".00")
    else:
        text = f"{limit.amount:,} {limit.unit if limit.amount != 1 else limit.unit[:-1]}"
    if limit.period:
        text += f"/{limit.period}"
    if limit.models:
        text += f" on {limit.models}"
    if limit.anchor:
        text += f" from {_written(limit.anchor)}"
    return text


def _amount(unit: Unit, amount: object) -> int:
    if not isinstance(amount, int) or isinstance(amount, bool):
        raise TypeError(f"an amount of {_unit_name(unit)} must be an int, got {shown(amount)}")
    if not 0 <= amount <= _MOST[unit]:
        raise ValueError(f"an amount of {_unit_name(unit)} must be from 0 to {_MOST[unit]:,}, got {shown(amount)}")
    return amount


def _unit_name(unit: Unit) -> str:
    return "nano-USD" if unit == "usd" else unit


def _models(pattern: object) -> str | None:
    if not isinstance(pattern, str):
        raise TypeError(f'models must be a str such as "gpt-5*", got {shown(pattern)}')
    if not pattern or len(pattern) > _LONGEST_PATTERN or not pattern.isprintable() or re.search(r"[\s,]", pattern):
        raise ValueError(f'models must be one pattern without spaces or commas, such as "gpt-5*", got {shown(pattern)}')
    if re.search(r"\+[$\d]", pattern):
        raise ValueError(f'write "?" for the "+" in models={shown(pattern)}: it would separate two limits')
    return None if pattern == "*" else pattern.lower()


def _anchor(value: object) -> dt.datetime:
    """Bring an anchor into its one form: whole seconds, in UTC or naive."""
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
        return dt.datetime.fromtimestamp(math.floor(value), dt.UTC)
    raise TypeError(f"periods are counted from a date, a datetime, text or unix seconds, got {shown(value)}")


def _written(anchor: dt.datetime) -> str:
    if anchor.tzinfo is None and anchor.time() == dt.time():
        return anchor.date().isoformat()
    text = anchor.replace(tzinfo=None).isoformat(timespec="seconds" if anchor.second else "minutes")
    return f"{text}Z" if anchor.tzinfo else text


def _id(parts: _Parts) -> str:
    text = str(parts.unit)
    if parts.period:
        text += f"/{parts.period.count if parts.period.count > 1 else ''}{parts.period.unit}"
    if parts.anchor:
        text += f"@{_written(parts.anchor)}"
    if parts.models:
        text += f"~{quote(parts.models, safe='*?[]!/:@+')}"
    return text
