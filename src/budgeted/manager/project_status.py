"""How a project stands at one moment: what is left of its limits, who is near one, what was spent today."""

from __future__ import annotations

import datetime as dt
import heapq
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from budgeted.ledger.accounts import GLOBAL, account_kind, account_name
from budgeted.ledger.limit_conversion import day_number
from budgeted.limits.periods import local_time
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import AccountInfo, Balance
from budgeted.money import to_usd
from budgeted.pricing.tool_prices import TOOL

LOOKED_AT: Final = 1000
"""Accounts that are looked at one by one; where there are more, those who have spent most today."""

BUSIEST: Final = 100
"""How many of those who have spent most today are looked at where not all are."""


@dataclass(frozen=True, slots=True)
class ProjectStatus:
    """How a project stands.

    Attributes:
        project: its name.
        at: when this was, in the project's time zone.
        stopped: why nothing at all may be spent for the time being, or "".
        balances: of each limit of the global account; of all that it has spent where it has no limit.
        accounts: users and teams, those nearest a limit first.
        complete: whether ``accounts`` are all there are; else they are the :data:`BUSIEST` of today.
        spent_today: USD that was charged since the day began, each call once.
        calls_today: calls of models since then.
        calls_in_flight: calls that have not ended.
        held: USD that are set aside for them, each call once.
        uncertain_charges: how many charges nobody has confirmed.
        uncertain: USD of these.
    """

    project: str
    at: dt.datetime
    stopped: str
    balances: tuple[Balance, ...]
    accounts: tuple[AccountInfo, ...]
    complete: bool
    spent_today: float
    calls_today: int
    calls_in_flight: int
    held: float
    uncertain_charges: int
    uncertain: float


def project_status(books: Books) -> ProjectStatus:
    """How a project stands now. It costs the same however many accounts there are, but for who was busy today.

    Args:
        books: the project's.

    Raises:
        LedgerError: the ledger is away, or refuses.

    Example:
        >>> with Books("my-app") as books:
        ...     print(project_status(books).spent_today)
    """
    payer, whole = books.payer, books.info(None)
    now = payer.clock()
    today = day_number(now, payer.timezone)
    accounts, complete = _accounts(books, today)
    rows = [row for row in books.ledger.rollups(today, GLOBAL) if row.day == today]
    holds, doubtful = books.ledger.open_holds(), books.ledger.uncertain()
    return ProjectStatus(
        project=books.project_name,
        at=local_time(now, payer.timezone),
        stopped="" if whole is None else whole.stopped,
        balances=tuple(books.balances(None)) or (books.balance(None),),
        accounts=tuple(sorted(accounts, key=_by_nearness)),
        complete=complete,
        spent_today=to_usd(sum(row.usd for row in rows)),
        calls_today=sum(row.calls for row in rows if row.provider != TOOL),
        calls_in_flight=len(holds),
        held=to_usd(sum(hold.usd for hold in holds)),
        uncertain_charges=len(doubtful),
        uncertain=to_usd(sum(charge.used.usd for charge in doubtful)),
    )


def used_share(balance: Balance) -> float | None:
    """How much of a limit is spent or held: 1.0 is all of it; None where there is no limit.

    Args:
        balance: of the limit.
    """
    if balance.limit is None:
        return None
    return (balance.spent + balance.held) / balance.limit if balance.limit else 1.0


def tightest(balances: Iterable[Balance]) -> Balance | None:
    """The limit of which most is spent or held, in whatever unit; None where there is no limit."""
    limited = [(share, balance) for balance in balances if (share := used_share(balance)) is not None]
    return max(limited, key=lambda one: one[0])[1] if limited else None


def _accounts(books: Books, today: int) -> tuple[list[AccountInfo], bool]:
    """The accounts to look at, and whether these are all."""
    found = books.accounts(count=LOOKED_AT)
    if len(found) < LOOKED_AT:
        return found, True
    return list(_busiest(books, today)), False


def _busiest(books: Books, today: int) -> Iterator[AccountInfo]:
    """Those who have spent most today."""
    spent = Counter[str]()
    for row in books.ledger.rollups(today):
        if row.day == today and account_kind(row.account) == "user":
            spent[row.account] += row.usd
    for account in heapq.nlargest(BUSIEST, spent, key=spent.__getitem__):
        if (info := books.info(account_name(account))) is not None:
            yield info


def _by_nearness(info: AccountInfo) -> tuple[bool, float, float, str]:
    nearest = tightest(info.balances)
    share = None if nearest is None else used_share(nearest)
    return share is None, -(share or 0.0), -info.spent, info.name
