"""A block's cap as it is written: USD, or limits in any unit, joined by ``+``."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterable
from typing import TypeAlias

import msgspec

from budgeted.limits.limit import Limit, LimitLike
from budgeted.money import nano_usd
from budgeted.validation import shown

CapLike: TypeAlias = "LimitLike | Iterable[LimitLike]"
"""A cap as it may be given: USD as a number, or what :meth:`Limit.parse_all` reads."""

PLAIN = Limit(0)
"""The cap in USD for all models, for ever, but for its amount."""


class Cap(msgspec.Struct, frozen=True, gc=False):
    """What one block may spend.

    Args:
        usd: nano-USD for all models; None for no such limit.
        more: every other limit.
        at: which of the limits, as they were written, the one in USD is.
    """

    usd: int | None = None
    more: tuple[Limit, ...] = ()
    at: int = 0

    @property
    def limits(self) -> tuple[Limit, ...]:
        """All of it, in the order that it was written in."""
        if self.usd is None:
            return self.more
        return (*self.more[: self.at], PLAIN.with_amount(self.usd), *self.more[self.at :])


def read_cap(cap: object, *, lasting: bool = False) -> Cap:
    """Read a cap.

    Args:
        cap: USD, or limits.
        lasting: whether it is kept in the ledger, where it may have periods.

    Raises:
        TypeError, ValueError: it is none; the text quotes it.

    Example:
        >>> read_cap("$0.50 + 20 calls").limits
        (Limit('$0.50'), Limit('20 calls'))
    """
    if cap.__class__ is int or cap.__class__ is float:  # as nearly always, and then with less to ask
        return Cap(nano_usd(cap, "cap", up=False))
    if isinstance(cap, str):
        found = _read(cap) if _MORE_THAN_AN_AMOUNT.search(cap) else Cap(nano_usd(cap, "cap", up=False))
    elif isinstance(cap, (int, float)) or not isinstance(cap, (Limit, Iterable)) or isinstance(cap, (bytes, bytearray)):
        return Cap(nano_usd(cap, "cap", up=False))
    else:
        found = _cap(cap if isinstance(cap, Limit) else _each(cap))
    if found.more and not lasting:
        _require_no_period(cap, found)
    if found.usd is None and not found.more:
        msg = f"cap={shown(cap)} has no limit; write one such as cap=0.50 or cap='20 calls', or leave it out"
        raise ValueError(msg)
    return found


_MORE_THAN_AN_AMOUNT = re.compile(r"\d.*[a-z/+]", re.IGNORECASE | re.DOTALL)


def _each(cap: Iterable[object]) -> list[Limit | str]:
    """Several limits, each of which says what it is of."""
    limits = []
    for one in cap:
        if not isinstance(one, (str, Limit)):
            msg = f"cap: several limits are given as texts, such as '$0.50' and '20 calls', got {shown(one)} among them"
            raise TypeError(msg)
        limits.append(one)
    return limits


def _cap(cap: Limit | Iterable[LimitLike]) -> Cap:
    try:
        return cap_of(Limit.parse_all(cap))
    except (TypeError, ValueError) as error:
        msg = f"cap: {error}"
        raise type(error)(msg) from None


_read = functools.lru_cache(maxsize=256)(_cap)


def cap_of(limits: Iterable[Limit]) -> Cap:
    """Limits, as the cap of a block."""
    usd, at, more = None, 0, list[Limit]()
    for limit in limits:
        if limit.id == PLAIN.id:
            usd, at = limit.amount, len(more)
        else:
            more.append(limit)
    return Cap(usd, tuple(more), at)


def _require_no_period(cap: object, found: Cap) -> None:
    """A block that is left is forgotten, and so would its cap's period be."""
    limit = next((limit for limit in found.more if limit.period is not None), None)
    if limit is not None:
        msg = (
            f"cap={shown(cap)} has a period, and a block's own cap ends with the block; keep it in the ledger with "
            f"budget(cap={str(limit)!r}, key='a name'), give a user the limit with set_limits(user, {str(limit)!r}), "
            f"or leave the period out"
        )
        raise ValueError(msg)
