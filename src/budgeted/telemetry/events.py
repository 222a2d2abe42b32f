"""What a manager tells of: refusals, alerts, overruns, estimates and a ledger's trouble.

Each is an :class:`Event`, told by a record of the logger ``budgeted`` and, if the manager has an ``on_event``, by one
call of it in a thread of its own: a callback that raises, or never returns, holds up nobody but itself. Where the
manager has ``alerts_to``, :mod:`budgeted.telemetry.webhooks` sends it out of the process.
"""

from __future__ import annotations

import atexit
import collections
import datetime as dt
import logging
import os
import queue
import threading
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from budgeted.ledger import background_worker
from budgeted.ledger.accounts import account_kind, account_name
from budgeted.payers.scope import always
from budgeted.telemetry import log_throttling
from budgeted.validation import TAG

if TYPE_CHECKING:
    from opentelemetry.trace import Span

    from budgeted.payers.payer_interface import Group, Payer

logger = logging.getLogger("budgeted")

MOST_WAITING = 1_000
"""Events that wait for a callback. Those that come while as many wait are dropped, which is said once; but alerts are
not: each comes once, and often with a flood of refusals."""

IDLE_SECONDS = 10.0
"""How long a callback's thread waits for the next event before it ends."""

EXIT_SECONDS = 2.0
"""How long a process that ends waits for its callbacks."""

Kind: TypeAlias = Literal[
    "refused", "asked", "stopped", "resumed", "alert", "overrun", "estimated", "repeated", "ledger"
]

LEVELS: Mapping[Kind, int] = {
    "refused": logging.INFO,  # the caller gets an exception; one user over its limit may bring thousands
    "asked": logging.WARNING,
    "stopped": logging.WARNING,
    "resumed": logging.WARNING,
    "alert": logging.WARNING,
    "overrun": logging.WARNING,
    "estimated": logging.WARNING,
    "repeated": logging.WARNING,
    "ledger": logging.ERROR,
}

REPEATED: frozenset[Kind] = frozenset({"overrun", "estimated", "ledger"})
"""What a loop may bring by the thousand at a level that everybody logs: one record a minute of those that are alike."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Something that whoever watches the money may want to know. ``on_event`` is called with it.

    Attributes:
        kind: ``"refused"`` (a call was not sent), ``"asked"`` (a call waits for a higher limit), ``"stopped"`` and
            ``"resumed"`` (somebody has stopped an account, or let it go on), ``"alert"`` (a share of a limit was
            spent), ``"overrun"`` (a call cost more than was held for it), ``"estimated"`` (nobody said what a call
            cost), ``"repeated"`` (the same request was made more often than a block's ``repeat_limit``) or ``"ledger"``
            (a ledger is in trouble).
        at: when.
        project: the manager's ``project_name``.
        account: the user's name, the block's key, ``"tag:NAME=VALUE"`` or ``"global"``: the account that refused or
            alerts, else the innermost one that paid; "" where the event concerns no account.
        account_kind: ``"user"``, ``"tag"``, ``"block"``, ``"global"`` or "".
        reason: why: ``"spent"``, ``"held"``, ``"stopped"``, ``"unpriced"``, ``"unattributed"``, ``"unknown_user"`` and
            ``"ledger"`` of a refusal; else a few words.
        model, provider: what was asked for, where the event is about one call.
        limit: the limit as it would be written, such as ``"$10/day"``.
        unit: ``"usd"``, ``"tokens"``, ``"calls"`` or another one, of the amounts of a limit.
        amount, spent, held, remaining: of the limit, in its unit (USD for ``"usd"``).
        requested: what the call needs of the limit, in its unit.
        threshold: the share that was reached, such as 0.8.
        cost: USD that the call was charged.
        overrun: of ``cost``, USD above what was held.
        resets_at: when the limit's period ends, or None.
        exhausted_at: when the limit is reached at the present rate (see :class:`~budgeted.Balance`), or None.
    """

    kind: Kind
    at: dt.datetime
    project: str = ""
    account: str = ""
    account_kind: str = ""
    reason: str = ""
    model: str = ""
    provider: str = ""
    limit: str = ""
    unit: str = ""
    amount: float | None = None
    spent: float | None = None
    held: float | None = None
    remaining: float | None = None
    requested: float | None = None
    threshold: float | None = None
    cost: float | None = None
    overrun: float | None = None
    resets_at: dt.datetime | None = None
    exhausted_at: dt.datetime | None = None


FIELDS = {
    "kind": "budgeted.event",
    "project": "budgeted.project",
    "account_kind": "budgeted.account.kind",
    "reason": "budgeted.reason",
    "model": "gen_ai.request.model",
    "provider": "gen_ai.provider.name",
    "limit": "budgeted.limit",
    "unit": "budgeted.unit",
    "amount": "budgeted.amount",
    "spent": "budgeted.spent",
    "held": "budgeted.held",
    "remaining": "budgeted.remaining",
    "requested": "budgeted.requested",
    "threshold": "budgeted.threshold",
    "cost": "budgeted.cost",
    "overrun": "budgeted.overrun",
    "resets_at": "budgeted.resets_at",
    "exhausted_at": "budgeted.exhausted_at",
}
"""The names that an event's figures have in log records and span events."""


def fields(event: Event, name: str = "") -> dict[str, str | float]:
    """An event as attributes of a log record or a span event. Times are ISO text; what is empty is left out.

    Args:
        event: what happened.
        name: the name by which telemetry may know the event's account, or "".
    """
    found: dict[str, str | float] = {}
    for field, attribute in FIELDS.items():
        value = getattr(event, field)
        if isinstance(value, dt.datetime):
            found[attribute] = value.isoformat()
        elif value is not None and value != "":
            found[attribute] = value
    if name:
        found["budgeted.account"] = name
        if event.account_kind == "user":
            found["user.id"] = name
    return found


def innermost(groups: Sequence[Group]) -> tuple[str, str]:
    """The name and kind of the innermost account that pays for a call."""
    payers = [group.payer for group in always]
    own = [group for group in groups if group.payer not in payers] or groups
    # What a call is for pays besides, and is not who: that of a user's call is the user.
    account = next((name for name in reversed(own[-1].accounts) if name[0] != "t"), own[-1].accounts[-1])
    return account_name(account), account_kind(account)


def known_as(payer: Payer, account: str, kind: str) -> str:
    """The name by which telemetry may know an account: a user's or a tag's only where opted in, never a block's key."""
    if kind == "tag":
        return account if account.removeprefix(TAG).partition("=")[0] in payer.metric_tags else ""
    if kind != "user":
        return account if kind == "global" else ""
    names = payer.user_names
    return names(account) if names is not None else ""


def is_heard(kind: Kind, payer: Payer) -> bool:
    """Whether anybody in this process hears of such events: a callback, a destination, or a log.

    Args:
        kind: of the events; none of those that are counted for a later record.
        payer: whose they are.
    """
    return payer.listener is not None or payer.webhooks is not None or logger.isEnabledFor(LEVELS[kind])


def report(event: Event, payers: Sequence[Payer], text: str, *args: object, span: Span | None = None) -> None:
    """Tell of an event: by a log record, and to the callbacks of the managers that it concerns.

    Args:
        event: what happened.
        payers: whose it is, the first of them the one whose settings say who may be named.
        text: the log message, which names no user and no key.
        args: for the message.
        span: a span to note it on, or None.
    """
    noted = span is not None and span.is_recording()
    level = LEVELS[event.kind]
    if not (noted or logger.isEnabledFor(level) or event.kind in REPEATED):  # those are counted for a later record
        tell(event, payers)
        return
    shown = fields(event, known_as(payers[0], event.account, event.account_kind))
    if span is not None and noted:
        span.add_event("budgeted." + event.kind, shown)
    if event.kind in REPEATED:
        alike = text, event.reason, event.model
        payers[0].repeats.log(alike, event.at.timestamp(), level, text, args, shown)
    else:
        log_throttling.say(level, text, args, shown)
    tell(event, payers)


def tell(event: Event, payers: Sequence[Payer]) -> None:
    """Tell of an event to the callbacks of the managers that it concerns, and nowhere else."""
    told: list[Callable[..., object]] = []
    sent: set[str] = set()
    for payer in payers:
        listener = payer.listener
        if listener is not None and listener.callback not in told:
            told.append(listener.callback)
            listener.tell(event)
        if payer.webhooks is not None:
            payer.webhooks.tell(event, sent)
        payer.activity.note(event)


class Listener:
    """Calls a function with each event, one after the other, in a daemon thread that lives while there are any.

    Nothing here takes a lock: events come up in finalisers as well.

    Args:
        callback: whatever the application gave.
    """

    def __init__(self, callback: Callable[[Event], object]) -> None:
        self.callback = callback
        self._begin()
        _listeners[weakref.ref(self, _listeners.pop)] = None

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._waiting: collections.deque[Event] = collections.deque()
        self._bell: queue.SimpleQueue[None] = queue.SimpleQueue()
        self._idle = [True]  # popped by whoever starts the thread
        self._said: set[str] = set()

    def tell(self, event: Event) -> None:
        """Have the callback called with an event soon."""
        if self._pid != os.getpid():  # a forked child has none of its parent's threads
            self._begin()
        if len(self._waiting) >= MOST_WAITING and event.kind != "alert":
            self._say_once("falls behind: %d events wait, and further ones are dropped", MOST_WAITING)
            return
        self._waiting.append(event)
        self._bell.put(None)
        if self._idle:
            self._start()

    def _start(self) -> None:
        try:
            self._idle.pop()
        except IndexError:
            return
        try:
            threading.Thread(target=self._run, name="budgeted-events", daemon=True).start()
        except RuntimeError:  # the interpreter is going down
            self._idle.append(True)

    def _run(self) -> None:
        while True:
            while self._waiting:
                try:
                    self.callback(self._waiting[0])
                except BaseException as error:  # noqa: BLE001 - its mistakes, also a SystemExit, are not the calls'
                    # The text of a stranger's exception may quote the event, and so name a user.
                    self._say_once("raised %s", type(error).__name__)
                finally:
                    self._waiting.popleft()
            try:
                self._bell.get(timeout=IDLE_SECONDS)
            except queue.Empty:
                break
        self._idle.append(True)
        if self._waiting:  # since just now
            self._start()

    def _say_once(self, what: str, *args: object) -> None:
        if what not in self._said:
            self._said.add(what)
            logger.warning("budgeted: on_event " + what + " (said once)", *args)  # noqa: G003 - a constant of this file

    @property
    def waiting(self) -> int:
        """How many events the callback has not been called with, or has not returned from."""
        return len(self._waiting)


# A dict, since its keys can be listed while other threads add to it; a WeakSet's cannot.
_listeners: dict[weakref.ref[Listener], None] = {}


def finish(seconds: float = EXIT_SECONDS) -> bool:
    """Wait for the callbacks to be called with what happened so far, and log what was only counted.

    Args:
        seconds: the longest to wait.

    Returns:
        Whether all were.
    """
    background_worker.drain()
    log_throttling.write_rest()
    deadline = time.monotonic() + seconds
    while any(listener.waiting for one in list(_listeners) if (listener := one()) is not None):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.005)
    return True


atexit.register(finish)
