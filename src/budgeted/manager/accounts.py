"""The administration of a project's budgets: limits, balances, reports, and charges that are put right."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

from opentelemetry import trace

from budgeted.errors import LedgerError, LedgerUnavailableError, UnknownUserError, UnpricedModelError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL, USD, Account, LimitSpec, Slot, account_kind, account_name, user_account
from budgeted.ledger.interface import all_accounts
from budgeted.ledger.limit_conversion import EPOCH, limit_of, spec
from budgeted.ledger.spending_records import Charge, Used
from budgeted.limits.limit import Limit
from budgeted.limits.periods import NEVER
from budgeted.manager import balances
from budgeted.manager.balances import AccountInfo, Balance, ReportRow, UncertainCharge
from budgeted.manager.payer import Paying
from budgeted.manager.settings import Limits
from budgeted.metering.manual_hold import counted
from budgeted.money import nano_usd, to_usd
from budgeted.payers.scope import Group
from budgeted.pricing import prices
from budgeted.pricing.prices import Amount
from budgeted.pricing.usage import Usage
from budgeted.telemetry import counters
from budgeted.telemetry.forecast import Recent, exhausted_at, recent_rates
from budgeted.validation import check_count, check_name, shown

BY = ("user", "model", "provider", "day")


class Administration(Paying):
    """What those do who give budgets, watch them and put charges right. Any of it may wait for the ledger."""

    def set_limits(self, user: str | None, *limits: Limits) -> None:
        """Give a user, or the global account, these limits instead of those it has. What was spent stays.

        Args:
            user: the user, or None for the global account.
            limits: limits as text or :class:`Limit`; a number is USD; none removes all.

        Raises:
            ValueError, TypeError: a limit does not parse, or the user is no name.
        """
        account = self._name(user)
        parsed = Limit.parse_all([one for limit in limits for one in Limit.parse_all(limit)])
        self._limit(account, parsed, explicit=True)
        if user is not None and parsed:
            self.user_limits = True

    def delete_user(self, user: str) -> None:
        """Forget a user's limits and balance. What it was charged stays in the reports.

        Raises:
            UnknownUserError: there is no such user.
        """
        account = user_account(check_name(user, "user"))
        self._known(user)
        self._forget_alerts(account)
        self.ledger.delete(account)

    def balance(self, user: str | None = None) -> Balance:
        """The tightest USD limit of a user, or of the global account: the one with the least remaining.

        Args:
            user: the user, or None for the global account.

        Returns:
            Amounts in USD. Without a USD limit, ``limit`` and ``remaining`` are None, and ``spent`` is everything
            since the last reset.
        """
        usd = [balance for balance in self.balances(user) if balance.unit == "usd"]
        if usd:
            return min(usd, key=lambda balance: balance.remaining or 0.0)
        name = self._name(user)
        return balances.unlimited(self.ledger.read(name), self.ledger.uncertain())

    def balances(self, user: str | None = None) -> list[Balance]:
        """The balance of every limit of a user, or of the global account. A user not seen yet has the default ones."""
        background_worker.drain()
        name = self._name(user)
        account = self.ledger.read(name)
        if account is None:
            limits = self.settings.default_user_limits.of(user) if user is not None else ()
            now = self.clock()
            account = Account(name, slots=tuple(_empty(spec(limit, now, self.timezone)) for limit in limits))
        return self._balances(account, self.ledger.uncertain(), self._rates([account]).get(name))

    def _rates(self, accounts: Iterable[Account]) -> dict[str, Recent]:
        """What was charged lately, where accounts have limits whose own period tells nothing of that."""
        names = [account.id for account in accounts if any(slot.end >= NEVER for slot in account.slots)]
        if not names:
            return {}
        return recent_rates(self.ledger, self.clock(), self.timezone, names[0] if len(names) == 1 else None)

    def _balances(self, account: Account, uncertain: Sequence[Charge], recent: Recent | None) -> list[Balance]:
        at = self.clock()
        mine = [one for one in uncertain if account.id in one.accounts]
        return [
            balances.of_slot(slot, limit_of(slot.limit, slot.amount), at, self.timezone, mine, recent)
            for slot in account.slots
        ]

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[AccountInfo]:
        """Users in the order of their names, a page at a time.

        Args:
            prefix: only names that begin so.
            after: the last name of the page before.
            count: how many at most.

        Raises:
            ValueError, TypeError: an argument makes no sense; the text quotes it.
        """
        begin = "u:" + (prefix if prefix == "" else check_name(prefix, "prefix"))
        last = None if after is None else user_account(check_name(after, "after"))
        check_count(count, "count")
        background_worker.drain()
        found = self.ledger.accounts(begin, last, count)
        uncertain = self.ledger.uncertain()
        recent = self._rates(found)
        return [
            AccountInfo(
                account_name(one.id), account_kind(one.id), tuple(self._balances(one, uncertain, recent.get(one.id)))
            )
            for one in found
        ]

    def report(
        self,
        by: Literal["user", "model", "provider", "day"] = "user",
        since: dt.date | str | None = None,
    ) -> dict[str, ReportRow]:
        """What was spent, summed under one heading. Kept for 400 days.

        Args:
            by: ``"user"``, ``"model"``, ``"provider"`` or ``"day"`` (ISO dates in the manager's time zone).
            since: the first day: a date, a datetime, or ISO text.

        Returns:
            Rows by name, the dearest first (days in order). Those of users tell when a limit in USD will be reached.
        """
        if by not in BY:
            msg = f"by={shown(by)} is not known; write one of {', '.join(map(repr, BY))}"
            raise ValueError(msg)
        background_worker.drain()
        sums: dict[str, list[int]] = {}
        for row in self.ledger.rollups(_since_day(since)):
            kind = account_kind(row.account)
            if kind != ("user" if by == "user" else "global"):
                continue
            if by == "user":
                name = account_name(row.account)
            elif by == "day":
                name = dt.date.fromordinal(row.day + EPOCH).isoformat()
            else:
                name = row.model if by == "model" else row.provider or _provider_of(row.model)
            total = sums.setdefault(name, [0, 0, 0, 0, 0])
            figures = (row.usd, row.calls, row.input_tokens, row.output_tokens, row.uncertain)
            total[:] = map(sum, zip(total, figures, strict=True))
        ends = self._exhaustions() if by == "user" else {}
        rows = sorted(sums.items(), key=lambda item: item[0] if by == "day" else (-item[1][0], item[0]))
        return {
            name: ReportRow(to_usd(usd), calls, given, made, to_usd(guessed), ends.get(name))
            for name, (usd, calls, given, made, guessed) in rows
        }

    def _exhaustions(self) -> dict[str, dt.datetime]:
        """When each user reaches the first of its limits in USD, at the present rate."""
        users = list(self._users())
        recent, at = self._rates(users), self.clock()
        ends = {
            account_name(one.id): [
                end
                for slot in one.slots
                if slot.unit == USD and (end := exhausted_at(slot, at, self.timezone, recent.get(one.id))) is not None
            ]
            for one in users
        }
        return {user: min(found) for user, found in ends.items() if found}

    def uncertain(self) -> list[UncertainCharge]:
        """Charges that nobody confirmed, oldest first."""
        background_worker.drain()
        return [
            UncertainCharge(
                id=one.id,
                users=tuple(account_name(name) for name in one.accounts if account_kind(name) == "user"),
                model=one.model,
                provider=one.provider,
                cost=to_usd(one.used.usd),
                held=to_usd(one.held),
                reason=one.reason,
                at=dt.datetime.fromtimestamp(one.at, self.timezone),
            )
            for one in self.ledger.uncertain()
        ]

    def reconcile(
        self, charge_id: str, *, cost: Amount | None = None, usage: Usage | Mapping[str, int] | None = None
    ) -> None:
        """Replace the figure of a charge by what it really was, as the provider's invoice tells.

        Args:
            charge_id: from :meth:`uncertain`, or a hold's ``id``.
            cost: USD.
            usage: tokens, priced as the call was.

        Raises:
            TypeError: not exactly one of the two was given.
            ValueError: the figure makes no sense; the text quotes it.
            LedgerError: no such charge is known (any more).
            UnpricedModelError: usage of a model without a price.
        """
        if (cost is None) == (usage is None):
            msg = "reconcile takes one of: cost=USD, usage=Usage(...)"
            raise TypeError(msg)
        nano = None if cost is None else nano_usd(cost, "cost")
        spent = None if usage is None else counted(usage)
        background_worker.drain()
        charge = self.ledger.ended(charge_id) if _may_be_id(charge_id) else None
        if charge is None:
            msg = f"no charge {shown(charge_id)} is known; uncertain() lists those that can be reconciled"
            raise LedgerError(msg)
        if spent is None:
            used = Used(nano or 0, charge.used.input_tokens, charge.used.output_tokens)
        else:
            price = prices.find(charge.model, charge.provider or None)
            if price is None and self.unpriced == "deny":
                raise unpriced(charge.model, "; or give cost=USD instead")
            usd = 0 if price is None else price.cost(spent, charge.opened)
            used = Used(usd, spent.input_tokens, spent.output_tokens)
        before = self.ledger.correct(charge_id, used, int(self.clock()))
        if before is not None:
            counters.correct(used.usd - before.used.usd)
            self._charged(Group(self, before.accounts, ()), used.usd - before.used.usd)

    def flush(self) -> None:
        """Make everything recorded so far durable.

        Raises:
            LedgerUnavailableError: the disk refuses, or charges wait in memory that the ledger could not take yet.
        """
        background_worker.drain()
        self.ledger.flush()
        waiting = background_worker.refused()
        if waiting:
            msg = f"{waiting} charges wait in memory for {self.ledger!r}; they are repeated until it takes them"
            raise LedgerUnavailableError(msg)

    def _users(self) -> Iterable[Account]:
        return all_accounts(self.ledger, "u:")

    def _known(self, user: str | None) -> Account:
        account = self.ledger.read(self._name(user))
        if account is None:
            msg = f"user {user!r} is not known; create_budget(10, {user!r}) makes it one"
            raise UnknownUserError(msg)
        return account

    def _name(self, user: str | None) -> str:
        return GLOBAL if user is None else user_account(check_name(user, "user"))

    def _forget_alerts(self, account: str) -> None:
        if self.alerts is not None:
            self.alerts.forget(self.ledger.read(account))

    def _charged(self, group: Group, cost: int) -> None:
        """Accounts were charged without a call of this process: their alerts may be due."""
        if self.alerts is not None:
            self.alerts.charged(group, cost, trace.get_current_span(), None)


def _may_be_id(charge_id: object) -> bool:
    """Whether a ledger can be asked for it: ids are plain text, and databases choke on what is not."""
    return isinstance(charge_id, str) and charge_id.isascii() and charge_id.isprintable()


def _since_day(since: Any) -> int:
    if since is None:
        return 0
    try:
        if isinstance(since, str):
            since = dt.datetime.fromisoformat(since)
        if isinstance(since, dt.datetime):
            since = since.date()
        return int(since.toordinal()) - EPOCH
    except (ValueError, AttributeError):
        msg = f"since must be a date such as '2026-11-01', got {shown(since)}"
        raise ValueError(msg) from None


def _empty(spec: LimitSpec) -> Slot:
    return Slot(spec.limit, spec.unit, spec.amount, spec.start, spec.end)


def _provider_of(model: str) -> str:
    price = prices.find(model)
    return price.provider if price is not None and price.provider else "unknown"


def unpriced(model: str, more: str = "") -> UnpricedModelError:
    """What is wrong where a call that was made already has no price."""
    return UnpricedModelError(
        f"no price is known for model {shown(model)}; tell it with budgeted.register_price({shown(model)}, input=..., "
        f"output=...) in USD per million tokens{more}"
    )
