"""What a call leaves behind for telemetry: running totals of this process, and marks on the span it was made in.

The totals are added to on the call's path and read off it, by :mod:`budgeted.telemetry.instruments`.
"""

from __future__ import annotations

import collections
import dataclasses
import logging
import math
import os
import re
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

import msgspec

from budgeted.ledger.spending_records import Used
from budgeted.money import NANO
from budgeted.validation import check_name, shown

if TYPE_CHECKING:
    from opentelemetry.trace import Span

logger = logging.getLogger("budgeted")

V = TypeVar("V")

MOST_KEYS = 500
"""Beyond this many models, further ones are counted as ``other``: names may be invented.

OpenTelemetry's SDK keeps 2,000 series per instrument, and a model may have three of them.
"""

MOST_UNADDED = 200
"""Charges after which they are added up, though no collector has asked."""

MOST_NAMED = 5_000
"""Beyond this many pairs of user and model, further users are counted without their names."""

LONGEST_MODEL = 256
OTHER = "other"


@dataclasses.dataclass(slots=True)
class Tally:
    """Totals of one provider, operation, model and, where opted in, user. Amounts in nano-USD."""

    usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    settled: int = 0
    estimated: int = 0
    failed: int = 0
    clamped: int = 0
    overrun: int = 0


Key = tuple[str, str, str, str]
"""(provider, operation, model, user); "" for a user whom telemetry does not name."""

Refusals = dict[tuple[str, str], int]
"""Refused calls by (reason, kind of the account that refused)."""


Alert = tuple[str, str, float]
"""(project, kind of the account, share of its limit)."""


class Totals(msgspec.Struct, frozen=True):
    """All totals of this process, at one moment. ``corrections`` are nano-USD, by direction."""

    tallies: dict[Key, Tally]
    refusals: dict[Key, Refusals]
    corrections: dict[str, int]
    alerts: dict[Alert, int]


class _Table(Generic[V]):
    """Totals by key, for as many keys as are counted by themselves."""

    def __init__(self, empty: Callable[[], V]) -> None:
        self.rows: dict[Key, V] = {}
        self._empty = empty
        self._named = 0

    def add(self, key: Key) -> V:
        """The row of a key; made if it is not there. Under the lock."""
        provider, operation, model, user = key
        if len(model) > LONGEST_MODEL:
            model = OTHER
        if user and self._named >= MOST_NAMED:
            user = ""
        key = provider, operation, model, user
        if not user and key not in self.rows and len(self.rows) - self._named >= MOST_KEYS:
            key = provider, operation, OTHER, ""
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = self._empty()
            self._named += bool(user)
        return row


lock = threading.Lock()
"""Guards all totals, for an instant at a time."""

_charged: collections.deque[tuple[Key, Used, int, bool]] = collections.deque()
_tallies = _Table(Tally)
_refusals: _Table[Refusals] = _Table(dict)
_corrections = {"up": 0, "down": 0}
_alerts: dict[Alert, int] = {}
_marking = threading.RLock()


class Asked(Protocol):
    """What a call is counted by.

    Args:
        provider: as genai-prices names it, or "".
        operation: as the OpenTelemetry conventions name it.
        model: the model asked for.
    """

    provider: str
    operation: str
    model: str


def of(asked: Asked, groups: Sequence[Any] = ()) -> Tally:
    """The tally that a call is counted in; made when it is first asked for.

    Args:
        asked: the request.
        groups: the call's payers, for the user whom telemetry may name.
    """
    key = asked.provider, asked.operation, asked.model, user_of(groups) if UserNames.any else ""
    found = _tallies.rows.get(key)
    if found is None:
        with lock:
            found = _tallies.add(key)
    return found


def charge(asked: Asked, groups: Sequence[Any], used: Used, overrun: int, *, estimated: bool) -> None:
    """Add a settled call, and what it cost above its hold in nano-USD."""
    user = user_of(groups) if UserNames.any else ""
    _charged.append(((asked.provider, asked.operation, asked.model, user), used, overrun, estimated))
    if len(_charged) >= MOST_UNADDED:
        with lock:
            _add_up()


def _add_up() -> None:
    """Add charges to their tallies. Under the lock."""
    while _charged:
        key, used, overrun, estimated = _charged[0]
        tally = _tallies.rows.get(key) or _tallies.add(key)
        tally.usd += used.usd
        tally.input_tokens += used.input_tokens
        tally.output_tokens += used.output_tokens
        if estimated:
            tally.estimated += 1
        else:
            tally.settled += 1
        if overrun > 0:
            tally.overrun += overrun
        _charged.popleft()


def fail(asked: Asked, groups: Sequence[Any]) -> None:
    """Add a call that cost nothing because it failed."""
    total = of(asked, groups)
    with lock:
        total.failed += 1


def clamp(asked: Asked, groups: Sequence[Any]) -> None:
    """Add a call whose output was capped."""
    total = of(asked, groups)
    with lock:
        total.clamped += 1


def refuse(asked: Asked, groups: Sequence[Any], reason: str, kind: str) -> None:
    """Add a refused call, by the reason and the kind of account that refused."""
    key = asked.provider, asked.operation, asked.model, user_of(groups)
    with lock:
        row = _refusals.add(key)
        row[reason, kind] = row.get((reason, kind), 0) + 1


def correct(difference: int) -> None:
    """Add a later correction of a charge, in nano-USD; downwards ones are counted apart, as counters only rise."""
    with lock:
        _corrections["up" if difference > 0 else "down"] += abs(difference)


def alert(project: str, kind: str, share: float) -> None:
    """Add an alert that was told."""
    with lock:
        key = project, kind, share
        _alerts[key] = _alerts.get(key, 0) + 1


def snapshot() -> Totals:
    """Copies of everything, taken at one moment."""
    with lock:
        _add_up()
        return Totals(
            {key: dataclasses.replace(tally) for key, tally in _tallies.rows.items()},
            {key: dict(row) for key, row in _refusals.rows.items()},
            dict(_corrections),
            dict(_alerts),
        )


def _after_fork() -> None:
    """A child has charged nothing yet; its parent goes on telling of what was charged before."""
    global lock, _marking, _tallies, _refusals
    lock, _marking = threading.Lock(), threading.RLock()
    _charged.clear()
    _tallies, _refusals = _Table(Tally), _Table(dict)
    _corrections.update(up=0, down=0)
    _alerts.clear()
    _operations.clear()


os.register_at_fork(after_in_child=_after_fork)


# -- operations, where a manager has semconv=True


class Operation(msgspec.Struct, frozen=True, gc=False):
    """A call that has ended, for the histograms of OpenTelemetry's GenAI conventions.

    Args:
        key: provider, operation, model, and the user whom telemetry may name.
        seconds: from when it was sent until it ended.
        used: (nano-USD, tokens in, tokens out); None for one that failed.
        model: the model that answered, or "".
        base_url: where it was sent, or "".
        error: the type of the exception that it ended with, or "".
        span: the span that it was made in, or None.
    """

    key: Key
    seconds: float
    used: tuple[int, int, int] | None
    model: str = ""
    base_url: str = ""
    error: str = ""
    span: Any = None


MOST_OPERATIONS = 10_000
"""Operations that are kept for a collector; where none ever comes, older ones are forgotten."""

# No lock: calls end in finalisers as well, where a histogram's own lock could be held by the very thread.
_operations: collections.deque[Operation] = collections.deque(maxlen=MOST_OPERATIONS)


def operated(operation: Operation) -> None:
    """Keep an operation until somebody collects."""
    _operations.append(operation)


def operations() -> Iterator[Operation]:
    """Take what was kept."""
    while _operations:
        try:
            yield _operations.popleft()
        except IndexError:  # another collector was faster
            return


# -- spans


COST_ATTRIBUTES = ("gen_ai.usage.cost.amount", "gen_ai.usage.cost.currency", "gen_ai.usage.cost.source")
"""A proposal to OpenTelemetry's GenAI conventions, written where ``semconv=True``."""


def unlocked(span: Span) -> bool:
    """Whether nobody is writing to a span this instant: asked where this very thread may be doing so."""
    locks = [getattr(holder, "_lock", None) for holder in (span, getattr(span, "_attributes", None))]
    return not any(lock is not None and hasattr(lock, "locked") and lock.locked() for lock in locks)


def mark(
    span: Span,
    outcome: str,
    cost: int | None = None,
    groups: Sequence[Any] = (),
    more: Mapping[str, str] | None = None,
    source: str = "",
) -> None:
    """Write a call's outcome on the span it was made in, and add its cost up: a span may cover several calls.

    Args:
        span: the span that was current when the call began. One that has ended is left as it is.
        outcome: ``"settled"``, ``"estimated"``, ``"failed"`` or ``"refused"``.
        cost: nano-USD; None for a call that was not sent.
        groups: the call's payers, for the user whom telemetry may name.
        more: further attributes.
        source: where the cost is from; given, it is also written by the names that are proposed to OpenTelemetry.
    """
    if not span.is_recording():
        return
    # Reentrant: a finaliser may end a call while this thread is in here.
    with _marking:
        present = getattr(span, "attributes", None) or {}
        # Each attribute takes the SDK two microseconds: those that are there already are not written again.
        attributes: dict[str, Any] = {} if present.get("budgeted.outcome") == outcome else {"budgeted.outcome": outcome}
        if more:
            attributes |= more
        if cost is not None:
            attributes["budgeted.cost"] = (round(present.get("budgeted.cost", 0) * NANO) + cost) / NANO
            if source:
                amount = attributes["budgeted.cost"]
                attributes |= zip(COST_ATTRIBUTES, (amount, "USD", source), strict=True)
        user = user_of(groups) if UserNames.any else ""
        if user and "user.id" not in present:
            attributes["user.id"] = user
        for name, value in attributes.items():
            span.set_attribute(name, value)


# -- users


class UserNames:
    """By which names users appear in metrics and on spans. Made by :func:`user_names`."""

    __slots__ = ("_failed", "_name", "only", "ranked", "top")

    any = False
    """Whether there is a rule at all: most applications name no users."""

    def __init__(self, name: Callable[[str], object], only: frozenset[str] | None = None, top: int = 0) -> None:
        UserNames.any = True
        self._name = name
        self._failed = False
        self.only = only
        self.top = top
        self.ranked = -math.inf  # by time.monotonic; whoever reads the ledger for a collection keeps `only` current

    def __call__(self, user: str) -> str:
        """A user's name in telemetry, or "" for one who is not to be named."""
        if self.only is not None and user not in self.only:
            return ""
        try:
            name = self._name(user)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with it, calls go on
            if not self._failed:
                self._failed = True
                kind = type(error).__name__  # its text may name the user
                logger.warning("budgeted: metric_users failed with %s; such users are not named (said once)", kind)
            return ""
        return name if isinstance(name, str) else ""


def user_names(given: Any) -> UserNames | None:
    """Read the setting ``metric_users``.

    Args:
        given: False or None: no user is named. True: all are. An iterable of names: only those. ``"hash"``: all, each
            by the first 16 hex digits of its SHA-256, which hides a name only from those who cannot guess it. A
            function: given a user, returns the name to show, or None; it may key a hash, or name a plan or tenant
            instead. ``"top 20"``: so many users, those who have spent most when metrics are collected. What this
            function returned before is returned as it is.

    Returns:
        The rule, or None if no user is named.

    Raises:
        TypeError, ValueError: it is none of these, or lists what is no user's name; the text quotes it.
    """
    if given is None or given is False:
        return None
    if isinstance(given, UserNames):
        return given
    if given is True:
        return UserNames(str)
    if given == "hash":
        return UserNames(_hashed)
    if callable(given):
        return UserNames(given)
    if isinstance(given, str) and (top := re.fullmatch(r"top ([1-9]\d*)", given)):
        return UserNames(str, frozenset(), top=int(top[1]))
    if not isinstance(given, Iterable) or isinstance(given, (str, bytes)):
        hint = f"; for one user write [{shown(given)}]" if isinstance(given, str) else ""
        msg = f"metric_users must be True, False, a list, 'top 20', 'hash' or a function, got {shown(given)}{hint}"
        raise TypeError(msg)
    names = frozenset(check_name(name, "a user in metric_users") for name in given)
    return UserNames(str, names) if names else None


def _hashed(user: str) -> str:
    import hashlib

    return hashlib.sha256(user.encode()).hexdigest()[:16]


def user_of(groups: Sequence[Any]) -> str:
    """The innermost user of a call whom telemetry may name, by the name it goes by there; "" for nobody."""
    for group in reversed(groups):
        given = group.manager.settings.metric_users
        names = user_names(given) if given else None
        if names is not None:
            for account in reversed(group.accounts):
                name = names(account[2:]) if account[0] == "u" else ""
                if name:
                    return name
    return ""
