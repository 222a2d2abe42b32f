"""How a project stands at one moment: what is left of its limits, who is near one, what was spent today."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.limit_conversion import day_number
from budgeted.limits.periods import local_time
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import AccountInfo, Balance
from budgeted.money import to_usd
from budgeted.pricing.tool_prices import TOOL

LOOKED_AT: Final = 1000
"""Users that are looked at one by one; where there are as many, those who have spent most today."""

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
        busiest_at: when these were looked up; None where all are looked at, or while that is still to be done.
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
    busiest_at: dt.datetime | None
    spent_today: float
    calls_today: int
    calls_in_flight: int
    held: float
    uncertain_charges: int
    uncertain: float


class Busiest(NamedTuple):
    """Who had spent most today, at one moment.

    Args:
        accounts: the ledger's names of :data:`BUSIEST` users, the dearest first.
        at: when, in unix seconds.
    """

    accounts: Sequence[str]
    at: float


def busiest_today(books: Books) -> Busiest:
    """Look up who has spent most today: of a million users, that takes a second or more.

    Args:
        books: the project's.

    Raises:
        LedgerError: the ledger is away, or refuses.
    """
    background_worker.drain()
    now = books.payer.clock()
    return Busiest(books.ledger.spent_most(day_number(now, books.payer.timezone), BUSIEST), now)


def project_status(books: Books, busiest: Callable[[Books], Busiest | None] = busiest_today) -> ProjectStatus:
    """How a project stands now. It takes as long however many accounts there are, but for who was busy today.

    Args:
        books: the project's.
        busiest: tells who has spent most today, where there are too many users to look at each; None while that is not
            known. Whoever looks again and again keeps it for a while.

    Raises:
        LedgerError: the ledger is away, or refuses.

    Example:
        >>> with Books("my-app") as books:
        ...     print(project_status(books).spent_today)
    """
    payer, whole = books.payer, books.info(None)
    now = payer.clock()
    today = day_number(now, payer.timezone)
    complete = len(books.ledger.accounts("u:", None, LOOKED_AT)) < LOOKED_AT
    most = None if complete else busiest(books)
    accounts = books.accounts(count=LOOKED_AT) if complete else books.infos(most.accounts if most is not None else ())
    rows = [row for row in books.ledger.rollups(today, GLOBAL) if row.day == today]
    holds, doubtful = books.ledger.open_holds(), books.uncertain_page(count=0)
    return ProjectStatus(
        project=books.project_name,
        at=local_time(now, payer.timezone),
        stopped="" if whole is None else whole.stopped,
        balances=tuple(books.balances(None)) or (books.balance(None),),
        accounts=tuple(sorted(accounts, key=_by_nearness)),
        complete=complete,
        busiest_at=None if most is None else local_time(most.at, payer.timezone),
        spent_today=to_usd(sum(row.usd for row in rows)),
        calls_today=sum(row.calls for row in rows if row.provider != TOOL),
        calls_in_flight=len(holds),
        held=to_usd(sum(hold.usd for hold in holds)),
        uncertain_charges=doubtful.count,
        uncertain=doubtful.cost,
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


def _by_nearness(info: AccountInfo) -> tuple[bool, float, float, str]:
    nearest = tightest(info.balances)
    share = None if nearest is None else used_share(nearest)
    return share is None, -(share or 0.0), -info.spent, info.name
