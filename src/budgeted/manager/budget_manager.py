"""``BudgetManager``: what users make, configure and close.

It is a front of its parts: what calls need of it is a :class:`~budgeted.manager.project_payer.ProjectPayer`, limits and
balances are :class:`~budgeted.manager.accounts.Accounts`, and LiteLLM's methods are a thin layer over both.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping
from decimal import Decimal
from typing import Any, Literal, Never, Self, TypeVar, cast, overload

import msgspec

from budgeted.functions import decorator_options
from budgeted.ledger import background_worker
from budgeted.ledger.interface import Ledger
from budgeted.ledger.opening import address_of, open_ledger
from budgeted.manager import activity, carried_manager, open_managers, reports, suggestions
from budgeted.manager.account_changes import AccountChanges
from budgeted.manager.accounts import Accounts
from budgeted.manager.activity import Activity
from budgeted.manager.argument_types import Fallback, Fsync, LedgerLike, Limits, MetricUsers, OnExceed, UserLimitsLike
from budgeted.manager.balances import AccountInfo, Balance, UncertainCharge
from budgeted.manager.carried_manager import CarriedManager
from budgeted.manager.litellm_methods import LiteLLMMethods
from budgeted.manager.project_payer import ProjectPayer
from budgeted.manager.reports import By
from budgeted.manager.settings import Settings, check_fsync, check_headers, global_limits, read_settings
from budgeted.manager.spending_report import Report
from budgeted.manager.suggestions import Suggestion
from budgeted.manager.unknown_keywords import documented, refuse_unknown
from budgeted.metering.manual_hold import Hold, make_hold
from budgeted.metering.set_aside import set_aside
from budgeted.metering.tool_hold import make_tool_hold
from budgeted.payers.block import Budget
from budgeted.payers.block_ahead import BudgetAhead
from budgeted.payers.cap_text import CapLike, read_cap
from budgeted.payers.on_exceed_policy import make_policy
from budgeted.payers.purpose_tags import Tags, TagsOf, accounts_of, check_tags
from budgeted.payers.repeated_requests import RepeatedRequests
from budgeted.pricing.price_registry import Amount
from budgeted.pricing.usage import Usage
from budgeted.telemetry.events import Event
from budgeted.validation import check_count, check_name, check_yes_or_no, refuse_amount, shown

F = TypeVar("F", bound=Callable[..., Any])

_settings = tuple(field.name for field in msgspec.structs.fields(Settings))
_keywords = (*_settings, "max_budget", "duration", "ledger", "project_name", "fsync")
_for_ever = ("client_type", "api_base", "headers")


class BudgetManager(LiteLLMMethods):
    """Budgets of one project: who may spend what, what was spent, and what happens to a call that does not fit.

    It has every method of LiteLLM's ``BudgetManager`` and replaces it without other changes, and it is the source of
    ``budget(...)``, ``budgeted(...)`` and ``hold(...)`` for its own accounts. The first manager of a process is its
    default one, whose global limit also covers calls outside every block.

    Args:
        project_name: the namespace in the ledger.
        client_type: ``"local"``; or ``"hosted"`` to keep users' budgets on a server that speaks LiteLLM's protocol,
            instead of in a ledger. That protocol allows one writing process; ``ledger="https://..."`` any number.
        api_base: where hosted budgets are: the address of that server.
        headers: what is sent there with every request, such as its token.
        max_budget: the global limit: USD as a number, or limits as text such as ``"$10/day + 60 calls/minute"``. It
            counts when it is declared for the first time, and when it has changed; else what an operator has set stays.
        duration: the period of ``max_budget``, such as ``"daily"`` or ``"30d"``.
        ledger: where balances are kept: a path or ``file:///dir`` (None: the user's state directory, or
            ``BUDGETED_HOME``), ``"memory://"``, ``"sqlite:///file"``, ``"postgresql+psycopg://..."`` or an SQLAlchemy
            ``Engine``, or ``"https://..."`` for a server (``budgeted serve``).
        default_user_limits: limits of a user that has none of its own, or a mapping of name patterns to limits.
        unknown_users: ``"allow"`` creates a user at its first call, ``"deny"`` refuses it.
        timezone: in which days and months begin.
        on_exceed: ``"clamp"`` caps the output so that the call fits, ``"raise"`` leaves requests alone, ``"warn"``
            lets calls through and says so, ``"ask"`` tells ``on_event`` of a call that does not fit, and lets it wait
            for somebody to raise the limit.
        wait: seconds to wait while only calls in flight are in the way, or a tokenizer is being loaded.
        fallback: models to try instead of refusing; or ``{0.8: "gpt-5-mini"}``, to ask it from 80% of a limit on.
        min_output_tokens: the fewest output tokens worth having. A small limit grants fewer, a quarter of what it
            buys, but no fewer than 256 unless these are fewer.
        unpriced: ``"deny"`` refuses models without a price where a USD limit applies; ``"free"`` lets them pass.
        unattributed: ``"warn"`` or ``"deny"`` calls that no user pays for, while users have limits.
        unmetered: what happens inside a block to a request that is recognised as paid for and cannot be read, such as
            one at an unknown path of a provider's host: ``"deny"`` refuses it, ``"warn"`` lets it through and says so
            once per host, ``"allow"`` only counts it. Outside every block it is counted, and warned of.
        unmetered_hosts: further hosts that serve models, such as a company's own gateway, with the port where it is
            not the usual one.
        on_ledger_error: ``"deny"`` refuses calls while the ledger is away; ``"allow"`` records them later.
        on_uncertain: what a call is charged whose cost nobody confirms: ``"estimate"``, the most that it can have cost
            (of a stream that was left at a provider that then stops, what was received and what may have been under
            way; else all that it held); ``"hold"``, all it held; ``"release"``, nothing.
        hold_timeout: seconds after which a hold that nobody ends is charged as uncertain.
        alerts: shares of a limit at which to alert: once per account, limit, period and share, in one of the
            processes that share the ledger. Limits of less than an hour, and caps without a key, alert nobody.
        alerts_to: a URL, or several, that alerts are sent to, in Slack's format where that is Slack's, else as JSON,
            once for all processes that share the ledger: ``"https://hooks.slack.com/services/..."``. They name users,
            unless a URL ends in ``#names=hash``. What is not taken is sent again in the background, for up to a day.
        alerts_secret: by which what is sent is signed, so that a receiver can check it with
            :func:`budgeted.integrations.webhooks.verify`; None for what ``BUDGETED_ALERTS_SECRET`` says, or the file
            that ``BUDGETED_ALERTS_SECRET_FILE`` names, if one of them is set.
        on_event: called with each :class:`~budgeted.events.Event` (refusals, alerts, overruns, estimates, a ledger's
            trouble), in a thread of its own.
        metric_users: whether metrics, spans and logs may name users: ``False``, a list of users, ``"top 20"`` (those
            who have spent most), ``"hash"`` (16 hex digits of each name's SHA-256), ``True``, or a function that is
            given a user and returns the name to show, or None. Each user who is named is a series of its own.
        metric_tags: the names of tags that metrics and logs may tell, such as ``["feature"]``, with at most 100 values
            each, and ``"other"`` for the rest. Spans always have ``budgeted.tag.NAME``.
        tags: what all calls are for that this manager pays: see :meth:`budget`, whose tags are added to these, and
            whose values of the same names replace them.
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
        fallback: Fallback = (),
        min_output_tokens: int = 4096,
        unpriced: Literal["deny", "free"] = "deny",
        unattributed: Literal["warn", "deny"] = "warn",
        unmetered: Literal["deny", "warn", "allow"] = "deny",
        unmetered_hosts: Iterable[str] = (),
        on_ledger_error: Literal["deny", "allow"] = "deny",
        on_uncertain: Literal["estimate", "hold", "release"] = "estimate",
        hold_timeout: float = 900.0,
        alerts: float | Iterable[float] = (0.8, 1.0),
        alerts_to: str | Iterable[str] | None = (),
        alerts_secret: str | None = None,
        on_event: Callable[[Event], object] | None = None,
        metric_users: MetricUsers = False,
        metric_tags: str | Iterable[str] = (),
        tags: Tags | None = None,
        semconv: bool = False,
        fsync: Fsync = "background",
        clock: Callable[[], float] | None = None,
        **unknown: Never,
    ) -> None:
        settings = read_settings({name: value for name, value in locals().items() if name in _settings})
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
        project = check_name(project_name, "project_name")
        check_fsync(fsync)
        global_ = global_limits(max_budget, duration)
        self.client_type = client_type
        self.api_base = api_base
        self.headers = check_headers(headers) or {"Content-Type": "application/json"}
        self._fsync = fsync
        self._where = ledger
        self._former: list[Ledger] = []
        self.payer = ProjectPayer(project, self._open(ledger, project, fsync, settings), settings, global_, self)
        super().__init__(self.payer, Accounts(self.payer))
        self._changes = AccountChanges(self.payer)
        self._take_part()

    def __repr__(self) -> str:
        return f"BudgetManager({self.project_name!r}, ledger={self.ledger!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def project_name(self) -> str:
        """The namespace in the ledger."""
        return self.payer.project_name

    @property
    def ledger(self) -> Ledger:
        """Where the balances are."""
        return self.payer.ledger

    @property
    def settings(self) -> Settings:
        """Every setting but the name, the ledger and the global limit."""
        return self.payer.settings

    def _open(self, where: LedgerLike, project: str, fsync: str, settings: Settings) -> Ledger:
        if self.client_type == "hosted":
            from budgeted.ledger.litellm_hosted.ledger import HostedLedger

            return HostedLedger(self.api_base or "", self.headers, project, settings.timezone, settings.clock)
        return open_ledger(where, project, fsync=fsync)

    def _take_part(self) -> None:
        """Pay for calls of this process from now on, and show up in its metrics."""
        open_managers.register(self)

    def reconfigure(self, **changes: object) -> None:
        """Change settings in place; those not named stay as they are. Takes the constructor's keywords.

        Args:
            changes: settings by their names; ``client_type``, ``api_base`` and ``headers`` cannot be changed.

        Raises:
            ValueError, TypeError, LedgerError: as the constructor; then nothing was changed.
        """
        for name in _for_ever:
            if name in changes:
                msg = f"{name} is for making a manager, not for changing one; write BudgetManager(..., {name}=...)"
                raise TypeError(msg)
        refuse_unknown((name for name in changes if name not in _keywords), BudgetManager)
        limits = global_limits(changes.pop("max_budget", None), changes.pop("duration", None))
        project = check_name(changes.pop("project_name", self.project_name), "project_name")
        where = cast("LedgerLike", changes.pop("ledger", self._where))  # what opens it looks at it
        fsync = check_fsync(changes.pop("fsync", self._fsync))
        settings = read_settings(changes, self.settings)
        with self.payer.lock:
            before = ledger = self.ledger
            if (project, where) != (self.project_name, self._where):
                ledger = self._open(where, project, fsync, settings)
            elif fsync != self._fsync:
                msg = (
                    f"fsync={fsync!r} is for opening a ledger, and {ledger!r} is open with {self._fsync!r}; "
                    f"give it to BudgetManager(...), or to the first configure(...)"
                )
                raise ValueError(msg)
            self.payer.adopt(ledger, settings, limits, project)
            self._where, self._fsync = where, fsync
            open_managers.cover()
            if before is not ledger:
                self._former.append(before)  # calls in flight still settle there

    def carried(self) -> CarriedManager:
        """This manager, for a process that goes on with it. What does not pickle is left out, and said once."""
        return carried_manager.carry(BudgetManager, self, self._where, self._fsync)

    def ledger_address(self) -> str | None:
        """What other processes can open the ledger by, with its password if it has one; None if there is nothing."""
        # LiteLLM's protocol takes but one writer.
        return None if self.client_type == "hosted" else address_of(self._where)

    # -- blocks, decorator, holds

    @documented
    def budget(
        self,
        user: str | None = None,
        *,
        cap: CapLike | None = None,
        key: str | None = None,
        tags: Tags | None = None,
        on_exceed: OnExceed | None = None,
        fallback: Fallback | None = None,
        wait: float | None = None,
        reraise: bool = False,
        repeat_limit: int | None = None,
        reserve: bool = False,
        share: float | Decimal | None = None,
        **unknown: Never,
    ) -> Budget:
        """A block whose calls are charged to a user, and to a cap of its own.

        Args:
            user: who pays besides the global account; None for nobody in particular.
            cap: what this one block may spend: USD, or limits in any unit, such as ``"$0.50 + 20 calls"``. One with a
                period needs a key.
            key: keeps the cap in the ledger under this name: whoever opens it again goes on with what is left.
            tags: what the calls are for, such as ``{"feature": "search", "session": id}``: names with values, each an
                account that pays besides; None as a value for none. An inner block's value replaces an outer one's.
            on_exceed: ``"clamp"``, ``"raise"``, ``"warn"`` or ``"ask"``; None for the manager's.
            fallback: models to try instead of refusing; or ``{0.8: "gpt-5-mini"}``, to ask it from 80% of a limit on.
            wait: seconds to wait while only calls in flight are in the way, or a tokenizer is being loaded.
            reraise: have the block raise, where it ends, the first refusal inside it that somebody swallowed.
            repeat_limit: how often the same request may be made in the block.
            reserve: take the cap out of every budget around the block when it is entered, or refuse to enter it; what
                is left goes back when it is left.
            share: make the cap a part of what the tightest limit in USD around has left when it is entered.
            unknown: any other keyword is refused, naming the one that was meant.

        Returns:
            A context manager, for ``with`` and ``async with``, with the block's own figures.

        Raises:
            ValueError, TypeError: an argument makes no sense; the text quotes it.
        """
        if unknown:
            refuse_unknown(unknown, self.budget)
        if type(user) is not str or user.startswith("$"):
            refuse_amount(user, "budget(cap={})")
        # As nearly always, and then there is nothing to read.
        if (
            cap is None and key is None and tags is None and on_exceed is None and fallback is None and wait is None
        ) and (repeat_limit is None and share is None and reserve is False and reraise is False):
            return Budget(self.payer, user)
        if key is not None and cap is None:
            msg = f"key={shown(key)} needs a cap: it is the cap's balance that is kept under the key"
            raise ValueError(msg)
        policy = None
        if not (on_exceed is None and fallback is None and wait is None):
            policy = make_policy(self.payer.policy, on_exceed, fallback, wait)
        read = None if cap is None else read_cap(cap, lasting=key is not None)
        ahead = None if share is None and reserve is False else set_aside(read, key, share, reserve)
        accounts = () if tags is None else accounts_of(check_tags(tags))
        # By position: keywords cost nearly as much as the block itself.
        if ahead is None:
            block = Budget(self.payer, user, read, accounts, key, policy)
        else:
            block = BudgetAhead(self.payer, user, read, accounts, key, policy)
            block.ahead = ahead
        if reraise is not False and check_yes_or_no(reraise, "reraise"):
            block.refusals = []
        if repeat_limit is not None:
            block.repeats = RepeatedRequests(check_count(repeat_limit, "repeat_limit", 1))
        return block

    @overload
    def budgeted(self, fn: F, /) -> F: ...
    @overload
    def budgeted(
        self,
        user: str | Callable[..., str | None] | None = None,
        *,
        cap: CapLike | None = None,
        tags: TagsOf | None = None,
        tool: str | None = None,
        on_exceed: OnExceed | None = None,
        fallback: Fallback | None = None,
        wait: float | None = None,
        repeat_limit: int | None = None,
        reserve: bool = False,
        share: float | Decimal | None = None,
    ) -> Callable[[F], F]: ...
    @documented  # type: ignore[misc]  # what comes first may be a function or a user
    def budgeted(
        self,
        target: object = None,
        /,
        *,
        user: object = None,
        cap: CapLike | None = None,
        tags: TagsOf | None = None,
        tool: str | None = None,
        on_exceed: OnExceed | None = None,
        fallback: Fallback | None = None,
        wait: float | None = None,
        repeat_limit: int | None = None,
        reserve: bool = False,
        share: float | Decimal | None = None,
        **unknown: Never,
    ) -> object:
        """Decorate a function so that its calls are paid for. See :func:`budgeted.budgeted`."""
        refuse_unknown(unknown, self.budgeted)
        own = decorator_options.read_block(cap, repeat_limit, share, reserve)
        choices = on_exceed, fallback, wait
        return decorator_options.decorate(lambda: self.payer, target, user, own, choices, tags, tool)

    @documented
    def hold(
        self,
        model: str | None = None,
        input: object = None,
        max_output_tokens: int | None = None,
        *,
        cost: Amount | None = None,
        user: str | None = None,
        tags: Tags | None = None,
        tool: str | None = None,
        provider: str | None = None,
        base_url: str | None = None,
        n: int | None = None,
        tier: str | None = None,
        **unknown: Never,
    ) -> Hold:
        """Set money aside for a call that no SDK's hook sees. See :func:`budgeted.hold`."""
        refuse_unknown(unknown, self.hold)
        refuse_amount(user, "hold(cost={})")
        block = Budget(self.payer, user, tags=() if tags is None else accounts_of(check_tags(tags)))
        if tool is not None:
            model_only = {"input": input, "max_output_tokens": max_output_tokens, "provider": provider}
            others = {"model": model, **model_only, "base_url": base_url, "n": n, "tier": tier}
            return make_tool_hold(tool, cost, block, others)
        return make_hold(
            model, input, max_output_tokens, cost, block, provider=provider, base_url=base_url, n=n, tier=tier
        )

    # -- limits, balances, reports

    def set_limits(self, user: str | None, *limits: Limits) -> None:
        """Give a user, or the global account, these limits instead of those it has. What was spent stays.

        Args:
            user: the user, or None for the global account.
            limits: limits as text or :class:`Limit`; a number is USD; none removes all.

        Raises:
            ValueError, TypeError: a limit does not parse, or the user is no name.
        """
        self._accounts.set_limits(user, *limits)

    def delete_user(self, user: str) -> None:
        """Forget a user's limits and balance. What it was charged stays in the reports.

        Args:
            user: the user's name.

        Raises:
            UnknownUserError: there is no such user.
        """
        self._accounts.delete_user(user)

    def balance(self, user: str | None = None) -> Balance:
        """The tightest USD limit of a user, or of the global account: the one with the least remaining.

        Args:
            user: the user, or None for the global account; ``"key:KEY"`` for a cap with that key, ``"tag:NAME=VALUE"``
                for what is tagged so.

        Returns:
            Amounts in USD. Without a USD limit, ``limit`` and ``remaining`` are None, and ``spent`` is everything
            since the last reset.
        """
        return self._accounts.balance(user)

    def balances(self, user: str | None = None) -> list[Balance]:
        """The balance of every limit of a user, or of the global account. A user not seen yet has the default ones.

        Args:
            user: as for :meth:`balance`.
        """
        return self._accounts.balances(user)

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[AccountInfo]:
        """Users in the order of their names, a page at a time; or caps that have a key, or tags.

        Args:
            prefix: only names that begin so. Those of caps begin with ``"key:"`` and those of tags with ``"tag:"``;
                without either, users alone are listed.
            after: the last name of the page before.
            count: how many at most.

        Raises:
            ValueError, TypeError: an argument makes no sense; the text quotes it.
        """
        return self._accounts.page(prefix, after, count)

    def report(
        self, by: By | str = "user", since: dt.date | str | None = None, until: dt.date | str | None = None
    ) -> Report:
        """What was spent, summed under one heading. Kept for 400 days.

        Args:
            by: ``"user"``, ``"model"``, ``"provider"``, ``"day"`` (ISO dates in the manager's time zone), ``"tool"``,
                ``"key"`` (of caps), ``"tag:NAME"`` (the values of that tag), ``"account"`` (all that can have limits,
                side by side), or ``"would_refuse"`` (the limits of ``on_exceed="warn"``, with what they would have
                refused).
            since: the first day: a date, a datetime, or ISO text.
            until: the last day, likewise. It is part of the report, as in "until the 30th".

        Returns:
            Rows by name, the dearest first (days in order), and their ``total``, which is what the global account was
            charged: what nobody in particular has paid is the last row, such as ``"(nobody)"``. Rows of users tell
            when a limit in USD will be reached.

        Raises:
            ValueError: ``by`` is no heading, a day is none, or ``until`` is before ``since``; the text quotes it.

        Example:
            >>> manager.report(by="tag:feature", since="2026-11-01", until="2026-11-30").total.spent
            8.0
        """
        return reports.report(self.payer, by, since, until)

    def suggest(self, days: int = 30, percentile: float = 95) -> list[Suggestion]:
        """Daily limits in USD that would have let most days of late pass, for everybody together, each user and tag.

        Nothing is set. What was spent under a limit that refuses tells little of what would have been without it;
        ``on_exceed="warn"`` and ``report(by="would_refuse")`` do.

        Args:
            days: how many are looked at, from 1 to 400, today among them.
            percentile: of the days on which anything was spent, how many in a hundred the limit lets pass.

        Returns:
            The global account's first, then users and then tags, those who spent most first. Each has the reason, which
            says so where there are few days to go by. Values of tags that came up on one day alone are left out.

        Raises:
            ValueError: there are no such days, or no such percentile; the text quotes it.

        Example:
            >>> for one in manager.suggest():
            ...     manager.set_limits(one.account, one.limit)
        """
        return suggestions.suggest(self.payer, days, percentile)

    # -- what else an account knows

    def assign(self, user: str, team: str | None) -> None:
        """Have a user belong to a team, so that paying for the user pays for the team, too; and that for its own.

        It is kept in the ledger. A team is a user of this name, with limits of its own; it may belong to another one.

        Args:
            user: who belongs to it.
            team: to what, such as ``"team:search"``; None for nothing.

        Raises:
            ValueError: the team belongs to the user, or more than 8 would pay for one.

        Example:
            >>> manager.set_limits("team:search", "$50/month")
            >>> manager.assign("alice", "team:search")
        """
        self._changes.assign(user, team)

    def stop(self, user: str | None = None, reason: str = "") -> None:
        """Refuse every call of a user, or all calls, at once, in all processes. Calls in flight end as they would.

        They are refused with :class:`BudgetStoppedError`, until :meth:`resume`.

        Args:
            user: whose calls; those of who belongs to it, too. None for all.
            reason: is told with every refusal.

        Example:
            >>> manager.stop("alice", reason="her key has leaked")
        """
        self._changes.stop(user, reason)

    def resume(self, user: str | None = None) -> None:
        """Let calls go on that :meth:`stop` has stopped.

        Args:
            user: whose calls; None for all.
        """
        self._changes.resume(user)

    def top_up(self, user: str | None, amount: Limits, until: str = "period") -> None:
        """Let a user, or all together, spend so much more, until the limit's period ends.

        The tightest limit is raised by so much, and others only as far as they would be in the way.

        Args:
            user: who; None for the global account.
            amount: USD, or text such as ``"$5"`` or ``"20 calls"``.
            until: ``"period"``: it ends with the limit's period.

        Raises:
            ValueError: there is no such limit, or it has no period with which a raise could end; the text says what to
                do.

        Example:
            >>> manager.top_up("alice", 5)
        """
        self._changes.top_up(user, amount, until)

    def activity(self) -> Activity:
        """What goes on: calls in flight, calls that wait, and the last that were refused, of all that share the ledger.

        Processes tell of refused and waiting calls every few seconds at most, and of no more than 20 each. Of calls in
        flight in other processes, a shared ledger tells as far as it knows them.

        Raises:
            LedgerError: the ledger is away.

        Example:
            >>> [(one.account, one.limit, one.reason) for one in manager.activity().refusals]
            [('bob', '$4/day', 'spent')]
        """
        return activity.of(self.payer)

    def uncertain(self) -> list[UncertainCharge]:
        """Charges that nobody confirmed, oldest first."""
        return self._accounts.uncertain()

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
        self._accounts.reconcile(charge_id, cost, usage)

    def repair(self) -> int:
        """Write back what this process still knows of a ledger that was lost, damaged or has gone backwards.

        For when calls raise :class:`LedgerCorruptError`: a ledger's directory was removed, an older copy was put in its
        place, its server was restored from a backup. Limits, what was spent and calls in flight are as they were for
        this process, and calls go on. Other processes that have the ledger open go on with what was written; one that
        knows more than that refuses, and says so.

        Returns:
            How many accounts, calls and charges were written back; 0 if nothing was wrong.

        Raises:
            LedgerCorruptError: this process does not know enough, or another ledger stands there; the text says which.
            LedgerUnavailableError: the ledger cannot be reached or written.

        Example:
            >>> try:
            ...     client.chat.completions.create(...)
            ... except LedgerCorruptError:
            ...     manager.repair()
        """
        put = self.ledger.repair()
        background_worker.drain()  # settlements that were refused meanwhile
        return put

    def repair_periods(self, user: str | None = None) -> int:
        """Bring limits back whose period begins in the future, as a clock was wrong when a call began it.

        A period that has begun is never reopened, so that such a limit would count in that one until it ends. Here it
        counts in the present one again, with what was spent meanwhile. Set the clock first.

        Args:
            user: whose limits; None for those of all users and the global one.

        Returns:
            How many limits were brought back.

        Raises:
            UnknownUserError: no such user is known.
            LedgerError: with a ledger in Redis, an account has calls in flight.

        Example:
            >>> manager.repair_periods()
            1
        """
        return self._accounts.repair_periods(user)

    def flush(self) -> None:
        """Make everything recorded so far durable.

        Raises:
            LedgerUnavailableError: the disk refuses, or charges wait that the ledger could not take yet; the text says
                how many, of how much, and where.
        """
        self._accounts.flush()

    def close(self) -> None:
        """Flush, and give up the ledger if no other manager uses it. Repeating it does nothing.

        Charges that the ledger could not take, and that are on the disk, are told by a WARNING with the file's path and
        their amount: the next process that opens the ledger posts them.

        Raises:
            LedgerError: the ledger cannot be written; or charges could neither be handed over nor be written to the
                disk. Their figures are in the text, and in the log.
        """
        background_worker.drain()
        self.payer.repeats.write_rest()
        self.payer.activity.end()
        open_managers.unregister(self)
        try:
            for ledger in (*self._former, self.ledger):
                if not any(other.ledger is ledger for other in open_managers.open_payers()):
                    ledger.close()
        finally:
            for kept in self.payer.kept_charges():
                kept.tell_rest()
