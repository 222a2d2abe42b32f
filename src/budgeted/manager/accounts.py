"""The accounts of a project for those who give budgets, watch them and put charges right.

Any of it may wait for the ledger.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from budgeted.errors import LedgerUnavailableError, UnknownUserError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import (
    Account,
    LimitSpec,
    Slot,
    Terms,
    account_kind,
    account_name,
    is_claim,
    user_account,
)
from budgeted.ledger.interface import all_accounts
from budgeted.ledger.limit_conversion import counted_from, limit_of, present, spec
from budgeted.ledger.spending_records import Charge
from budgeted.limits.limit import Limit, LimitLike
from budgeted.limits.periods import NEVER, local_time
from budgeted.limits.trusted_clock import TOLERANCE
from budgeted.manager import account_names, balances, declared_belonging
from budgeted.manager.balances import AccountInfo, Balance, Balances, UncertainCharge, UncertainPage, in_the_future
from budgeted.manager.project_payer import ProjectPayer
from budgeted.metering.manual_hold import counted
from budgeted.money import nano_usd, to_usd
from budgeted.pricing.price_registry import Amount
from budgeted.pricing.usage import Usage
from budgeted.telemetry.forecast import Recent, goes_by_recent, recent_rates
from budgeted.validation import check_count, check_user

logger = logging.getLogger("budgeted")


FEW: Final = 100
"""Accounts that reports are asked about one by one, as there may be a million others; of more, all are asked about."""


class Accounts:
    """Limits, balances and charges of one project.

    Args:
        payer: whose accounts they are.
    """

    def __init__(self, payer: ProjectPayer) -> None:
        self._payer = payer

    def set_limits(self, user: str | None, *limits: LimitLike | Iterable[LimitLike]) -> None:
        """Give a user, or the global account (None), these limits instead of those it has. What was spent stays."""
        account = self.name_of(user)
        parsed = Limit.parse_all([one for limit in limits for one in Limit.parse_all(limit)])
        if parsed:
            account_names.check_limited(user, self._payer.ledger.read)
        self._payer.limit(account, parsed, explicit=True)
        if account_kind(account) == "user" and parsed:
            self._payer.user_limits = True

    def delete_user(self, user: str) -> None:
        """Forget a user's limits and balance. What it was charged stays in the reports."""
        account = user_account(check_user(user))
        self.known(user)
        self.forget_alerts(account)
        self._payer.ledger.delete(account)
        declared_belonging.forget(self._payer.ledger, account)

    def balance(self, user: str | None = None) -> Balance:
        """The tightest USD limit of a user, or of the global account (None): the one with the least remaining."""
        usd = [balance for balance in self.balances(user) if balance.unit == "usd"]
        if usd:
            return min(usd, key=lambda balance: balance.remaining or 0.0)
        ledger, name = self._payer.ledger, self.name_of(user)
        [uncertain] = ledger.uncertain_sums([(name, 0, NEVER)])
        return balances.unlimited(ledger.read(name), sum(uncertain.values()))

    def balances(self, user: str | None = None) -> list[Balance]:
        """The balance of every limit of a user, or of the global account. A user not seen yet has the default ones."""
        background_worker.drain()
        payer, name = self._payer, self.name_of(user)
        account = payer.ledger.read(name)
        if account is None:
            limits = payer.default_limits(name)
            now = payer.clock()
            account = Account(name, slots=tuple(_empty(spec(limit, now, payer.timezone)) for limit in limits))
        return Balances(self._balances([account])[0])

    def rates(self, accounts: Iterable[Account]) -> dict[str, Recent]:
        """What was charged lately, where accounts have limits whose own period tells nothing of that."""
        payer = self._payer
        names = [account.id for account in accounts if any(map(goes_by_recent, account.slots))]
        if len(names) > FEW:
            return recent_rates(payer.ledger, payer.clock(), payer.timezone)
        rates: dict[str, Recent] = {}
        for name in names:
            rates |= recent_rates(payer.ledger, payer.clock(), payer.timezone, name)
        return rates

    def _balances(self, accounts: Sequence[Account]) -> list[list[Balance]]:
        """The balances of each of some accounts."""
        at, timezone = self._payer.clock(), self._payer.timezone
        periods = [
            (account.id, counted_from(now, at), now.end)
            for account in accounts
            for now in (present(slot, at, timezone) for slot in account.slots)
        ]
        uncertain = iter(self._payer.ledger.uncertain_sums(periods) if periods else ())
        recent = self.rates(accounts)
        return [
            [balances.of_slot(slot, at, timezone, next(uncertain), recent.get(account.id)) for slot in account.slots]
            for account in accounts
        ]

    def page(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[AccountInfo]:
        """Accounts in the order of their names: those with a prefix, behind ``after``, at most ``count``."""
        check_count(count, "count")
        if prefix != "":
            account_names.check(prefix, "prefix")
        if after is not None:
            account_names.check(after, "after")
        background_worker.drain()
        found = account_names.page(self._payer.ledger, prefix, after, count)
        return [
            _info(name, one, mine)
            for (name, one), mine in zip(found.items(), self._balances(list(found.values())), strict=True)
        ]

    def info(self, user: str | None) -> AccountInfo | None:
        """What is listed of one account: a user's, or the global one (None); None if it is not there."""
        background_worker.drain()
        infos = self.infos([self.name_of(user)])
        return infos[0] if infos else None

    def infos(self, accounts: Iterable[str]) -> list[AccountInfo]:
        """What is listed of accounts by the ledger's names of them, without those that are not there."""
        found = [one for name in accounts if (one := self._payer.ledger.read(name)) is not None]
        return [
            _info(account_names.called(one.id) or account_name(one.id), one, mine)
            for one, mine in zip(found, self._balances(found), strict=True)
        ]

    def uncertain(self) -> list[UncertainCharge]:
        """Charges that nobody confirmed, oldest first."""
        background_worker.drain()
        return self._uncertain(self._payer.ledger.uncertain())

    def uncertain_page(self, user: str | None, first: int, count: int) -> UncertainPage:
        """Some of these, of a user or of all (None), from the one with a number on."""
        background_worker.drain()
        account = None if user is None else self.name_of(user)
        found = self._payer.ledger.uncertain_page(account, first, count)
        return UncertainPage(found.count, to_usd(found.usd), tuple(self._uncertain(found.charges)))

    def _uncertain(self, charges: Iterable[Charge]) -> list[UncertainCharge]:
        return [
            UncertainCharge(
                id=one.id,
                users=tuple(account_name(name) for name in one.accounts if account_kind(name) == "user"),
                model=one.model,
                provider=one.provider,
                cost=to_usd(one.used.usd),
                held=to_usd(one.held),
                reason=one.reason,
                at=local_time(one.at, self._payer.timezone),
            )
            for one in charges
        ]

    def reconcile(self, charge_id: str, cost: Amount | None, usage: Usage | Mapping[str, int] | None) -> None:
        """Replace the figure of a charge by what it really was: USD, or tokens that are priced as the call was."""
        if (cost is None) == (usage is None):
            msg = "reconcile takes one of: cost=USD, usage=Usage(...)"
            raise TypeError(msg)
        nano = None if cost is None else nano_usd(cost, "cost")
        spent = None if usage is None else counted(usage)
        background_worker.drain()
        self._payer.correct(charge_id, spent, nano)

    def flush(self) -> None:
        """Make everything recorded so far durable."""
        background_worker.drain()
        self._payer.ledger.flush()
        for kept in self._payer.kept_charges():
            if kept.waits():
                kept.again()
                kept.require_none()
        waiting = background_worker.refused()
        if waiting:
            msg = (
                f"{waiting} holds wait to be given back to {self._payer.ledger!r}; that is repeated until it takes them"
            )
            raise LedgerUnavailableError(msg)

    def users(self) -> Iterable[Account]:
        """Every user's account."""
        return all_accounts(self._payer.ledger, "u:")

    def known(self, user: str | None) -> Account:
        """An account that is there.

        Raises:
            UnknownUserError: it is not.
        """
        account = self._payer.ledger.read(self.name_of(user))
        if account is None:
            msg = f"user {user!r} is not known; create_budget(10, {user!r}) makes it one"
            raise UnknownUserError(msg)
        return account

    def settle_limits(self, user: str | None) -> None:
        """Give a user that nobody has given any limits those of such users, as its first call would."""
        account = self.name_of(user)
        limits = self._payer.default_limits(account)
        found = self._payer.ledger.read(account)
        if limits and (found is None or not (found.slots or found.explicit)):
            self._payer.limit(account, limits, explicit=False)

    def name_of(self, user: str | None) -> str:
        """The ledger's name of an account, by that which people use: see :func:`account_names.find`."""
        return account_names.find(user, self._payer.ledger.read)

    def reset(self, user: str | None) -> None:
        """Set what a user (None: the global account) has spent back to zero. Open holds stay."""
        background_worker.drain()
        if user is not None:
            self.known(user)
        self.forget_alerts(self.name_of(user))
        self._payer.ledger.reset(self.name_of(user), int(self._payer.clock()))
        self._tell_of_later_periods(self.name_of(user))

    def repair_periods(self, user: str | None) -> int:
        """Put limits whose period begins in the future back into the present one: a user's, or all (None)."""
        background_worker.drain()
        ledger = self._payer.ledger
        repaired = 0
        for account in list(all_accounts(ledger)) if user is None else [self.known(user)]:
            now = self._payer.clock()
            late = [slot for slot in account.slots if slot.start > now + TOLERANCE]
            if late and is_claim(account.id):
                ledger.delete(account.id)  # nobody was told anything of the period that comes back
            elif late:
                limits = [spec(limit_of(slot), now, self._payer.timezone) for slot in late]
                repaired += ledger.set_periods(account.id, limits)
                self.forget_alerts(account.id)
        return repaired

    def _tell_of_later_periods(self, account: str) -> None:
        """Say that a reset leaves a period that has not come yet."""
        found = self._payer.ledger.read(account)
        for slot in found.slots if found is not None else ():
            if slot.start > self._payer.clock() + TOLERANCE:
                logger.warning("budgeted: a limit was reset, but %s", in_the_future(slot, self._payer.timezone))

    def forget_alerts(self, account: str) -> None:
        """What an account has spent is forgotten: alert anew when it is spent again."""
        if self._payer.alerts is not None:
            self._payer.alerts.forget(self._payer.ledger.read(account))


def _info(name: str, account: Account, mine: Iterable[Balance]) -> AccountInfo:
    above = account.belongs_to
    team = (account_names.called(above) or account_name(above)) if above else None
    return AccountInfo(name, account_kind(account.id), tuple(mine), account.stopped, team, to_usd(account.usd))


def _empty(spec: LimitSpec) -> Slot:
    terms = Terms(spec.window, spec.keep, spec.step) if spec.window or spec.keep else None
    return Slot(spec.limit, spec.unit, spec.amount, spec.start, spec.end, terms=terms)
