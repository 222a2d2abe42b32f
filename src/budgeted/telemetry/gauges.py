"""What balances are, as gauges show them: one look into each ledger per collection, beside the collector.

A gauge cannot be summed: where a view drops attributes, the SDK keeps the observation that came last. Balances are
therefore in order, users before the global account and the least remaining last, so that what is left over is the
tightest limit.
"""

from __future__ import annotations

import datetime as dt
import functools
import heapq
import itertools
import logging
import math
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from budgeted.ledger.accounts import GLOBAL, USD, Account, account_name
from budgeted.ledger.interface import Ledger, all_accounts
from budgeted.ledger.limit_conversion import limit_of_id, present
from budgeted.money import to_usd
from budgeted.payers.payer_interface import Payer
from budgeted.telemetry import forecast
from budgeted.telemetry.user_names import UserNames

logger = logging.getLogger("budgeted")

REMOTE_SECONDS = 1.0
"""How long what was read from a ledger over the network serves further readers."""

RANKED_SECONDS = 60.0
"""How long the users who have spent most stay those who are named."""

MOST_RANKED = 100_000

READ_SECONDS = 0.5
"""How long a collection waits for ledgers. Balances of one that takes longer are left out."""

MOST_USER_SERIES = 1_500
"""Limits of users that are shown: the SDK keeps 2,000 series per instrument, and the rest of a gauge is nonsense."""

GAUGES = {
    "budgeted.limit": ("USD", "How much may be spent in the current period."),
    "budgeted.spent": ("USD", "What was charged in the current period."),
    "budgeted.held": ("USD", "What is set aside for calls in flight."),
    "budgeted.remaining": ("USD", "What is left of the limit, after what was charged and what is set aside."),
    "budgeted.time_to_exhaustion": ("s", "When the limit is reached at the present rate, if before it resets."),
}

Series = list[tuple[float, dict[str, str]]]
"""What an instrument shows: values with their attributes."""


class _Row(NamedTuple):
    """The figures of a limit, in nano-USD. Those of users who go by one name are added up."""

    limit: int
    spent: int
    held: int
    remaining: int
    seconds: float = math.inf
    """Until the limit is reached."""

    def plus(self, other: _Row) -> _Row:
        """Both together, until the first of them is reached."""
        return _Row(
            self.limit + other.limit,
            self.spent + other.spent,
            self.held + other.held,
            self.remaining + other.remaining,
            min(self.seconds, other.seconds),
        )


def balances(payers: Iterable[Payer]) -> dict[str, Series]:
    """What the gauges show, of these managers' ledgers."""
    by_ledger = _by_ledger(payers)
    looks = [_look(sharing) for sharing in by_ledger.values()]
    deadline = time.monotonic() + READ_SECONDS
    rows: dict[tuple[tuple[str, str], ...], _Row] = {}
    numbers = _numbers(by_ledger.values())
    for look, sharing in zip(looks, by_ledger.values(), strict=True):
        for account in look.accounts(deadline):
            for attributes, row in _rows(account, sharing, numbers, look.recent.get(account.id)):
                before = rows.get(attributes)
                rows[attributes] = row if before is None else before.plus(row)
    ordered = sorted(rows.items(), key=lambda item: (_is_global(item[0]), -item[1].remaining))
    over = sum(not _is_global(key) for key, _ in ordered) - MOST_USER_SERIES
    if over > 0:
        _note_cut()
        ordered = ordered[over:]
    found: dict[str, Series] = {
        name: [(to_usd(getattr(row, name.rpartition(".")[2])), dict(key)) for key, row in ordered]
        for name, (unit, _) in GAUGES.items()
        if unit == "USD"
    }
    soon = sorted((item for item in ordered if item[1].seconds < math.inf), key=lambda item: -item[1].seconds)
    found["budgeted.time_to_exhaustion"] = [(row.seconds, dict(key)) for key, row in soon]
    return found


def _is_global(attributes: tuple[tuple[str, str], ...]) -> bool:
    return all(name != "user.id" for name, _ in attributes)


@functools.cache
def _note_cut() -> None:
    logger.warning(
        "budgeted: gauges show %d limits of users, and there are more; give metric_users a list of users, or a "
        "function that names fewer (said once)",
        MOST_USER_SERIES,
    )


class _Look(threading.Thread):
    """One look into a ledger, beside the collector: it may take longer than a collector can wait."""

    def __init__(self, sharing: list[Payer]) -> None:
        one = sharing[0]
        # As arguments, which a thread forgets when it is done: what is kept of looks keeps no ledger alive.
        args = one.ledger, one.clock, one.timezone
        super().__init__(target=self._look, args=args, name="budgeted-metrics", daemon=True)
        self._rules = [rule for one in sharing if isinstance(rule := one.user_names, UserNames)]
        self._found: list[Account] = []
        self._done = threading.Event()
        self._until = 0.0
        self.recent: forecast.Rates = {}

    def _look(self, ledger: Ledger, clock: Callable[[], float], timezone: dt.tzinfo) -> None:
        try:
            self._found = list(self._read(ledger, clock, timezone))
            self._until = time.monotonic() + (REMOTE_SECONDS if ledger.remote else 0.0)
        except Exception as error:  # noqa: BLE001 - no ledger of any kind breaks a collection
            logger.debug("budgeted: %r could not be read for metrics: %s", ledger, error)
        finally:
            self._done.set()

    @property
    def serves(self) -> bool:
        """Whether it is under way, or fresh enough to be shown once more."""
        # One that is neither alive nor done is of the process that this one was forked from.
        return time.monotonic() < self._until if self._done.is_set() else self.is_alive()

    def _read(self, ledger: Ledger, clock: Callable[[], float], timezone: dt.tzinfo) -> Iterator[Account]:
        """The global account, and of users' accounts as few as the settings allow."""
        names = {GLOBAL}
        for rule in self._rules:
            if rule.top and time.monotonic() - rule.ranked >= RANKED_SECONDS:
                rule.only, rule.ranked = _spending_most(ledger, rule.top), time.monotonic()
            names.update("u:" + user for user in rule.only or ())
        for name in names:
            account = ledger.read(name)
            if account is not None:
                yield account
            if account is not None and any(
                slot.unit == USD and forecast.goes_by_recent(slot) for slot in account.slots
            ):
                self.recent |= forecast.recent_rates(ledger, clock(), timezone, name)
        if any(rule.only is None for rule in self._rules):
            page = ledger.accounts("u:", None, MOST_USER_SERIES + 1)
            yield from (account for account in page if account.id not in names)

    def keep(self) -> None:
        """Show what was found from now on."""
        self._until = math.inf

    def accounts(self, deadline: float) -> list[Account]:
        """What was found; nothing if it takes too long."""
        return self._found if self._done.wait(max(0.0, deadline - time.monotonic())) else []


def _spending_most(ledger: Ledger, number: int) -> frozenset[str]:
    """So many users, those who have spent most since their last reset."""
    users = itertools.islice(all_accounts(ledger, "u:"), MOST_RANKED)
    ranked = heapq.nlargest(number, ((account.usd, account_name(account.id)) for account in users))
    return frozenset(name for spent, name in ranked if spent)


_looks: weakref.WeakKeyDictionary[Ledger, _Look] = weakref.WeakKeyDictionary()
"""The last one of each ledger: one that answers nobody is asked once."""


def _look(sharing: list[Payer]) -> _Look:
    """A look into the ledger that some managers share."""
    ledger = sharing[0].ledger
    look = _looks.get(ledger)
    if look is None or not look.serves:
        look = _looks[ledger] = _Look(sharing)
        try:
            look.start()
        except RuntimeError:  # the interpreter is going down, and starts no threads any more
            look.run()
    return look


def _by_ledger(payers: Iterable[Payer]) -> dict[int, list[Payer]]:
    found: dict[int, list[Payer]] = {}
    for payer in payers:
        found.setdefault(id(payer.ledger), []).append(payer)
    return found


def look_a_last_time(payers: Iterable[Payer]) -> None:
    """Keep what balances are as the process ends: an SDK collects once more when ledgers may be closed already."""
    deadline = time.monotonic() + READ_SECONDS
    for look in [_look(sharing) for sharing in _by_ledger(payers).values()]:
        look.accounts(deadline)
        look.keep()


def _rows(
    account: Account, sharing: list[Payer], numbers: dict[tuple[str, int], int], recent: forecast.Recent | None
) -> Iterator[tuple[tuple[tuple[str, str], ...], _Row]]:
    """The USD limits of an account, with their attributes, for each project that shares its ledger."""
    for project, payer in {payer.project_name: payer for payer in sharing}.items():
        common = {"budgeted.project": project, "budgeted.account": account_name(account.id)}
        if account.id != GLOBAL:
            rules = (one.user_names for one in sharing if one.project_name == project)
            user = next(filter(None, (rule(common["budgeted.account"]) for rule in rules if rule is not None)), None)
            if user is None:
                continue
            common["budgeted.account"] = common["user.id"] = user
        number = numbers[project, id(payer.ledger)]
        if number > 1:
            common["budgeted.ledger"] = str(number)
        now = payer.clock()
        shown: set[dict[str, str] | tuple[str, str]] = set()
        for slot in account.slots:
            if slot.unit == USD:
                period, models, anchored = _period(slot.limit)
                label = anchored if (period, models) in shown else period
                shown.add((period, models))
                attributes = {**common, "budgeted.period": label}
                if models:
                    attributes["budgeted.models"] = models
                seconds = forecast.seconds_left(slot, now, recent)
                one = present(slot, now, payer.timezone)
                left = max(0, one.amount - one.spent - one.held)
                row = _Row(one.amount, one.spent, one.held, left, math.inf if seconds is None else seconds)
                yield tuple(attributes.items()), row


@functools.lru_cache(maxsize=4096)
def _period(limit_id: str) -> tuple[str, str, str]:
    """A limit's period, its models, and the period with the date that it is counted from."""
    limit = limit_of_id(limit_id, 0)
    if limit.period is None:
        return "total", limit.models or "", "total"
    anchored = str(limit).partition("/")[2].replace(f" on {limit.models}", "")
    return str(limit.period), limit.models or "", anchored


_seen: weakref.WeakKeyDictionary[Ledger, int] = weakref.WeakKeyDictionary()
_count = itertools.count()


def _numbers(sharing: Iterable[list[Payer]]) -> dict[tuple[str, int], int]:
    """Numbers from 1 on for the ledgers of each project, in the order in which they were first seen."""
    ledgers: dict[str, set[Ledger]] = {}
    for payers in sharing:
        for payer in payers:
            _seen.setdefault(payer.ledger, next(_count))
            ledgers.setdefault(payer.project_name, set()).add(payer.ledger)
    return {
        (project, id(ledger)): number
        for project, some in ledgers.items()
        for number, ledger in enumerate(sorted(some, key=_seen.__getitem__), 1)
    }
