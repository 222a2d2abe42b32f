"""Limits: how much may be spent, per period or for ever, on every model or on some."""

from __future__ import annotations

import datetime as dt
import fnmatch
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import TypeAlias, TypeVar, cast

from budgeted.limits.limit_ids import limit_id, parts_of_id
from budgeted.limits.limit_parts import LimitParts, check_together, checked_amount, checked_anchor, checked_models
from budgeted.limits.periods import Period, parse_period, window
from budgeted.limits.text_syntax import limit_text, read_limits
from budgeted.money import nano_usd
from budgeted.units import Unit
from budgeted.validation import shown

LimitLike: TypeAlias = "Limit | str | float | Decimal"
_T = TypeVar("_T")
Anchor: TypeAlias = dt.date | str | float


@dataclass(frozen=True, slots=True, init=False, repr=False)
class Limit:
    """An amount of USD, tokens or calls, per period or for ever, optionally only for some models.

    Limits are values: hashable, and equal if all their parts are. ``id`` tells which limit of an account it is,
    and leaves the amount out: the same limit with a new amount keeps what was spent.

    Args:
        value: text such as ``"$10/day"``, a number of USD, or another limit. What is finer than a nano-USD is
            cut off. In text, a bare number per second or per minute is one of calls: ``"60/minute"``.
        period: the period, where ``value`` names none: a ``Period``, ``"monthly"``, ``"30d"``, ...
        models: the models it counts, where ``value`` names none: a glob such as ``"gpt-5*"``, in any case.
        anchor: from when on periods are counted, where ``value`` does not tell: a date or naive datetime (local
            to the manager's time zone), an aware datetime, ISO text of these, or unix seconds.

    Attributes:
        unit: ``"usd"``, ``"tokens"``, ``"calls"``, ``"input tokens"``, ``"output tokens"`` or ``"tool calls"``.
        amount: in nano-USD, tokens or calls.
        keep: how much of what is left when a period ends the next one has besides, at most, in the same unit.
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
        >>> Limit("60 rpm"), Limit("$5 per rolling 24h"), Limit("$100/month, keep up to $50").keep
        (Limit('60 calls/minute'), Limit('$5/rolling day'), 50000000000)
    """

    unit: Unit
    amount: int
    period: Period | None
    models: str | None
    anchor: dt.datetime | None
    keep: int
    id: str = field(compare=False)

    def __init__(
        self,
        value: LimitLike,
        period: str | Period | None = None,
        *,
        models: str | None = None,
        anchor: Anchor | None = None,
    ) -> None:
        given = None if period is None else parse_period(period)
        parts = _parts_of(value, given)
        self._fill(
            parts._replace(
                period=_either("period", parts.period, given),
                models=_either("models", parts.models, None if models is None else checked_models(models)),
                anchor=_either("anchor", parts.anchor, None if anchor is None else checked_anchor(anchor)),
            )
        )

    @classmethod
    def parse_all(cls, value: LimitLike | Iterable[LimitLike]) -> tuple[Limit, ...]:
        """Read several limits: text joined by ``+``, a single limit or number, or an iterable of all these.

        Args:
            value: the limits.

        Returns:
            Each as a limit, in their order.

        Raises:
            TypeError, ValueError: as the constructor, or two of them are the same limit.

        Example:
            >>> Limit.parse_all("$5/day + $100/month")
            (Limit('$5/day'), Limit('$100/month'))
        """
        limits = tuple(cls._each(value))
        first: dict[str, Limit] = {}
        for limit in limits:
            before = first.setdefault(limit.id, limit)
            if before is not limit:
                both = "one limit is stated twice" if before == limit else "two amounts for one limit"
                raise ValueError(f"{both}: {str(before)!r} and {str(limit)!r}")
        return limits

    @classmethod
    def from_id(cls, id: str, amount: int, keep: int = 0) -> Limit:
        """Make the limit that has this ``id``.

        Args:
            id: of the limit.
            amount: in nano-USD, tokens or calls.
            keep: of what is left when a period ends, at most, in the same.

        Returns:
            The limit.

        Raises:
            TypeError: an amount is not an int.
            ValueError: no limit has this id, or an amount is out of range.
        """
        limit = cls._of(parts_of_id(id, amount, keep))
        if limit.id != id:
            raise ValueError(f"no limit has the id {shown(id)}, did you mean {limit.id!r}?")
        return limit

    def with_amount(self, amount: int) -> Limit:
        """Return the same limit with another amount, in nano-USD, tokens or calls.

        Args:
            amount: nano-USD, tokens or calls.

        Raises:
            TypeError: it is not an int.
            ValueError: it is out of range.
        """
        return self._of(self._parts()._replace(amount=checked_amount(self.unit, amount)))

    def matches(self, model: str) -> bool:
        """Tell whether calls of ``model`` count, in upper or lower case.

        Args:
            model: as a request names it.

        Returns:
            Whether they do; always, if the limit is for all models.
        """
        return self.models is None or fnmatch.fnmatchcase(model.lower(), self.models)

    def window(self, at: float, tz: dt.tzinfo) -> tuple[int, int]:
        """Return start and end of the period that ``at`` is in, in unix seconds; see ``periods.window``.

        One that rolls neither starts nor ends.

        Args:
            at: unix seconds.
            tz: the zone in which days and months begin.
        """
        return window(self.period, self.anchor, at, tz)

    def __str__(self) -> str:
        return limit_text(self._parts())

    def __repr__(self) -> str:
        return f"Limit({str(self)!r})"

    @classmethod
    def _each(cls, value: object) -> Iterator[Limit]:
        if isinstance(value, str):
            yield from map(cls._of, read_limits(value))
        elif isinstance(value, Iterable) and not isinstance(value, bytes | bytearray | Mapping):
            for one in value:
                yield from cls._each(one)
        else:
            yield cls(cast("LimitLike", value))

    @classmethod
    def _of(cls, parts: LimitParts) -> Limit:
        limit = object.__new__(cls)
        limit._fill(parts)
        return limit

    def _parts(self) -> LimitParts:
        return LimitParts(self.unit, self.amount, self.period, self.models, self.anchor, self.keep)

    def _fill(self, parts: LimitParts) -> None:
        check_together(parts)
        for name, part in zip(LimitParts._fields, parts, strict=True):
            object.__setattr__(self, name, part)
        object.__setattr__(self, "id", limit_id(parts))


def _parts_of(value: object, period: Period | None) -> LimitParts:
    if isinstance(value, Limit):
        return value._parts()  # noqa: SLF001 - its own
    if not isinstance(value, str):
        return LimitParts("usd", nano_usd(value, "a limit", up=False))
    several = read_limits(value, period)
    if len(several) > 1:
        raise ValueError(f"one limit is wanted here, and {shown(value)} is {len(several)}: Limit.parse_all reads them")
    return several[0]


def _either(name: str, own: _T | None, given: _T | None) -> _T | None:
    if own is not None and given is not None:
        raise ValueError(f"the limit names its {name} itself, {shown(own)}: leave out {name}={shown(given)}")
    return own if given is None else given
