"""Limits that fit what was spent lately: what most days stayed below, rounded up."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction

from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL, account_kind
from budgeted.ledger.limit_conversion import day_number
from budgeted.ledger.spending_records import RollupRow
from budgeted.limits.limit import Limit
from budgeted.limits.periods import Period
from budgeted.manager.account_names import called
from budgeted.manager.project_payer import ProjectPayer
from budgeted.money import MAX_USD, NANO, format_usd
from budgeted.validation import check_count, shown

ENOUGH_DAYS = 7
"""Days with spend that tell something of those to come."""

MOST_DAYS = 400
"""Days that the ledger keeps rows of."""

_HUMANE = (10, 12, 15, 20, 25, 30, 40, 50, 60, 80, 100)
"""Tenths of what a limit may begin with: figures that people would choose."""

_EVERYBODY = "everybody together"


@dataclass(frozen=True, slots=True)
class Suggestion:
    """A limit that would have let most days pass.

    Attributes:
        account: whose, for :meth:`BudgetManager.set_limits`: a user, ``"tag:NAME=VALUE"``, or None for the global
            account.
        limit: as text, such as ``"$8/day"``.
        reason: why, as a sentence.
        days: on how many days anything was spent.
    """

    account: str | None
    limit: str
    reason: str
    days: int


def suggest(payer: ProjectPayer, days: int, percentile: float) -> list[Suggestion]:
    """Daily limits in USD for the global account, users and tags: those who spent most come first in each kind.

    Values of tags that came up on one day alone are left out: such as those of sessions, no limit of which lasts.

    Args:
        payer: whose accounts they are.
        days: how many, today among them.
        percentile: of the days with spend, how many in a hundred the limit lets pass.

    Raises:
        ValueError: there are no such days, or no such percentile; the text quotes it.
    """
    check_count(days, "days", 1, MOST_DAYS)
    share = _checked(percentile)
    background_worker.drain()
    today = day_number(payer.clock(), payer.timezone)
    spent = _by_account(row for row in payer.ledger.rollups(max(0, today - days + 1)) if row.day <= today)
    kinds = ("global", "user", "tag")
    spent = {account: each for account, each in spent.items() if account[0] != "t" or days == 1 or len(each) > 1}
    order = sorted(spent, key=lambda account: (kinds.index(account_kind(account)), -sum(spent[account]), account))
    return [_suggestion(account, sorted(spent[account]), days, share) for account in order]


def _checked(percentile: object) -> float:
    if isinstance(percentile, bool) or not isinstance(percentile, (int, float)) or not 0 < percentile <= 100:
        msg = f"percentile must be above 0 and at most 100, such as 95, got {shown(percentile)}"
        raise ValueError(msg)
    return percentile


def _by_account(rows: Iterable[RollupRow]) -> dict[str, list[int]]:
    """What accounts have spent on each day on which they have spent anything, in nano-USD."""
    sums: dict[str, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for row in rows:
        if row.usd > 0 and (row.account == GLOBAL or row.account[:2] in ("u:", "t:")):
            sums[row.account][row.day] += row.usd
    return {account: list(by_day.values()) for account, by_day in sums.items()}


def _suggestion(account: str, spent: list[int], days: int, share: float) -> Suggestion:
    most = spent[math.ceil(Fraction(str(share)) * len(spent) / 100) - 1]
    limit = str(Limit(0, Period(1, "day")).with_amount(humane(most)))
    name = None if account == GLOBAL else called(account)
    return Suggestion(name, limit, _reason(name or _EVERYBODY, spent, most, days, share), len(spent))


def humane(usd: int) -> int:
    """The next figure, in nano-USD, that a person would choose: 7.80 USD become 8, and 130 become 150."""
    size = 1
    while size * 100 <= usd:
        size *= 10
    found = next(tenths * size for tenths in _HUMANE if tenths * size >= usd)
    return min(found, MAX_USD * NANO)


def _reason(name: str, spent: list[int], most: int, days: int, share: float) -> str:
    least, greatest = spent[0], spent[-1]
    figures = format_usd(least) if least == greatest else f"{format_usd(least)} to {format_usd(greatest)}"
    told = f"{name} spent {figures} {f'on {len(spent)} of {days} days' if days > 1 else 'today'}"
    if len(spent) < ENOUGH_DAYS:
        return f"{told}; that is little to go by: look again when it has spent on {ENOUGH_DAYS} days or more"
    return f"{told}; {share:g}% of these days were at {format_usd(most)} or below"
