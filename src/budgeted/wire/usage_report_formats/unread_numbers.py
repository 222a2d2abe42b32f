"""Numbers of a usage report: a count that makes sense, and the names of those that no reader knows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, TypeAlias

from budgeted.wire.sdk_object_fields import Fields, fields_of

MOST_TOKENS: Final = 100_000_000
"""More than this in one call is nonsense: no model has such a context."""

Known: TypeAlias = Mapping[str, frozenset[str]]
"""What a reader knows of a report: the names at its top, which is "", and inside each part that is looked into.

A part that is named, but has no entry of its own, is known with all that is in it.
"""

_NUMBERS: Final = (int, float, Decimal)
_LISTED: Final = (*_NUMBERS, list, tuple)
_MOST_FIELDS: Final = 1_000
_MOST_NAMES: Final = 16
_MOST_LETTERS: Final = 80
_ABSENT: Final = ("Unset", "NotGiven", "Omit")
"""Classes of what SDKs put where a field was not sent."""


def names(*lines: str) -> frozenset[str]:
    """The names in lines of words."""
    return frozenset(" ".join(lines).split())


def count(fields: Fields, name: str, *, whole: bool = True) -> int:
    """A count of a report; 0 if it is not there.

    Args:
        fields: the report, or a part of it.
        name: what the count is called.
        whole: False for those that may come as fractions, which are rounded up.

    Raises:
        ValueError: it is negative, too large, or no number.
    """
    found = fields.get(name)
    if found.__class__ is int:
        if 0 <= found <= MOST_TOKENS:
            return found
    elif found is None or found.__class__.__name__ in _ABSENT:
        return 0
    elif found.__class__ is float and 0 <= found <= MOST_TOKENS and (not whole or found.is_integer()):
        return math.ceil(found)
    raise ValueError(name)


def milliseconds(fields: Fields, name: str) -> int:
    """A duration that is told in seconds; 0 if it is not there.

    Raises:
        ValueError: it is negative, too long, or no number.
    """
    found = fields.get(name)
    if found.__class__ in (int, float) and 0 <= found <= MOST_TOKENS:
        return math.ceil(Decimal(repr(found)) * 1000)
    return count(fields, name)


def text(fields: Fields, name: str) -> str | None:
    """A field's text, or that of an enumeration's member; None if it has none."""
    found = fields.get(name)
    found = getattr(found, "value", found)
    return found if isinstance(found, str) and found else None


def unread(report: Fields, known: Known) -> tuple[str, ...]:
    """The names of the numbers in a report that are above zero and that its reader does not know.

    Args:
        report: the whole of it.
        known: what the reader knows.

    Returns:
        Names such as ``"citation_tokens"`` or ``"prompt_tokens_details.foo_tokens"``. Of very many, only some.
    """
    return () if _is_known(report, known) else tuple(_strangers(report, known))


def _is_known(report: Fields, known: Known) -> bool:
    """Whether the names of all fields are known, as of nearly all reports: then no number is looked at."""
    if not known[""].issuperset(report):
        return False
    for name, expected in known.items():
        part = report.get(name)
        if part:
            inside = fields_of(part)
            if part.__class__ in _LISTED or not expected.issuperset(inside):
                return False
            for value in inside.values():
                if value.__class__ is not int and value is not None:
                    return False
    return True


def _strangers(report: Fields, known: Known) -> dict[str, None]:
    found: dict[str, None] = {}
    pending: list[tuple[str, frozenset[str], Fields]] = [("", known[""], report)]
    seen = 0
    while pending and seen < _MOST_FIELDS and len(found) < _MOST_NAMES:
        path, expected, fields = pending.pop()
        for name, value in fields.items():
            seen += 1
            kind = value.__class__
            if value is None or kind is str or kind is bool:
                continue
            if name in expected:
                if kind is int or kind is float:
                    continue
                inner = known.get(f"{path}{name}")
                if inner is not None:
                    pending += _parts(f"{path}{name}.", inner, value)
            elif isinstance(value, _NUMBERS):
                if not value <= 0:  # so that it is also said of what is not a number
                    found[_shown(path, name)] = None
            elif len(pending) < _MOST_FIELDS:
                pending += _parts(f"{_shown(path, name)}.", frozenset(), value)
    if pending:
        found["more than can be read"] = None
    return found


def _parts(path: str, expected: frozenset[str], value: object) -> list[tuple[str, frozenset[str], Fields]]:
    """What is inside a field: its fields, or those of each that it lists."""
    if isinstance(value, (list, tuple)):
        listed = [(path, expected, {"": each} if isinstance(each, _LISTED) else fields_of(each)) for each in value]
        return listed[:_MOST_FIELDS]
    return [(path, expected, fields_of(value))]


def _shown(path: str, name: object) -> str:
    return f"{path}{name if isinstance(name, str) else name.__class__.__name__}"[:_MOST_LETTERS].rstrip(".")
