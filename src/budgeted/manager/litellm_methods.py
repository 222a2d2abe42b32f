"""LiteLLM's methods: its ``BudgetManager`` is replaced without other changes.

Same arguments, same results, amounts as floats in USD. Where its documentation and its code differ, both are served.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeAlias

import msgspec

from budgeted.errors import LedgerError, LedgerUnavailableError, UnknownUserError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL, Account, Slot, account_name, user_account
from budgeted.ledger.limit_conversion import counted_from, day_number, is_budget, limit_of, present, spec, spec_of
from budgeted.ledger.litellm_hosted import user_dict
from budgeted.ledger.spending_records import Used
from budgeted.ledger.spill_file import Unposted
from budgeted.limits.limit import Anchor, Limit
from budgeted.limits.periods import Period, parse_period
from budgeted.manager import reported_call
from budgeted.manager.accounts import Accounts
from budgeted.manager.project_payer import ProjectPayer, no_price
from budgeted.manager.reported_call import Report
from budgeted.metering import ledger_hold
from budgeted.metering.charged_responses import charged, remember_also
from budgeted.money import nano_usd, to_usd
from budgeted.payers.payer_interface import Group
from budgeted.pricing import price_registry
from budgeted.pricing.input_token_bound import input_bound
from budgeted.pricing.price_registry import Amount
from budgeted.telemetry import counters
from budgeted.validation import check_text, check_user, is_tag, shown
from budgeted.wire import response_usage

UserRecord: TypeAlias = dict[str, Any]
"""A user as LiteLLM keeps it: ``total_budget``, ``current_cost``, ``model_cost`` and more, amounts in USD."""

UNPRICED = "no price is known for its model"
MOST_UNPRICED = 1_000
"""Responses of models without a price that are kept in mind, to charge them when they are reported again."""


class LiteLLMMethods:
    """Every method of LiteLLM's ``BudgetManager``, on the accounts of a project.

    Args:
        payer: what a call needs of the project.
        accounts: the same project's, for those who give budgets.
    """

    def __init__(self, payer: ProjectPayer, accounts: Accounts) -> None:
        self._payer = payer
        self._accounts = accounts
        self._unpriced: dict[tuple[str, str], str] = {}

    def create_budget(
        self, total_budget: Amount, user: str, duration: str | None = None, created_at: Anchor | None = None
    ) -> UserRecord:
        """Give a user a budget, or change it; what was spent stays.

        Args:
            total_budget: USD.
            user: the user.
            duration: ``daily``, ``weekly``, ``monthly``, ``yearly``, or any other period; None for ever.
            created_at: unix seconds from which periods are counted; now, if the user has none of that period.

        Returns:
            The user's record, as in ``user_dict``.

        Raises:
            ValueError, TypeError: an argument makes no sense; the text quotes it. Then nothing was changed.
        """
        nano_usd(total_budget, "total_budget", up=False)
        name = user_account(check_user(user))
        period = None if duration is None else parse_period(duration)
        with self._payer.lock:
            account = self._payer.ledger.read(name)
            slots = () if account is None else account.slots
            budgets = [slot for slot in slots if is_budget(slot)]
            limit = self._budget(total_budget, period, created_at, budgets)
            made = spec(limit, self._payer.clock(), self._payer.timezone)
            if account is not None and budgets:
                made = msgspec.structs.replace(made, since=self._since(account, budgets))
            others = [spec_of(slot) for slot in slots if slot not in budgets]
            self._payer.ledger.set_limits(name, [made, *others], explicit=True)
            self._payer.user_limits = self._payer.user_limits or not is_tag(user)
        return self._record(user)

    def _budget(
        self, total_budget: Amount, period: Period | None, created_at: Anchor | None, budgets: Sequence[Slot]
    ) -> Limit:
        """The limit that a budget is, counted as one of these is, if it is of the same period and nothing is said."""
        if period is None:
            return Limit(total_budget)
        if created_at is None and not period.rolling:
            same = (one.anchor for one in map(limit_of, budgets) if one.period == period)
            created_at = next(filter(None, same), self._payer.clock())
        # Text, too, is USD here, also where so many per minute would be calls.
        return Limit(0, period, anchor=created_at).with_amount(Limit(total_budget).amount)

    def _since(self, account: Account, budgets: Sequence[Slot]) -> int:
        """The day from which past charges count into a budget that replaces these, so that what was spent stays.

        Past charges are known by the day, and as a whole since the last reset.
        """
        now, tz = self._payer.clock(), self._payer.timezone
        running = [present(slot, now, tz) for slot in budgets if slot.end > now]
        spent = max((slot.spent for slot in running), default=0)
        if not spent and not any(slot.held for slot in running):
            return -1
        if spent == account.usd:
            return 0
        return day_number(min(counted_from(slot, now) for slot in running), tz)

    def projected_cost(self, model: str, messages: Iterable[object], user: str) -> float:
        """What a user has spent, plus what the input of a request would cost (USD).

        Args:
            model: the model that would be asked.
            messages: the request's messages. They are counted, or bounded where no tokenizer is at hand.
            user: the user.

        Returns:
            USD.

        Raises:
            UnknownUserError: there is no such user.
            UnpricedModelError: no price is known for the model.
            TypeError, ValueError: the model is no name, or the messages are no list.
        """
        check_text(model, "model")
        if isinstance(messages, (str, bytes, Mapping)) or not isinstance(messages, Iterable):
            msg = f"messages must be a list such as [{{'role': 'user', 'content': 'hi'}}], got {shown(messages)}"
            raise TypeError(msg)
        self._accounts.known(user)
        price = price_registry.find(model)
        if price is None:
            raise no_price(model)
        messages = list(messages)
        size = reported_call.count("".join(reported_call.texts(messages)), model)
        if size is None:
            size = max(0, input_bound({"messages": messages}, model, exact_bytes=False))
        fixed, _ = price.bound(size, self._payer.clock())
        return to_usd(fixed) + self.get_current_cost(user)

    def get_total_budget(self, user: str) -> float:
        """The user's budget in USD.

        Args:
            user: the user's name.

        Returns:
            USD.

        Raises:
            UnknownUserError: the user has none. (A ``KeyError`` too, as with LiteLLM.)
        """
        record = self._record(user)
        if "total_budget" not in record:
            msg = f"user {user!r} has no budget in USD; create_budget(10, {user!r}) gives it one"
            raise UnknownUserError(msg)
        return float(record["total_budget"])

    def update_cost(
        self,
        user: object = None,
        completion_obj: object = None,
        model: str | None = None,
        input_text: str | None = None,
        output_text: str | None = None,
    ) -> UserRecord:
        """Record what a call cost a user. Records and never refuses.

        Args:
            user: the user; the first two arguments may come in either order.
            completion_obj: the response. One that was charged to this user already is not charged again, and one
                that LiteLLM took from its cache costs nothing.
            model: the model, with the texts; or instead of the one that the response names.
            input_text: what was sent, whose tokens are counted.
            output_text: what was received.

        Returns:
            ``{"user": record}``.

        Raises:
            ValueError, TypeError: neither a response nor a model with its texts was given, or the user is no name.
            UnpricedModelError: no price is known for the model. The call is recorded all the same, as uncertain, and
                gets its price when the response is reported again, or by ``reconcile``.
            LedgerUnavailableError: the ledger did not take the charge. It is kept and charged when the ledger is back
                (see :meth:`~budgeted.BudgetManager.close`); do not report the call again.
        """
        if not isinstance(user, str) and isinstance(completion_obj, str):
            user, completion_obj = completion_obj, user
        user = check_user(user)
        name = user_account(user)
        group = self._payer.group.join(name, self._payer.policy)
        id = None if completion_obj is None else response_usage.read(completion_obj).id
        if id is not None and all(charged(id, self._payer, account) for account in group.accounts):
            return {"user": self._record(user)}  # a metered stream's chunks need not say what it used
        report = reported_call.read(completion_obj, model, input_text, output_text)
        if report is not None:
            with self._payer.lock:  # so that of two reports of one response the second finds it charged
                self._record_call(name, report)
        return {"user": self._record(user)}

    def _record_call(self, name: str, report: Report) -> None:
        """Charge a reported call to the user and the global account, as far as they were not charged for it."""
        group = self._payer.group.join(name, self._payer.policy)
        if report.id is not None:
            owed = tuple(one for one in group.accounts if not charged(report.id, self._payer, one))
        else:
            owed = group.accounts
        if not owed:
            return
        price = price_registry.find(report.model, report.provider or None)
        at = int(self._payer.clock())
        paying = Group(self._payer, owed, (self._payer.policy,) * len(owed))
        missing = price is None and self._payer.unpriced == "deny"
        usage = report.usage
        used = Used(0 if price is None else price.cost(usage, at), usage.input_tokens, usage.output_tokens)
        reason = UNPRICED if missing else report.reason
        id = self._unpriced.pop((report.id or "", name), None) or self._payer.ledger.new_id()
        charge = Unposted(id, owed, report.provider, report.model, at, used, reason)
        waits = self._post(paying, charge)
        if GLOBAL in owed:  # else it was counted when it was charged there
            counters.charge(report, (group,), used, 0, estimated=bool(reason))
        self._payer.charged(paying, used.usd)
        if missing:
            if report.id is not None and len(self._unpriced) < MOST_UNPRICED:
                self._unpriced[report.id, name] = id
            raise no_price(report.model, f"; the call is recorded as the uncertain charge {id!r}")
        if report.id is not None:
            remember_also(report.id, group)
        if waits is not None:
            msg = (
                f"{waits}. The call is kept as the charge {id!r}, and charged when the ledger takes it: report it once"
            )
            raise LedgerUnavailableError(msg) from waits

    def _post(self, group: Group, charge: Unposted) -> LedgerError | None:
        """Charge a reported call. Returns why it has to wait, if the ledger does not take it."""
        try:
            ledger_hold.post(group, charge, charge.at, None)
        except LedgerError as error:
            self._payer.kept(self._payer.ledger).keep(charge, error)
            return error
        return None

    def get_current_cost(self, user: str) -> float:
        """USD that the user has spent in the present period.

        Args:
            user: the user's name.

        Returns:
            USD.

        Raises:
            UnknownUserError: there is no such user.
        """
        return float(self._record(user)["current_cost"])

    def get_model_cost(self, user: str) -> dict[str, float]:
        """USD that the user has spent in the present period, by model.

        Args:
            user: the user's name.

        Returns:
            USD by the names of models.

        Raises:
            UnknownUserError: there is no such user.
        """
        return dict(self._record(user)["model_cost"])

    def is_valid_user(self, user: str | None) -> bool:
        """Whether the user was given a budget with ``create_budget`` or ``set_limits``.

        Args:
            user: a name; whatever can be no name is no user.
        """
        try:
            account = self._payer.ledger.read(self._accounts.name_of(user))
        except (TypeError, ValueError):  # no name that a user could have
            return False
        return user is not None and account is not None and account.explicit

    def get_users(self) -> list[str]:
        """Every user that was given a budget or was charged."""
        return [account_name(account.id) for account in self._accounts.users()]

    def reset_cost(self, user: str | None) -> UserRecord:
        """Set what a user (None: the global account) has spent back to zero. Open holds stay.

        Args:
            user: the user's name; None for the global account.

        Returns:
            ``{"user": record}``.

        Raises:
            UnknownUserError: there is no such user.
        """
        self._accounts.reset(user)
        return {"user": self._record(user)}

    def reset_on_duration(self, user: str) -> None:
        """Nothing is left to do: periods end by themselves. Kept because LiteLLM's callers call it.

        Args:
            user: the user's name.

        Raises:
            UnknownUserError: there is no such user.
        """
        self._accounts.known(user)

    def update_budget_all_users(self) -> None:
        """Nothing is left to do: periods end by themselves. Kept because LiteLLM's callers call it."""

    def save_data(self) -> dict[str, str]:
        """Make everything recorded so far durable.

        Returns:
            ``{"status": "success"}``.
        """
        self._accounts.flush()
        return {"status": "success"}

    def load_data(self) -> None:
        """Nothing is left to do: the ledger is always current. Kept because LiteLLM's callers call it."""

    @property
    def user_dict(self) -> dict[str, UserRecord]:
        """Every user's record, as LiteLLM keeps them. A copy: change budgets through the methods."""
        background_worker.drain()
        return {account_name(account.id): self._record_of(account) for account in self._accounts.users()}

    def _record(self, user: str | None) -> UserRecord:
        """A user's record in LiteLLM's shape."""
        background_worker.drain()
        return self._record_of(self._accounts.known(user))

    def _record_of(self, account: Account) -> UserRecord:
        return user_dict.record_of(account, self._payer.clock(), self._payer.timezone)
