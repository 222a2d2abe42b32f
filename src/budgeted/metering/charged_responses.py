"""Responses charged lately, so that what was metered once is not recorded again by hand."""

from __future__ import annotations

from budgeted.payers.payer_interface import Group

REMEMBERED = 4096

_now: dict[str, tuple[Group, ...]] = {}
_before: dict[str, tuple[Group, ...]] = {}


def remember(response_id: str, groups: tuple[Group, ...]) -> None:
    """A response was charged to these accounts."""
    global _now, _before
    _now[response_id] = groups
    if len(_now) >= REMEMBERED:
        _before, _now = _now, {}


def remember_also(response_id: str, group: Group) -> None:
    """A response was charged to further accounts."""
    remember(response_id, (*_groups(response_id), group))


def charged(response_id: str, payer: object, account: str) -> bool:
    """Whether a response was charged to an account of a manager already."""
    return any(group.payer is payer and account in group.accounts for group in _groups(response_id))


def _groups(response_id: str) -> tuple[Group, ...]:
    return _now.get(response_id) or _before.get(response_id) or ()
