"""Who pays: the blocks that a call runs inside, carried in the OpenTelemetry context.

A scope is immutable and belongs to the context it was attached to. It is read once, when a call begins; whatever
happens to the context afterwards, the call settles with those who opened it.
"""

from __future__ import annotations

import datetime as dt
import functools
import inspect
import logging
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from contextvars import Token
from operator import getitem, is_
from typing import TYPE_CHECKING, Any, ParamSpec, Protocol, TypeVar

import msgspec
from opentelemetry.context import Context, attach, create_key, detach, get_current, get_value

from budgeted.ledger.accounts import USD, Slot, block_account, user_account
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.interface import Ledger
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.money import nano_usd, to_usd
from budgeted.validation import check_name, check_seconds, check_text, shown

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


logger = logging.getLogger("budgeted")

P = ParamSpec("P")
R = TypeVar("R")

KEY = create_key("budgeted-scope")
"""Where the scope lives in the OpenTelemetry context. Nothing of it is baggage: it never leaves the process."""

BY_HAND = create_key("budgeted-by-hand")
"""Where the OpenTelemetry context says that a hold is open, whose owner settles what no hook can see."""

NO_CAP = 2**62
ON_EXCEED = ("clamp", "raise", "warn")
MOST_GROUPS = 100_000

caps_lock = threading.Lock()
"""Guards the numbers of all blocks of this process: they are only ever touched for an instant."""

cap_turns = WaitQueues()
"""The calls of this process that wait for a block's cap, whatever ledgers its calls hold at."""


class Policy(msgspec.Struct, frozen=True):
    """What happens to a call that does not fit.

    Args:
        on_exceed: ``"clamp"``, ``"raise"`` or ``"warn"``.
        wait: seconds to wait while only calls in flight are in the way.
        fallback: models to try after that.
    """

    on_exceed: str = "clamp"
    wait: float = 30.0
    fallback: tuple[str, ...] = ()


class Plan(msgspec.Struct, frozen=True):
    """Where the calls of a group with one model go, until ``expires`` (unix seconds), when a period ends."""

    route: Route
    expires: int
    priced: bool


class Group:
    """The accounts of one manager that a call is charged to, each with the policy of the block that brought it in."""

    __slots__ = (
        "accounts",
        "attributed",
        "joined",
        "manager",
        "noted",
        "plans",
        "policies",
        "soft",
        "untouched",
        "watches",
    )

    def __init__(self, manager: Payer, accounts: tuple[str, ...], policies: tuple[Policy, ...]) -> None:
        self.manager = manager
        self.accounts = accounts
        self.policies = policies
        self.attributed = any(account[0] == "u" for account in accounts)
        self.soft = any(policy.on_exceed == "warn" for policy in policies)
        self.untouched = any(policy.on_exceed == "raise" for policy in policies)
        self.plans: dict[tuple[str, str], Plan] = {}
        self.joined: dict[str | tuple[str, Policy], Group] = {}
        self.watches: Sequence[Any] = ()  # this and the next for budgeted.telemetry.alerts
        self.noted = False

    def join(self, account: str, policy: Policy) -> Group:
        """This group and one more account; the account keeps its first policy if it is here already."""
        # Nearly always the manager's own policy, whose hash is not worth computing each time.
        key = account if policy is self.manager.policy else (account, policy)
        group = self.joined.get(key)
        if group is None:
            if account in self.accounts:
                group = self
            else:
                group = Group(self.manager, (*self.accounts, account), (*self.policies, policy))
            if len(self.joined) >= MOST_GROUPS:
                self.joined.clear()
            self.joined[key] = group
        return group


class Payer(Protocol):
    """What a scope and a call need of a :class:`~budgeted.BudgetManager`."""

    ledger: Ledger
    clock: Callable[[], float]
    policy: Policy
    group: Group
    min_output_tokens: int
    uncertain_output: int
    unpriced: str
    user_limits: bool
    settings: Any
    project_name: str
    alerts: Any
    listener: Any
    repeats: Any
    semconv: bool

    def limit_block(self, account: str, cap: int, block: Budget) -> None:
        """Note that a keyed block has this cap; it reaches the ledger with the block's first call."""

    def plan(
        self, group: Group, provider: str, model: str, at: int, *, fresh: bool = False, refuse: bool = True
    ) -> Plan:
        """Where the calls of a group with one model go, at this time; what was paid for is refused nowhere."""

    def allows_without(self, error: Exception) -> bool:
        """Whether calls go on while the ledger is away."""

    def note_soft(self, group: Group, call: Any) -> None:
        """A call went through accounts that only warn."""

    def note_unattributed(self, request: Any) -> None:
        """A call has no user to pay for it, while users have limits."""

    def reset_time(self, refused: Refused) -> tuple[dt.datetime | None, float | None]:
        """When the refusing limit's period ends, and the seconds until then."""

    def limit_text(self, refused: Refused) -> str:
        """The refusing limit as it would be written."""


class Scope(msgspec.Struct, eq=False):
    """The payers of the calls made in one context.

    Args:
        groups: the accounts, by manager, the outermost block's first.
        blocks: every enclosing block, the outermost first.
        manager: the innermost block's.
        offer: an open call that the first intercepted call in here takes over, in a list that inner scopes share: who
            pops it has it.
        silent: True where an outer layer meters what happens inside.
        call: the call that this layer meters.
        token: what leaving the context it was made current in takes.
    """

    groups: tuple[Group, ...]
    blocks: tuple[Budget, ...] = ()
    manager: Any = None
    offer: list[Any] | None = None
    silent: bool = False
    call: Any = None
    token: Token[Context] | None = None

    def copy(self) -> Scope:
        """The same payers, to be entered elsewhere."""
        return Scope(self.groups, self.blocks, self.manager, self.offer, self.silent)

    @classmethod
    def inside(cls, call: Any) -> Scope:
        """Where a call's own request is being sent: nothing in there is metered again."""
        return cls(call.groups, call.blocks, silent=True, call=call)


def joined(
    parent: Scope | None, manager: Any, user: str | None, policy: Policy | None, block: str | None = None
) -> Scope:
    """The payers of ``parent``, and a manager's global account, a user and a keyed block."""
    if parent is None:
        group = manager.group
        groups: tuple[Group, ...] = ()
    else:
        groups = parent.groups
        group = next((one for one in groups if one.manager is manager), manager.group)
    paying = group
    if user is not None:
        paying = paying.join(user_account(user), policy or manager.policy)
    if block is not None:
        paying = paying.join(block, policy or manager.policy)
    if not groups:
        groups = (paying,)
    elif group not in groups:
        groups = (*groups, paying)
    elif paying is not group:
        groups = tuple(paying if one is group else one for one in groups)
    if parent is None:
        return Scope(groups, (), manager)
    return Scope(groups, parent.blocks, manager, parent.offer or None)


def current() -> Scope | None:
    """The scope of the running code, or None outside every block."""
    return get_value(KEY)  # type: ignore[return-value]


def enter(scope: Scope, context: Context | None = None) -> Token[Context]:
    """Make a scope current, in ``context`` or else in the running one. Returns what ends it in the same frame."""
    context = Context(get_current() if context is None else context)
    _set_item(context, KEY, scope)
    token = scope.token = attach(context)
    return token


def leave(scope: Scope) -> None:
    """End a scope that this context entered; elsewhere, as where a forgotten generator is collected, do nothing."""
    token, scope.token = scope.token, None
    if token is not None and get_current().get(KEY) is scope:
        detach(token)


_set_item = dict.__setitem__
"""A context refuses changes once it is shared; this is one that nobody else has seen yet."""


class Fixtures:
    """Where other packages are hooked: looked at whenever a block is entered, since other tools hook there too.

    Attributes:
        places: the namespaces of the functions' owners, the names in them, and what is there if nobody touched it.
        restore: puts everything right, and notes what is there now.
    """

    def __init__(self) -> None:
        self.places: tuple[list[Mapping[str, Any]], list[str], list[Any]] = ([], [], [])
        self.restore: Callable[[], None] = lambda: None

    def intact(self) -> bool:
        """Whether nobody has touched them since. All in C, as every block comes by: 0.2 us for an SDK's hooks."""
        owners, names, found = self.places
        try:
            # Identity: a wrapper is equal to what it wraps.
            return all(map(is_, map(getitem, owners, names), found))
        except KeyError:
            return False


fixtures = Fixtures()

outside: list[Scope] = []
"""The scope of calls outside every block: the default manager's, once there is one."""


class Budget:
    """A block: everything called inside is charged to its user, and to its cap if it has one.

    Made by :func:`budgeted.budget` or :meth:`BudgetManager.budget`; works with ``with`` and ``async with``. Entering
    and leaving does no I/O. All figures are local to this object and process, in USD.

    Example:
        >>> with budget("alice", cap=0.50) as block:
        ...     client.chat.completions.create(...)
        ...     block.spent
        0.00042
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_cap",
        "_clamped",
        "_elsewhere",
        "_manager",
        "_policy",
        "_refused",
        "_slot",
        "account",
        "key",
        "user",
    )

    def __init__(
        self,
        manager: Any,
        user: str | None = None,
        *,
        cap: object = None,
        key: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.user = None if user is None else check_name(user, "user")
        self.key = None if key is None else check_name(key, "key")
        self._cap = None if cap is None else nano_usd(cap, "cap", up=False)
        self._manager = manager
        self._policy = policy
        self.account = block_account(self.key) if self.key is not None and self._cap is not None else None
        local = self._cap if self._cap is not None and self.account is None else NO_CAP
        self._slot = Slot("cap", USD, local, 0, NO_CAP)
        self._calls = self._refused = self._clamped = 0
        self._elsewhere = 0

    def __repr__(self) -> str:
        return f"Budget(user={self.user!r}, cap={self.cap!r}, key={self.key!r}, spent={self.spent!r})"

    @property
    def cap(self) -> float | None:
        """The block's own limit in USD, or None."""
        return None if self._cap is None else to_usd(self._cap)

    @property
    def spent(self) -> float:
        """USD charged inside so far."""
        return to_usd(self._slot.spent)

    @property
    def held(self) -> float:
        """USD set aside for calls in flight."""
        return to_usd(self._slot.held)

    @property
    def remaining(self) -> float | None:
        """USD left of the cap, or None without one."""
        if self._cap is None:
            return None
        return to_usd(max(0, self._cap - self._elsewhere - self._slot.spent - self._slot.held))

    @property
    def calls(self) -> int:
        """Calls that were sent."""
        return self._calls

    @property
    def refused(self) -> int:
        """Calls that were refused."""
        return self._refused

    @property
    def clamped(self) -> int:
        """Calls whose output was capped so that they fit."""
        return self._clamped

    def scope(self, parent: Scope | None) -> Scope:
        """The payers of a call made in this block, itself inside ``parent``."""
        if self.account is not None:
            self._manager.limit_block(self.account, self._cap, self)
        scope = joined(parent, self._manager, self.user, self._policy, self.account)
        around = scope.blocks
        if self in around:  # it is charged once
            around = tuple(block for block in around if block is not self)
        scope.blocks = (*around, self)
        return scope

    def __enter__(self) -> Self:
        if not fixtures.intact():
            fixtures.restore()
        enter(self.scope(current()))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        scope = current()
        if scope is not None and scope.blocks and scope.blocks[-1] is self and scope.token is not None:
            leave(scope)
        else:
            logger.warning("budgeted: a block was left in another context than it was entered in")

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)

    @property
    def manager(self) -> Any:
        """Whose accounts the block charges."""
        return self._manager

    # What the calls inside report, under caps_lock.

    @property
    def slot(self) -> Slot:
        """The cap's running numbers."""
        return self._slot

    @property
    def queue(self) -> str:
        """Where calls wait for the cap; each block has a queue of its own, as others end nothing that is waited for."""
        return f"cap of {id(self)}"

    def taken_elsewhere(self, taken: int) -> None:
        """Learn what the ledger has taken of a keyed cap (nano-USD): spent and held, by whomever."""
        self._elsewhere = max(0, taken - self._slot.spent - self._slot.held)

    @property
    def soft(self) -> bool:
        """Whether the cap only counts."""
        return (self._policy or self._manager.policy).on_exceed == "warn"

    @property
    def policy(self) -> Policy:
        """What happens when the cap has no room."""
        return self._policy or self._manager.policy

    def count(self, *, calls: int = 0, refused: int = 0, clamped: int = 0) -> None:
        """Count a call's fate."""
        self._calls += calls
        self._refused += refused
        self._clamped += clamped


def make_policy(base: Policy, on_exceed: str | None, fallback: object, wait: float | None) -> Policy | None:
    """A block's own policy over its manager's, or None if the block says nothing.

    Raises:
        ValueError, TypeError: a value makes no sense; the text quotes it.
    """
    if on_exceed is None and fallback is None and wait is None:
        return None
    return Policy(
        base.on_exceed if on_exceed is None else check_on_exceed(on_exceed),
        base.wait if wait is None else check_seconds(wait, "wait"),
        base.fallback if fallback is None else check_fallback(fallback),
    )


def check_on_exceed(value: object) -> str:
    """One of the words for ``on_exceed``."""
    if value not in ON_EXCEED:
        msg = f"on_exceed={shown(value)} is not known; write one of {', '.join(map(repr, ON_EXCEED))}"
        raise ValueError(msg)
    return str(value)


def check_fallback(value: object) -> tuple[str, ...]:
    """Models to fall back to: one name, or several."""
    models = (value,) if isinstance(value, str) else tuple(value) if isinstance(value, Sequence) else None
    if models is None or not all(isinstance(model, str) and model for model in models):
        msg = f"fallback must be a model's name or a list of them, got {shown(value)}"
        raise TypeError(msg)
    return tuple(check_text(model, "fallback") for model in models)


def bind(fn: Callable[P, R]) -> Callable[P, R]:
    """Carry the payers of the running code into a function that runs elsewhere: a callback, an executor, a signal.

    Args:
        fn: called later, in any thread or context. Works for functions and coroutine functions.

    Returns:
        The function, which runs with the payers that are current now, and with nothing else of this context.

    Raises:
        TypeError: it is no function, or makes a generator, whose steps belong to whoever takes them.

    Example:
        >>> with budget("alice"):
        ...     thread = threading.Thread(target=bind(work))
    """
    given: object = fn
    if not callable(given):
        msg = f"bind takes a function, got {shown(fn)}"
        raise TypeError(msg)
    if inspect.isgeneratorfunction(fn) or inspect.isasyncgenfunction(fn):
        msg = f"bind takes functions and coroutine functions; for the generator {shown(fn)} write @budgeted(user) on it"
        raise TypeError(msg)
    scope = current()

    def step() -> Scope | None:
        if scope is None:
            return None
        mine = scope.copy()
        enter(mine)
        return mine

    if inspect.iscoroutinefunction(fn):

        @functools.wraps(fn)
        async def bound_async(*args: P.args, **kwargs: P.kwargs) -> Any:
            mine = step()
            try:
                return await fn(*args, **kwargs)
            finally:
                if mine is not None:
                    leave(mine)

        return bound_async  # type: ignore[return-value]

    @functools.wraps(fn)
    def bound(*args: P.args, **kwargs: P.kwargs) -> R:
        mine = step()
        try:
            return fn(*args, **kwargs)
        finally:
            if mine is not None:
                leave(mine)

    return bound


_taken_for_fork: list[threading.Lock] = []


def _before_fork() -> None:
    # A thread that forks while it has the lock, in a signal's handler, would wait for itself.
    if caps_lock.acquire(timeout=1):
        _taken_for_fork.append(caps_lock)


def _after_fork_in_parent() -> None:
    while _taken_for_fork:
        _taken_for_fork.pop().release()


def _after_fork_in_child() -> None:
    global cap_turns  # noqa: PLW0603
    cap_turns = WaitQueues()  # those who wait are the parent's
    _after_fork_in_parent()


os.register_at_fork(before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child)
