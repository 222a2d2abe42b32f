"""What telemetry says of who pays for a call, and what for: the user, where opted in, and tags.

A series of a metric has the tags that ``metric_tags`` names, each with a bounded number of values; spans have them all.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Final, TypeAlias

from budgeted.payers.payer_interface import Group
from budgeted.payers.purpose_tags import tag_of

Labels: TypeAlias = tuple[tuple[str, str], ...]
"""Attributes of a series, besides what was called."""

MOST_VALUES: Final = 100
"""Values of one tag in metrics; further ones are counted as :data:`OTHER`: they may be ids."""

OTHER: Final = "other"


class Wanted:
    """Whether any manager has telemetry name users or tags in metrics: most do not, and then nothing is looked for."""

    any = False


def labels_of(groups: Sequence[Group]) -> Labels:
    """What a series says of a call: its user and its tags, as far as these may be named."""
    user = user_of(groups)
    found = {f"budgeted.tag.{name}": bounded(name, value) for name, value in _tags(groups, of_metrics=True).items()}
    labels = tuple(sorted(found.items()))
    return (("user.id", user), *labels) if user else labels


def tag_attributes(groups: Sequence[Group]) -> dict[str, str]:
    """All tags of a call, as attributes of its span."""
    return {f"budgeted.tag.{name}": value for name, value in _tags(groups, of_metrics=False).items()}


def user_of(groups: Sequence[Group]) -> str:
    """The innermost user of a call whom telemetry may name, by the name it goes by there; "" for nobody."""
    for group in reversed(groups):
        names = group.payer.user_names
        if names is not None:
            for account in reversed(group.accounts):
                name = names(account[2:]) if account[0] == "u" else ""
                if name:
                    return name
    return ""


def _tags(groups: Sequence[Group], *, of_metrics: bool) -> dict[str, str]:
    """A call's tags, of which the innermost payer's come first where two have the same."""
    found: dict[str, str] = {}
    for group in reversed(groups):
        if group.tagged and (group.payer.metric_tags or not of_metrics):
            for account in group.accounts:
                if account[0] == "t":
                    name, value = tag_of(account)
                    if not of_metrics or name in group.payer.metric_tags:
                        found.setdefault(name, value)
    return found


class _Values:
    """The values of one tag that metrics tell."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._numbers = itertools.count()

    def bounded(self, value: str) -> str:
        """The value, or :data:`OTHER`. Without a lock, as calls end in finalisers as well: numbers are given once."""
        if value not in self._known:
            if len(self._known) >= MOST_VALUES or next(self._numbers) >= MOST_VALUES:
                return OTHER
            self._known[value] = 1
        return value


_values: dict[str, _Values] = {}


def bounded(name: str, value: str) -> str:
    """A value of a label, or :data:`OTHER` where there have been :data:`MOST_VALUES` others.

    Args:
        name: of the label.
        value: one that strangers may invent.
    """
    known = _values.get(name)
    if known is None:
        known = _values.setdefault(name, _Values())
    return known.bounded(value)
