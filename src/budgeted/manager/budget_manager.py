"""``BudgetManager``: what users make, configure and close. Its parts are in the modules that it is built of."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, Never, Self, TypeVar, overload

import msgspec

from budgeted.functions import options
from budgeted.ledger import background_worker
from budgeted.ledger.interface import Ledger
from budgeted.ledger.opening import open_ledger
from budgeted.manager import registry
from budgeted.manager.litellm_methods import LiteLLMMethods
from budgeted.manager.settings import (
    Fsync,
    LedgerLike,
    Limits,
    OnExceed,
    Settings,
    UserLimitsLike,
    check_fsync,
    check_headers,
    documented,
    global_limits,
    refuse_unknown,
)
from budgeted.metering.manual_hold import Hold, make_hold
from budgeted.payers.scope import Budget, make_policy
from budgeted.pricing.prices import Amount
from budgeted.validation import check_name, refuse_amount, shown

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
        project = check_name(project_name, "project_name")
        check_fsync(fsync)
        global_ = global_limits(max_budget, duration)
        self.client_type = client_type
        self.api_base = api_base
        self.headers = check_headers(headers) or {"Content-Type": "application/json"}
        self._fsync = fsync
        self._where = ledger
        self._former: list[Ledger] = []
        super().__init__(project, self._open(ledger, project, fsync, settings), settings, global_)
        self._take_part()

    def __repr__(self) -> str:
        return f"BudgetManager({self.project_name!r}, ledger={self.ledger!r})"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _open(self, where: LedgerLike, project: str, fsync: str, settings: Settings) -> Ledger:
        if self.client_type == "hosted":
            from budgeted.ledger.litellm_hosted.ledger import HostedLedger

            return HostedLedger(self.api_base or "", self.headers, project, settings.timezone, settings.clock)
        return open_ledger(where, project, fsync=fsync)

    def _take_part(self) -> None:
        """Pay for calls of this process from now on, and show up in its metrics."""
        registry.register(self)

    def reconfigure(self, **changes: Any) -> None:
        """Change settings in place; those not named stay as they are. Takes the constructor's keywords.

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
        where = changes.pop("ledger", self._where)
        fsync = changes.pop("fsync", self._fsync)
        check_fsync(fsync)
        settings = msgspec.structs.replace(self.settings, **changes)
        with self._lock:
            ledger = self.ledger
            if (project, where) != (self.project_name, self._where):
                ledger = self._open(where, project, fsync, settings)
            elif fsync != self._fsync:
                msg = (
                    f"fsync={fsync!r} is for opening a ledger, and {ledger!r} is open with {self._fsync!r}; "
                    f"give it to BudgetManager(...), or to the first configure(...)"
                )
                raise ValueError(msg)
            before = self.ledger
            self._adopt(ledger, settings, limits)
            self.project_name, self._where, self._fsync = project, where, fsync
            registry.cover()
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
        refuse_amount(user, "budget(cap={})")
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
        return options.decorate(lambda: self, target, user, cap, (on_exceed, fallback, wait))

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
        refuse_amount(user, "hold(cost={})")
        block = Budget(self, user)
        return make_hold(
            model, input, max_output_tokens, cost, block, provider=provider, base_url=base_url, n=n, tier=tier
        )

    def close(self) -> None:
        """Flush, and give up the ledger if no other manager uses it. Repeating it does nothing."""
        background_worker.drain()
        self.repeats.write_rest()
        registry.unregister(self)
        for ledger in (*self._former, self.ledger):
            if not any(other.ledger is ledger for other in registry.open_managers()):
                ledger.close()
