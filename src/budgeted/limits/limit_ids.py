"""Ids of limits: short ASCII text such as ``usd/day~gpt-5*``, under which ledgers keep what is spent."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import quote, unquote

from budgeted.limits.limit_parts import LimitParts, anchor_text, checked_amount, checked_anchor, checked_models
from budgeted.limits.periods import parse_period
from budgeted.units import Unit
from budgeted.validation import shown

_WORDS: Final[dict[Unit, str]] = {
    "usd": "usd",
    "tokens": "tokens",
    "calls": "calls",
    "input tokens": "input-tokens",
    "output tokens": "output-tokens",
    "tool calls": "tool-calls",
}
_UNITS: Final = {word: unit for unit, word in _WORDS.items()}

_ID: Final = re.compile(
    rf"(?P<unit>{'|'.join(_UNITS)})"
    r"(?: /(?P<rolling>rolling-)?(?P<count>\d{1,15})?(?P<per>[a-z]+) (?:@(?P<anchor>[\dT:Z-]+))? )?"
    r"(?: ~(?P<models>\S+) )?",
    re.ASCII | re.VERBOSE,
)


def limit_id(parts: LimitParts) -> str:
    """Write the id of a limit, which leaves out its amount, and what it keeps."""
    text, period = _WORDS[parts.unit], parts.period
    if period:
        text += f"/{'rolling-' if period.rolling else ''}{period.count if period.count > 1 else ''}{period.unit}"
    if parts.anchor:
        text += f"@{anchor_text(parts.anchor)}"
    if parts.models:
        text += f"~{quote(parts.models, safe='*?[]!/:@+')}"
    return text


def unit_of_id(id: str) -> Unit | None:
    """What a limit is counted in, by its id; None if it is no id of a limit, such as one that another client made up.

    Example:
        >>> unit_of_id("tool-calls/day"), unit_of_id("cap")
        ('tool calls', None)
    """
    found = _ID.fullmatch(id)
    return None if found is None else _UNITS[found["unit"]]


def parts_of_id(id: str, amount: int, keep: int = 0) -> LimitParts:
    """What the limit consists of that has an id.

    Raises:
        TypeError: the amount is not an int.
        ValueError: no limit has this id, or the amount is out of range.
    """
    found = _ID.fullmatch(id)
    if found is None:
        raise ValueError(f"no limit has the id {shown(id)}")
    unit, models, anchor = _UNITS[found["unit"]], found["models"], found["anchor"]
    return LimitParts(
        unit,
        checked_amount(unit, amount),
        parse_period(f"{found['rolling'] or ''}{found['count'] or 1} {found['per']}") if found["per"] else None,
        models and checked_models(unquote(models)),
        checked_anchor(anchor) if anchor else None,
        checked_amount(unit, keep),
    )
