"""``BudgetManager``: accounts and their limits, the policy for calls that do not fit, and LiteLLM's methods."""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Never, Self, TypeVar, overload

import msgspec
from opentelemetry import trace

from budgeted import balances, decorator, outcomes, prices, providers, responses, tally, telemetry, tokens
from budgeted import scope as scopes
from budgeted.alerts import Alerts
from budgeted.balances import AccountInfo, Balance, ReportRow, UncertainCharge
from budgeted.bounds import input_bound
from budgeted.errors import (
    LedgerError,
    LedgerUnavailableError,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
)
from budgeted.events import Listener
from budgeted.forecast import Recent, exhausted_at, recent_rates
from budgeted.hold import Hold, counted, make_hold
from budgeted.ledger import open_ledger, upkeep, user_dict
from budgeted.ledger.base import (
    GLOBAL,
    STALE,
    USD,
    Account,
    Charge,
    Ledger,
    Leg,
    LimitSpec,
    Refused,
    Route,
    Slot,
    Used,
    account_kind,
    account_name,
    user_account,
)
from budgeted.ledger.specs import EPOCH, day_number, is_budget, limit_of, spec, spec_of
from budgeted.limits import Anchor, Limit
from budgeted.money import nano_usd, shown, to_usd
from budgeted.periods import NEVER, Period, parse_period, window
from budgeted.prices import Amount
from budgeted.recent import charged, remember_also
from budgeted.scope import Budget, Group, Plan, Policy, Scope, check_name, make_policy
from budgeted.settings import (
    Fsync,
    LedgerLike,
    Limits,
    OnExceed,
    Settings,
    UserLimitsLike,
    check_fsync,
    documented,
    global_limits,
    refuse_unknown,
)
from budgeted.usage import Counts, Usage

logger = logging.getLogger("budgeted")

F = TypeVar("F", bound=Callable[..., Any])

MOST_PLANS = 1_000
"""Models of one group whose plans are kept: names may be invented."""

MOST_KEYED = 1_000
"""Keyed blocks that are kept in mind, at least, after they have ended."""

DAY = Period(1, "day")
LOADING_SECONDS = 5.0
"""How long a method that counts text waits for a tokenizer that is being read from disk."""

BY = ("user", "model", "provider", "day")

ESTIMATED = "estimated from the text"
UNPRICED = "no price is known for its model"
MOST_UNPRICED = 1_000
"""Responses of models without a price that are kept in mind, to charge them when they are reported again."""

_settings = tuple(field.name for field in msgspec.structs.fields(Settings))
_keywords = (*_settings, "max_budget", "duration", "ledger", "project_name", "fsync")
_managers: weakref.WeakSet[BudgetManager] = weakref.WeakSet()


class BudgetManager:
    """Budgets of one project: who may spend what, what was spent, and what happens to a call that does not fit.

    It has every method of LiteLLM's ``BudgetManager`` and replaces it without other changes, and it is the source of
    ``budget(...)``, ``budgeted(...)`` and ``hold(...)`` for its own accounts. The first manager of a process is its
    default one, whose global limit also covers calls outside every block.

    Args:
        project_name: the namespace in the ledger.
        client_type: ``"local"``; or ``"hosted"`` to keep users' budgets on a server that speaks LiteLLM's protocol,
            instead of in a ledger. That protocol allows one writing process; ``ledger="https://..."`` any number.
        api_base, headers: where hosted budgets are, and what is sent there with every request.
        max_budget: the global limit: USD as a number, or limits as text such as ``"$10/day + 60 calls/minute"``.
        duration: the period of ``max_budget``, such as ``"daily"`` or ``"30d"``.
        ledger: where balances are kept: a path or ``file:///dir`` (None: the user's state directory, or
            ``BUDGETED_HOME``), ``"memory://"``, ``"sqlite:///file"``, ``"postgresql+psycopg://..."`` or an SQLAlchemy
            ``Engine``, or ``"https://..."`` for a server (``budgeted serve``).
        default_user_limits: limits of a user that has none of its own, or a mapping of name patterns to limits.
        unknown_users: ``"allow"`` creates a user at its first call, ``"deny"`` refuses it.
        timezone: in which days and months begin.
        on_exceed: ``"clamp"`` caps the output so that the call fits, ``"raise"`` leaves requests alone, ``"warn"``
            lets calls through and says so.
        wait: seconds to wait while only calls in flight are in the way.
        fallback: models to try instead of refusing.
        min_output_tokens: the fewest output tokens worth having.
        unpriced: ``"deny"`` refuses models without a price where a USD limit applies; ``"free"`` lets them pass.
        unattributed: ``"warn"`` or ``"deny"`` calls that no user pays for, while users have limits.
        on_ledger_error: ``"deny"`` refuses calls while the ledger is away; ``"allow"`` records them later.
        on_uncertain: what a call costs that nobody confirms: ``"estimate"``, ``"hold"`` (all it held), ``"release"``.
        uncertain_output_tokens: output tokens of that estimate.
        hold_timeout: seconds after which a hold that nobody ends is charged as uncertain.
        alerts: shares of a limit at which to alert: once per account, limit, period and share, in one of the
            processes that share the ledger. Limits of less than an hour, and caps without a key, alert nobody.
        on_event: called with each :class:`~budgeted.events.Event` (refusals, alerts, overruns, estimates, a ledger's
            trouble), in a thread of its own.
        metric_users: whether metrics, spans and logs may name users: ``False``, a list of users, ``"top 20"`` (those
            who have spent most), ``"hash"`` (16 hex digits of each name's SHA-256), ``True``, or a function that is
            given a user and returns the name to show, or None. Each user who is named is a series of its own.
        semconv: whether to emit the OpenTelemetry GenAI conventions' own metrics.
        fsync: ``"background"``, or ``"always"`` to survive a power cut.
        clock: returns unix seconds, like ``time.time``; for tests.

    Raises:
        ValueError, TypeError: a setting makes no sense; the text quotes it.
        LedgerError: the ledger cannot be opened.

    Example:
        >>> manager = BudgetManager("my-app", max_budget="$20/day", default_user_limits="$1/day")
        >>> with manager.budget("alice"):
        ...     client.chat.completions.create(...)
    """

    @documented
    def __init__(
        self,
        project_name: str = "default",
        client_type: str = "local",
        api_base: str | None = None,
        headers: Mapping[str, str] | None = None,
        *,
        max_budget: Limits | None = None,
        duration: str | None = None,
        ledger: LedgerLike = None,
        default_user_limits: UserLimitsLike = (),
        unknown_users: Literal["allow", "deny"] = "allow",
        timezone: str | dt.tzinfo = "UTC",
        on_exceed: OnExceed = "clamp",
        wait: float = 30.0,
        fallback: str | Sequence[str] = (),
        min_output_tokens: int = 4096,
        unpriced: Literal["deny", "free"] = "deny",
        unattributed: Literal["warn", "deny"] = "warn",
        on_ledger_error: Literal["deny", "allow"] = "deny",
        on_uncertain: Literal["estimate", "hold", "release"] = "estimate",
        uncertain_output_tokens: int = 1024,
        hold_timeout: float = 900.0,
        alerts: float | Iterable[float] = (0.8, 1.0),
        on_event: Callable[[Any], Any] | None = None,
        metric_users: Any = False,
        semconv: bool = False,
        fsync: Fsync = "background",
        clock: Callable[[], float] | None = None,
        **unknown: Never,
    ) -> None:
        settings = Settings(**{name: value for name, value in locals().items() if name in _settings})
        refuse_unknown(unknown, BudgetManager)
        if client_type not in ("local", "hosted"):
            msg = f"client_type={shown(client_type)} is not known; write client_type='local' or client_type='hosted'"
            raise ValueError(msg)
        if client_type == "hosted" and (ledger is not None or not isinstance(api_base, str)):
            msg = (
                f"client_type='hosted' keeps budgets at api_base, and there alone; write api_base='https://...' and no "
                f"ledger, got api_base={shown(api_base)}"
            )
            raise ValueError(msg)
        self.project_name = check_name(project_name, "project_name")
        self.client_type = client_type
        self.api_base = api_base
        self.headers = dict(headers or {"Content-Type": "application/json"})
        check_fsync(fsync)
        limits = global_limits(max_budget, duration)
        self._fsync = fsync
        self._where = ledger
        self._lock = threading.RLock()
        self._keyed: dict[str, _Keyed] = {}
        self._unpriced: dict[tuple[str, str], str] = {}
        self._former: list[Ledger] = []
        self._warned: set[str] = set()
        self.listener: Listener | None = None
        self._adopt(self._open(ledger, self.project_name, fsync, settings), settings, limits)
        self._take_part()

    def __repr__(self) -> str:
        return f"BudgetManager({self.project_name!r}, ledger={self.ledger!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self, where: LedgerLike, project: str, fsync: str, settings: Settings) -> Ledger:
        if self.client_type == "hosted":
            from budgeted.ledger.hosted import HostedLedger

            return HostedLedger(self.api_base or "", self.headers, project, settings.timezone, settings.clock)
        return open_ledger(where, project, fsync=fsync)

    def _take_part(self) -> None:
        """Pay for calls of this process from now on, and show up in its metrics."""
        _register(self)

    def _adopt(self, ledger: Ledger, settings: Settings, limits: tuple[Limit, ...] | None) -> None:
        """Take everything over, also where calls are under way. What can fail comes first, and then changes nothing."""
        user_limits = bool(settings.default_user_limits) or _users_have_limits(ledger)
        if limits is None:
            ledger.set_limits(GLOBAL, (), explicit=False, create=True)
        else:
            now = settings.clock()
            ledger.set_limits(GLOBAL, [spec(limit, now, settings.timezone) for limit in limits], explicit=True)
        self.ledger: Ledger = ledger
        self.settings = settings
        self.clock: Callable[[], float] = settings.clock
        self.timezone: dt.tzinfo = settings.timezone
        self.min_output_tokens = settings.min_output_tokens
        self.uncertain_output = settings.uncertain_output
        self.unpriced = settings.unpriced
        self.user_limits = user_limits
        self.policy = Policy(settings.on_exceed, settings.wait, settings.fallback)
        self.semconv = settings.semconv
        self.alerts = Alerts(self, settings.alerts) if settings.alerts else None
        if settings.on_event is None:
            self.listener = None
        elif self.listener is None or self.listener.callback is not settings.on_event:
            self.listener = Listener(settings.on_event)
        self.group = Group(self, (GLOBAL,), (self.policy,))
        self.outside = Scope((self.group,))
        ledger.clock = settings.clock
        ledger.hold_timeout = settings.hold_timeout

    def reconfigure(self, **changes: Any) -> None:
        """Change settings in place; those not named stay as they are. Takes the constructor's keywords.

        Raises:
            ValueError, TypeError, LedgerError: as the constructor; then nothing was changed.
        """
        refuse_unknown((name for name in changes if name not in _keywords), BudgetManager)
        limits = global_limits(changes.pop("max_budget", None), changes.pop("duration", None))
        project = check_name(changes.pop("project_name", self.project_name), "project_name")
        where = changes.pop("ledger", self._where)
        fsync = changes.pop("fsync", self._fsync)
        check_fsync(fsync)
        settings = msgspec.structs.replace(self.settings, **changes)
        with self._lock:
            ledger = self.ledger
            if (project, where) != (self.project_name, self._where):
                ledger = self._open(where, project, fsync, settings)
            elif fsync != self._fsync:
                msg = f"fsync={fsync!r} is for opening a ledger, and {ledger!r} is open with {self._fsync!r}"
                raise ValueError(msg)
            before = self.ledger
            self._adopt(ledger, settings, limits)
            self.project_name, self._where, self._fsync = project, where, fsync
            _cover()
            if before is not ledger:
                self._former.append(before)  # calls in flight still settle there

    # -- blocks, decorator, holds

    @documented
    def budget(
        self,
        user: str | None = None,
        *,
        cap: Amount | None = None,
        key: str | None = None,
        on_exceed: OnExceed | None = None,
        fallback: str | Sequence[str] | None = None,
        wait: float | None = None,
        **unknown: Never,
    ) -> Budget:
        """A block whose calls are charged to a user, and to a cap of its own.

        Args:
            user: who pays besides the global account; None for nobody in particular.
            cap: USD that this one block may spend.
            key: keeps the cap in the ledger under this name: whoever opens it again goes on with what is left.
            on_exceed: ``"clamp"``, ``"raise"`` or ``"warn"``; None for the manager's.
            fallback: models to try instead of refusing.
            wait: seconds to wait while only calls in flight are in the way.
            unknown: any other keyword is refused, naming the one that was meant.

        Returns:
            A context manager, for ``with`` and ``async with``, with the block's own figures.

        Raises:
            ValueError, TypeError: an argument makes no sense; the text quotes it.
        """
        refuse_unknown(unknown, self.budget)
        _check_no_amount(user)
        if key is not None and cap is None:
            msg = f"key={shown(key)} needs a cap: it is the cap's balance that is kept under the key"
            raise ValueError(msg)
        return Budget(self, user, cap=cap, key=key, policy=make_policy(self.policy, on_exceed, fallback, wait))

    @overload
    def budgeted(self, fn: F, /) -> F: ...
    @overload
    def budgeted(
        self,
        user: str | Callable[..., str | None] | None = None,
        *,
        cap: Amount | None = None,
        on_exceed: OnExceed | None = None,
        fallback: str | Sequence[str] | None = None,
        wait: float | None = None,
    ) -> Callable[[F], F]: ...
    @documented  # type: ignore[misc]  # what comes first may be a function or a user
    def budgeted(
        self,
        target: Any = None,
        /,
        *,
        user: Any = None,
        cap: Any = None,
        on_exceed: Any = None,
        fallback: Any = None,
        wait: Any = None,
        **unknown: Never,
    ) -> Any:
        """Decorate a function so that its calls are paid for. See :func:`budgeted.budgeted`."""
        refuse_unknown(unknown, self.budgeted)
        return decorate(lambda: self, target, user, cap, (on_exceed, fallback, wait))

    @documented
    def hold(
        self,
        model: str | None = None,
        input: Any = None,
        max_output_tokens: int | None = None,
        *,
        cost: Amount | None = None,
        user: str | None = None,
        provider: str | None = None,
        base_url: str | None = None,
        n: int | None = None,
        tier: str | None = None,
        **unknown: Never,
    ) -> Hold:
        """Set money aside for a call that no SDK's hook sees. See :func:`budgeted.hold`."""
        refuse_unknown(unknown, self.hold)
        block = Budget(self, user)
        return make_hold(
            model, input, max_output_tokens, cost, block, provider=provider, base_url=base_url, n=n, tier=tier
        )

    def limit_block(self, account: str, cap: int, block: Budget) -> None:
        """Note a keyed block and its cap, which reaches the ledger with the block's next call."""
        with self._lock:
            keyed = self._keyed.get(account)
            if keyed is None:
                if len(self._keyed) >= MOST_KEYED:
                    self._keyed = {name: one for name, one in self._keyed.items() if one.blocks}
                keyed = self._keyed[account] = _Keyed()
            keyed.cap = cap
            keyed.blocks.add(block)

    # -- what a call needs

    def plan(self, group: Group, provider: str, model: str, at: int, *, fresh: bool = False) -> Plan:
        """Where the calls of a group with one model go, at this time."""
        plan = group.plans.get((provider, model))
        if plan is not None and at < plan.expires and not fresh:
            return plan
        plan = self._plan(group, provider, model, at)
        if len(group.plans) >= MOST_PLANS:
            group.plans.clear()
        # Each call in a keyed block is planned anew: so the block learns what others have spent of its cap.
        if not any(account_kind(name) == "block" for name in group.accounts):
            group.plans[provider, model] = plan
        return plan

    def _plan(self, group: Group, provider: str, model: str, at: int, *, refuse: bool = True) -> Plan:
        legs: list[Leg] = []
        versions: list[int] = []
        soft: list[bool] = []
        around: list[tuple[int, int]] = []
        server_clock = self.ledger.remote and self.clock is time.time
        day_start, expires = window(DAY, None, at, self.timezone)
        priced = False
        for name, policy in zip(group.accounts, group.policies, strict=True):
            account = self._account(name, refuse=refuse)
            versions.append(account.version)
            windows = []
            for slot in account.slots:
                limit = limit_of(slot.limit, slot.amount)
                if not limit.matches(model):
                    continue
                start, end = limit.window(at, self.timezone)
                if slot.start > start:  # a clock set back does not reopen a period
                    start, end = slot.start, slot.end
                windows.append((slot.limit, start, end))
                if server_clock:
                    around.append(_around(limit, start, end, self.timezone))
                soft.append(policy.on_exceed == "warn")
                expires = min(expires, end)
                priced = priced or slot.unit == USD
            legs.append(Leg(name, tuple(windows)))
        route = Route.make(legs, versions, day_number(day_start, self.timezone), provider, model, soft, around)
        return Plan(route, expires, priced)

    def _account(self, name: str, *, refuse: bool) -> Account:
        """An account as the ledger has it; made with its default limits if it is not there."""
        account = self.ledger.read(name)
        kind = account_kind(name)
        if kind == "block":
            return self._block_account(name, account)
        if kind == "user" and refuse and self.settings.unknown_users == "deny":
            self._require_budget(account_name(name), account)
        if account is None:
            limits = self.settings.default_user_limits.of(account_name(name)) if kind == "user" else ()
            self._limit(name, limits, explicit=False, create=True)
            account = self.ledger.read(name)
        assert account is not None  # noqa: S101 - it was made just now
        return account

    def _block_account(self, name: str, account: Account | None) -> Account:
        """A keyed block's account with the cap it has now; the open blocks are told what is spent of it."""
        keyed = self._keyed[name]
        if account is None or [slot.amount for slot in account.slots] != [keyed.cap]:
            self._limit(name, [_CAP.with_amount(keyed.cap)], explicit=False)
            account = self.ledger.read(name)
        assert account is not None  # noqa: S101 - it was made just now
        taken = sum(slot.spent + slot.held for slot in account.slots)
        with scopes.caps_lock:
            for block in list(keyed.blocks):
                block.taken_elsewhere(taken)
        return account

    def _require_budget(self, user: str, account: Account | None) -> None:
        if account is None or not account.explicit:
            msg = (
                f"user {user!r} has no budget; give it one with create_budget(10, {user!r}) or "
                f'set_limits({user!r}, "$10/month"), or allow any with unknown_users="allow"'
            )
            raise UnknownUserError(msg)

    def _limit(self, account: str, limits: Iterable[Limit], *, explicit: bool, create: bool = False) -> None:
        now = self.clock()
        specs = [spec(limit, now, self.timezone) for limit in limits]
        self.ledger.set_limits(account, specs, explicit=explicit, create=create)

    def reset_time(self, refused: Refused) -> tuple[dt.datetime | None, float | None]:
        """When the refusing limit's period ends, and the seconds until then."""
        if not 0 < refused.end < NEVER:
            return None, None
        return dt.datetime.fromtimestamp(refused.end, self.timezone), max(0.0, refused.end - self.clock())

    def limit_text(self, refused: Refused) -> str:
        """The refusing limit as it would be written."""
        if refused.limit == "cap" or account_kind(refused.account) == "block":
            return f"a cap of {_CAP.with_amount(refused.amount)}"
        return str(limit_of(refused.limit, refused.amount))

    def allows_without(self, error: Exception) -> bool:
        """Whether calls go on while the ledger is away; says so loudly."""
        if self.settings.on_ledger_error != "allow":
            return False
        outcomes.note_trouble((self.group,), "the ledger is away and a call goes through unchecked", error)
        return True

    def note_unattributed(self, request: Any) -> None:
        """A call has no user to pay for it, while users have limits."""
        if self.settings.unattributed == "deny":
            msg = "a call was made that no user pays for; put it into `with budget(user):`"
            error = UnattributedCallError(msg)
            outcomes.note_turned_away(request, (self.group,), error, trace.get_current_span())
            raise error
        if "unattributed" not in self._warned:
            self._warned.add("unattributed")
            logger.warning(
                "budgeted: a call was charged to nobody but the global account of %r; put calls into "
                "`with budget(user):`, or refuse such calls with unattributed='deny' (said once)",
                self.project_name,
            )

    def note_soft(self, group: Group, call: Any) -> None:  # noqa: ARG002 - as every payer has it
        """A call went through an account that only warns: say so once per limit and period if it is over."""
        for name, policy in zip(group.accounts, group.policies, strict=True):
            account = self.ledger.read(name) if policy.on_exceed == "warn" else None
            for slot in account.slots if account else ():
                once = f"{name} {slot.limit} {slot.start}"
                if slot.spent + slot.held > slot.amount and once not in self._warned:
                    self._warned.add(once)
                    who = "a user" if account_kind(name) == "user" else account_name(name)
                    logger.warning(
                        "budgeted: %s is over %s and goes on, as on_exceed='warn'",
                        who,
                        limit_of(slot.limit, slot.amount),
                    )

    # -- limits and balances

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
        self._known(user)
        self._forget_alerts(user_account(user))
        self.ledger.delete(user_account(user))

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
        upkeep.drain()
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
        """
        upkeep.drain()
        found = self.ledger.accounts("u:" + prefix, None if after is None else user_account(after), count)
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
        upkeep.drain()
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
        upkeep.drain()
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
            LedgerError: no such charge is known (any more).
            UnpricedModelError: usage of a model without a price.
        """
        if (cost is None) == (usage is None):
            msg = "reconcile takes one of: cost=USD, usage=Usage(...)"
            raise TypeError(msg)
        nano = None if cost is None else nano_usd(cost, "cost")
        spent = None if usage is None else counted(usage)
        upkeep.drain()
        charge = self.ledger.ended(charge_id)
        if charge is None:
            msg = f"no charge {shown(charge_id)} is known; uncertain() lists those that can be reconciled"
            raise LedgerError(msg)
        if spent is None:
            used = Used(nano or 0, charge.used.input_tokens, charge.used.output_tokens)
        else:
            price = prices.find(charge.model, charge.provider or None)
            if price is None and self.unpriced == "deny":
                raise _unpriced(charge.model, "; or give cost=USD instead")
            usd = 0 if price is None else price.cost(spent, charge.opened)
            used = Used(usd, spent.input_tokens, spent.output_tokens)
        before = self.ledger.correct(charge_id, used, int(self.clock()))
        if before is not None:
            tally.correct(used.usd - before.used.usd)
            self._charged(Group(self, before.accounts, ()), used.usd - before.used.usd)

    def flush(self) -> None:
        """Make everything recorded so far durable.

        Raises:
            LedgerUnavailableError: the disk refuses, or charges wait in memory that the ledger could not take yet.
        """
        upkeep.drain()
        self.ledger.flush()
        waiting = upkeep.refused()
        if waiting:
            msg = f"{waiting} charges wait in memory for {self.ledger!r}; they are repeated until it takes them"
            raise LedgerUnavailableError(msg)

    def close(self) -> None:
        """Flush, and give up the ledger if no other manager uses it. Repeating it does nothing."""
        upkeep.drain()
        _unregister(self)
        for ledger in (*self._former, self.ledger):
            if not any(other.ledger is ledger for other in _open_managers()):
                ledger.close()

    def _forget_alerts(self, account: str) -> None:
        if self.alerts is not None:
            self.alerts.forget(self.ledger.read(account))

    # -- LiteLLM's methods

    def create_budget(
        self, total_budget: Amount, user: str, duration: str | None = None, created_at: Anchor | None = None
    ) -> dict[str, Any]:
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
        name = user_account(check_name(user, "user"))
        period = None if duration is None else parse_period(duration)
        with self._lock:
            account = self.ledger.read(name)
            slots = () if account is None else account.slots
            budgets = [slot for slot in slots if is_budget(slot)]
            if period is not None and created_at is None:
                kept = (limit_of(slot.limit, slot.amount) for slot in budgets)
                created_at = next((one.anchor for one in kept if one.period == period and one.anchor), self.clock())
            limit = Limit(total_budget) if period is None else Limit(total_budget, period, anchor=created_at)
            made = spec(limit, self.clock(), self.timezone)
            if account is not None and budgets:
                made = msgspec.structs.replace(made, since=self._since(account, budgets))
            others = [spec_of(slot) for slot in slots if slot not in budgets]
            self.ledger.set_limits(name, [made, *others], explicit=True)
            self.user_limits = True
        return self._record(user)

    def _since(self, account: Account, budgets: Sequence[Slot]) -> int:
        """The day from which past charges count into a budget that replaces these, so that what was spent stays.

        Past charges are known by the day, and as a whole since the last reset.
        """
        now = self.clock()
        present = [slot for slot in budgets if slot.end > now]
        spent = max((slot.spent for slot in present), default=0)
        if not spent and not any(slot.held for slot in present):
            return -1
        if spent == account.usd:
            return 0
        return day_number(min(slot.start for slot in present), self.timezone)

    def projected_cost(self, model: str, messages: Iterable[Any], user: str) -> float:
        """What a user has spent, plus what the input of a request would cost (USD).

        Args:
            model: the model that would be asked.
            messages: the request's messages. They are counted, or bounded where no tokenizer is at hand.
            user: the user.

        Raises:
            UnknownUserError: there is no such user.
            UnpricedModelError: no price is known for the model.
        """
        self._known(user)
        price = prices.find(model)
        if price is None:
            raise _unpriced(model)
        messages = list(messages)
        size = _count("".join(_texts(messages)), model)
        if size is None:
            size = max(0, input_bound({"messages": messages}, model, exact_bytes=False))
        fixed, _ = price.bound(size, self.clock())
        return to_usd(fixed) + self.get_current_cost(user)

    def get_total_budget(self, user: str) -> float:
        """The user's budget in USD.

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
        user: Any = None,
        completion_obj: Any = None,
        model: str | None = None,
        input_text: str | None = None,
        output_text: str | None = None,
    ) -> dict[str, Any]:
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
            ValueError: neither a response nor a model with its texts was given.
            UnpricedModelError: no price is known for the model. The call is recorded all the same, as uncertain, and
                gets its price when the response is reported again, or by ``reconcile``.
        """
        if user is not None and not isinstance(user, str):
            user, completion_obj = completion_obj, user
        name = user_account(check_name(user, "user"))
        group = self.group.join(name, self.policy)
        id = None if completion_obj is None else responses.read(completion_obj).id
        if id is not None and all(charged(id, self, account) for account in group.accounts):
            return {"user": self._record(user)}  # a metered stream's chunks need not say what it used
        report = _report(completion_obj, model, input_text, output_text)
        if report is not None:
            with self._lock:  # so that of two reports of one response the second finds it charged
                self._record_call(name, report)
        return {"user": self._record(user)}

    def _record_call(self, name: str, report: _Report) -> None:
        """Charge a reported call to the user and the global account, as far as they were not charged for it."""
        group = self.group.join(name, self.policy)
        if report.id is not None:
            owed = tuple(one for one in group.accounts if not charged(report.id, self, one))
        else:
            owed = group.accounts
        if not owed:
            return
        price = prices.find(report.model, report.provider or None)
        at = int(self.clock())
        paying = Group(self, owed, (self.policy,) * len(owed))
        missing = price is None and self.unpriced == "deny"
        usage = report.usage
        used = Used(0 if price is None else price.cost(usage, at), usage.input_tokens, usage.output_tokens)
        reason = UNPRICED if missing else report.reason
        id = self._unpriced.pop((report.id or "", name), None) or self.ledger.new_id()
        self._post(id, paying, report, used, at, reason)
        if GLOBAL in owed:  # else it was counted when it was charged there
            tally.charge(report, (group,), used, 0, estimated=bool(reason))
        self._charged(paying, used.usd)
        if missing:
            if report.id is not None and len(self._unpriced) < MOST_UNPRICED:
                self._unpriced[report.id, name] = id
            raise _unpriced(report.model, f"; the call is recorded as the uncertain charge {id!r}")
        if report.id is not None:
            remember_also(report.id, group)

    def _charged(self, group: Group, cost: int) -> None:
        """Accounts were charged without a call of this process: their alerts may be due."""
        if self.alerts is not None:
            self.alerts.charged(group, cost, trace.get_current_span(), None)

    def _post(self, id: str, group: Group, report: _Report, used: Used, at: int, reason: str) -> None:
        while True:
            plan = self._plan(group, report.provider, report.model, at, refuse=False)
            if self.ledger.post(id, plan.route, used, at, reason) is not STALE:
                return

    def get_current_cost(self, user: str) -> float:
        """USD that the user has spent in the present period."""
        return float(self._record(user)["current_cost"])

    def get_model_cost(self, user: str) -> dict[str, float]:
        """USD that the user has spent in the present period, by model."""
        return dict(self._record(user)["model_cost"])

    def is_valid_user(self, user: str | None) -> bool:
        """Whether the user was given a budget with ``create_budget`` or ``set_limits``."""
        try:
            account = self.ledger.read(self._name(user))
        except (TypeError, ValueError):  # no name that a user could have
            return False
        return user is not None and account is not None and account.explicit

    def get_users(self) -> list[str]:
        """Every user that was given a budget or was charged."""
        return [account_name(account.id) for account in self._users()]

    def reset_cost(self, user: str | None) -> dict[str, Any]:
        """Set what a user (None: the global account) has spent back to zero. Open holds stay.

        Returns:
            ``{"user": record}``.
        """
        upkeep.drain()
        if user is not None:
            self._known(user)
        self._forget_alerts(self._name(user))
        self.ledger.reset(self._name(user), int(self.clock()))
        return {"user": self._record(user)}

    def reset_on_duration(self, user: str) -> None:
        """Nothing is left to do: periods end by themselves. Kept because LiteLLM's callers call it."""
        self._known(user)

    def update_budget_all_users(self) -> None:
        """Nothing is left to do: periods end by themselves. Kept because LiteLLM's callers call it."""

    def save_data(self) -> dict[str, str]:
        """Make everything recorded so far durable. Returns ``{"status": "success"}``."""
        self.flush()
        return {"status": "success"}

    def load_data(self) -> None:
        """Nothing is left to do: the ledger is always current. Kept because LiteLLM's callers call it."""

    @property
    def user_dict(self) -> dict[str, dict[str, Any]]:
        """Every user's record, as LiteLLM keeps them. A copy: change budgets through the methods."""
        upkeep.drain()
        return {account_name(account.id): self._record_of(account) for account in self._users()}

    def _users(self) -> Iterable[Account]:
        after: str | None = None
        while True:
            page = self.ledger.accounts("u:", after, 1000)
            yield from page
            if len(page) < 1000:
                return
            after = page[-1].id

    def _record(self, user: str | None) -> dict[str, Any]:
        """A user's record in LiteLLM's shape."""
        upkeep.drain()
        return self._record_of(self._known(user))

    def _record_of(self, account: Account) -> dict[str, Any]:
        return user_dict.record_of(account, self.clock(), self.timezone)

    def _known(self, user: str | None) -> Account:
        account = self.ledger.read(self._name(user))
        if account is None:
            msg = f"user {user!r} is not known; create_budget(10, {user!r}) makes it one"
            raise UnknownUserError(msg)
        return account

    def _name(self, user: str | None) -> str:
        return GLOBAL if user is None else user_account(check_name(user, "user"))


class _Keyed:
    """A cap that is kept in the ledger, and the blocks of this process that spend it."""

    def __init__(self) -> None:
        self.cap = 0
        self.blocks: weakref.WeakSet[Budget] = weakref.WeakSet()


def decorate(manager: Callable[[], BudgetManager], target: Any, user: Any, cap: Any, choices: tuple[Any, ...]) -> Any:
    """The decorator behind ``budgeted``: bare on a function, or with arguments first.

    Args:
        manager: gives whose accounts, asked at each call.
        target: what came first: the function, or the user.
        user: the user, by name.
        cap: USD for each call, or None.
        choices: the policy: ``on_exceed``, ``fallback`` and ``wait``, or None each.

    Raises:
        TypeError, ValueError: an argument makes no sense; the text quotes it.
    """
    own = make_policy(Policy(), *choices)
    if cap is not None:
        nano_usd(cap, "cap", up=False)
    if inspect.iscoroutinefunction(user):
        msg = (
            f"user={shown(user)} is a coroutine function, and who pays is asked before anything runs; write a plain one"
        )
        raise TypeError(msg)

    @functools.lru_cache(maxsize=16)
    def over(base: Policy) -> Policy | None:
        return make_policy(base, *choices)

    def policy(paying: BudgetManager) -> Policy | None:
        return None if own is None else over(paying.policy)

    def paid(fn: Callable[..., Any]) -> Callable[..., Any]:
        if inspect.isclass(fn):
            msg = f"@budgeted goes on functions, and {fn.__name__} is a class; put it on the methods that make calls"
            raise TypeError(msg)
        return decorator.decorate(decorator.Payment(fn, manager, user, cap, policy))

    if isinstance(target, (int, float)) and not isinstance(target, bool):
        msg = f"@budgeted({shown(target)}) names no user; for a cap on each call write @budgeted(cap={shown(target)})"
        raise TypeError(msg)
    if target is not None and user is not None:
        msg = f"@budgeted got two users, {shown(target)} and {shown(user)}; nest two blocks to have both pay"
        raise TypeError(msg)
    if target is None or isinstance(target, str) or (callable(target) and (cap is not None or own is not None)):
        user = target if user is None else user
        return lambda fn: decorator.unwrap_method(fn, paid)
    return _not_a_user(decorator.unwrap_method(target, paid), target)


def _not_a_user(paid: Any, target: Any) -> Any:
    """A bare ``@budgeted(lambda ...)`` pays for the lambda's own calls, and may have been meant otherwise."""
    if getattr(target, "__name__", "") != "<lambda>":
        return paid

    @functools.wraps(target)
    def call(*args: Any, **kwargs: Any) -> Any:
        if len(args) == 1 and not kwargs and inspect.isfunction(args[0]):
            msg = (
                f"@budgeted(lambda ...) on {args[0].__name__}() takes the lambda for the function to pay for; "
                f"to have it tell who pays write @budgeted(user=lambda ...)"
            )
            raise TypeError(msg)
        return paid(*args, **kwargs)

    return call


# -- which manager is the default one

STAND_IN, CONSTRUCTED, CONFIGURED = range(3)
"""How the default manager came about; a later one replaces it if it ranks higher."""

_default: BudgetManager | None = None
_rank = STAND_IN
_default_lock = threading.RLock()


def get_default() -> BudgetManager:
    """The default manager: the one ``configure`` made, else the first one constructed, else a new one in memory."""
    global _rank  # noqa: PLW0603
    if _default is not None:
        return _default
    with _default_lock:
        if _default is None:
            BudgetManager(ledger="memory://")
            _rank = STAND_IN
        return _default  # type: ignore[return-value]  # it registered itself


def configure_default(settings: dict[str, Any]) -> BudgetManager:
    """Make the manager that covers the calls outside every block, or change it in place.

    One that stood in, in memory, until somebody configured it gets the ledger that a new one would have. One that
    the application constructed is left alone.
    """
    global _default, _rank  # noqa: PLW0603
    with _default_lock:
        if _default is None or _rank == CONSTRUCTED:
            _default = BudgetManager(**settings)
        else:
            _default.reconfigure(**({"ledger": None, **settings} if _rank == STAND_IN else settings))
        _rank = CONFIGURED
        _cover()
        return _default


def _register(manager: BudgetManager) -> None:
    global _default, _rank
    with _default_lock:
        _managers.add(manager)
        if _default is None or _rank == STAND_IN:
            _default, _rank = manager, CONSTRUCTED
            _cover()
    providers.instrument()
    telemetry.start(_open_managers)


def _unregister(manager: BudgetManager) -> None:
    global _default  # noqa: PLW0603
    with _default_lock:
        _managers.discard(manager)
        if _default is manager:
            _default = None
            _cover()


def _cover() -> None:
    """Have the default manager pay for calls outside every block."""
    scopes.outside[:] = [] if _default is None else [_default.outside]


def _open_managers() -> list[BudgetManager]:
    return list(_managers)


# -- inside

_CAP = Limit(0)


def _around(limit: Limit, start: int, end: int, tz: dt.tzinfo) -> tuple[int, int]:
    """The start of the period before one, and the end of the period after it."""
    return (limit.window(start - 1, tz)[0] if start else 0), (limit.window(end, tz)[1] if end < NEVER else NEVER)


def _users_have_limits(ledger: Ledger) -> bool:
    return any(account.slots for account in ledger.accounts("u:", count=100))


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


def _check_no_amount(user: object) -> None:
    if isinstance(user, str) and user[:1] == "$":
        msg = f"budget({user!r}) would bill a user of that name; for a cap on the block write budget(cap={user[1:]!r})"
        raise ValueError(msg)
    if isinstance(user, (int, float)) and not isinstance(user, bool):
        msg = f"user must be a string, got {shown(user)}; for a cap on the block write budget(cap={shown(user)})"
        raise TypeError(msg)


def _unpriced(model: str, more: str = "") -> UnpricedModelError:
    return UnpricedModelError(
        f"no price is known for model {shown(model)}; tell it with budgeted.register_price({shown(model)}, input=..., "
        f"output=...) in USD per million tokens{more}"
    )


class _Report(msgspec.Struct):
    """A call that was made elsewhere, as ``update_cost`` is told of it."""

    model: str
    usage: Counts
    provider: str = ""
    id: str | None = None
    reason: str = ""
    operation: str = "update_cost"


def _report(response: Any, model: str | None, input_text: str | None, output_text: str | None) -> _Report | None:
    """Read what ``update_cost`` was given; None for a response that was paid for before."""
    if model is not None and (input_text is not None or output_text is not None):
        given, counted_in = _estimate(input_text or "", model, "input_text")
        made, counted_out = _estimate(output_text or "", model, "output_text")
        return _Report(model, Usage(given, made), reason="" if counted_in and counted_out else ESTIMATED)
    if response is None:
        msg = "update_cost needs a response, or a model with input_text and output_text"
        raise ValueError(msg)
    hidden = getattr(response, "_hidden_params", None)  # where LiteLLM notes how it came by a response
    notes = hidden if isinstance(hidden, Mapping) else {}
    if notes.get("cache_hit") is True and not hasattr(response, "data"):  # embeddings may be cached in part
        return None
    answer = responses.read(response)
    name = model or answer.model
    if answer.usage is None or name is None:
        msg = (
            f"the {type(response).__name__} given to update_cost does not say what it used; "
            f"give model=, input_text= and output_text= instead"
        )
        raise ValueError(msg)
    provider = notes.get("custom_llm_provider")
    return _Report(name, answer.usage, provider if isinstance(provider, str) else "", answer.id)


def _texts(messages: Iterable[Any]) -> Iterable[str]:
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else getattr(message, "content", None)
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (part["text"] for part in content if isinstance(part, Mapping) and "text" in part)


def _count(text: str, model: str) -> int | None:
    """Tokens as the model's own tokenizer counts them, if it can be had without a download."""
    counted = tokens.count(text, model)
    if counted is None and tokens.wait_loaded(LOADING_SECONDS):
        counted = tokens.count(text, model)
    return counted


def _estimate(text: Any, model: str, what: str) -> tuple[int, bool]:
    """Tokens of a text, and whether they were counted rather than guessed."""
    if not isinstance(text, str):
        msg = f"{what} must be a string, got {shown(text)}"
        raise TypeError(msg)
    size = _count(text, model)
    return (-(-len(text.encode("utf-8", "surrogatepass")) // 4), False) if size is None else (size, True)
