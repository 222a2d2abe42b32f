"""Running totals of this process's calls: added to on the calls' path, and read off it by whoever collects."""

from __future__ import annotations

import collections
import dataclasses
import logging
import threading
from collections.abc import Callable, Sequence
from typing import Generic, Protocol, TypeVar

import msgspec

from budgeted.ledger.spending_records import Used
from budgeted.payers.payer_interface import Group
from budgeted.system.forks import at_fork
from budgeted.telemetry import run_notes
from budgeted.telemetry.series_labels import OTHER, Labels, Wanted, labels_of

logger = logging.getLogger("budgeted")

V = TypeVar("V")

MOST_KEYS = 500
"""Beyond this many models, further ones are counted as ``other``: names may be invented.

OpenTelemetry's SDK keeps 2,000 series per instrument, and a model may have three of them.
"""

MOST_UNADDED = 200
"""Charges after which they are added up, though no collector has asked."""

MOST_NAMED = 5_000
"""Beyond this many models of users and tags, further users are counted without their names, and tags without theirs."""

LONGEST_MODEL = 256


@dataclasses.dataclass(slots=True)
class Tally:
    """Totals of one provider, operation, model and, where opted in, user and tags. Amounts in nano-USD."""

    usd: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    settled: int = 0
    estimated: int = 0
    failed: int = 0
    clamped: int = 0
    overrun: int = 0


Key = tuple[str, str, str, Labels]
"""(provider, operation, model, labels): who pays and what for, as far as metrics name it; mostly that is nothing."""

Refusals = dict[tuple[str, str], int]
"""Refused calls by (reason, kind of the account that refused)."""

Alert = tuple[str, str, float]
"""(project, kind of the account, share of its limit)."""


class Totals(msgspec.Struct, frozen=True):
    """All totals of this process, at one moment.

    ``corrections`` are nano-USD, by direction, ``unmetered`` are requests, by host, and ``sent`` events for
    ``alerts_to``, by host and outcome.
    """

    tallies: dict[Key, Tally]
    refusals: dict[Key, Refusals]
    corrections: dict[str, int]
    alerts: dict[Alert, int]
    unmetered: dict[str, int]
    sent: dict[tuple[str, str], int]


class _Table(Generic[V]):
    """Totals by key, for as many keys as are counted by themselves."""

    def __init__(self, empty: Callable[[], V]) -> None:
        self.rows: dict[Key, V] = {}
        self._empty = empty
        self._named = 0

    def add(self, key: Key) -> V:
        """The row of a key; made if it is not there. Under the lock."""
        row = self.rows.get(key)
        if row is not None and not key[3]:  # as nearly always
            return row
        provider, operation, model, labels = key
        if len(model) > LONGEST_MODEL:
            model = OTHER
        if labels and self._named >= MOST_NAMED:
            labels = ()
        key = provider, operation, model, labels
        if not labels and key not in self.rows and len(self.rows) - self._named >= MOST_KEYS:
            key = provider, operation, OTHER, ()
        row = self.rows.get(key)
        if row is None:
            row = self.rows[key] = self._empty()
            self._named += bool(labels)
        return row


lock = threading.Lock()
"""Guards all totals, for an instant at a time."""

_charged: collections.deque[tuple[Key, Used, int, bool]] = collections.deque()

_tallies = _Table(Tally)

_refusals: _Table[Refusals] = _Table(dict)

_corrections = {"up": 0, "down": 0}

_alerts: dict[Alert, int] = {}

_unmetered: dict[str, int] = {}

_sent: dict[tuple[str, str], int] = {}


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


def of(asked: Asked, groups: Sequence[Group] = ()) -> Tally:
    """The tally that a call is counted in; made when it is first asked for.

    Args:
        asked: the request.
        groups: the call's payers, for the user and the tags that telemetry may name.
    """
    key = asked.provider, asked.operation, asked.model, labels_of(groups) if Wanted.any else ()
    found = _tallies.rows.get(key)
    if found is None:
        with lock:
            found = _tallies.add(key)
    return found


def charge(asked: Asked, groups: Sequence[Group], used: Used, overrun: int, *, estimated: bool) -> None:
    """Add a settled call, and what it cost above its hold in nano-USD."""
    labels = labels_of(groups) if Wanted.any else ()
    _charged.append(((asked.provider, asked.operation, asked.model, labels), used, overrun, estimated))
    if len(_charged) >= MOST_UNADDED:
        with lock:
            _add_up()


def _add_up() -> None:
    """Add charges to their tallies. Under the lock."""
    charged, rows = _charged, _tallies.rows
    while charged:
        key, used, overrun, estimated = charged[0]
        tally = rows.get(key) or _tallies.add(key)
        tally.usd += used.usd
        tally.input_tokens += used.input_tokens
        tally.output_tokens += used.output_tokens
        if estimated:
            tally.estimated += 1
        else:
            tally.settled += 1
        if overrun > 0:
            tally.overrun += overrun
        charged.popleft()


def fail(asked: Asked, groups: Sequence[Group]) -> None:
    """Add a call that cost nothing because it failed."""
    total = of(asked, groups)
    with lock:
        total.failed += 1


def clamp(asked: Asked, groups: Sequence[Group]) -> None:
    """Add a call whose output was capped."""
    total = of(asked, groups)
    with lock:
        total.clamped += 1


def refuse(asked: Asked, groups: Sequence[Group], reason: str, kind: str) -> None:
    """Add a refused call, by the reason and the kind of account that refused."""
    key = asked.provider, asked.operation, asked.model, labels_of(groups) if Wanted.any else ()
    with lock:
        row = _refusals.add(key)
        row[reason, kind] = row.get((reason, kind), 0) + 1
    run_notes.note(run_notes.REFUSED)


def correct(difference: int) -> None:
    """Add a later correction of a charge, in nano-USD; downwards ones are counted apart, as counters only rise."""
    with lock:
        _corrections["up" if difference > 0 else "down"] += abs(difference)


def alert(project: str, kind: str, share: float) -> None:
    """Add an alert that was told."""
    with lock:
        key = project, kind, share
        _alerts[key] = _alerts.get(key, 0) + 1


def unmetered(host: str) -> bool:
    """Add a request that is paid for and that nobody could read, by its host. Returns whether it is the host's first.

    Args:
        host: as it is in the request.
    """
    with lock:
        new = host not in _unmetered
        if new and len(_unmetered) >= MOST_KEYS:
            host, new = OTHER, OTHER not in _unmetered
        _unmetered[host] = _unmetered.get(host, 0) + 1
    return new


def sent(host: str, outcome: str) -> None:
    """Add an event that was for a host of ``alerts_to``.

    Args:
        host: which is one of the few that the application names.
        outcome: ``"taken"``, ``"refused"``, or ``"dropped"`` as too many waited, or it waited for too long.
    """
    with lock:
        _sent[host, outcome] = _sent.get((host, outcome), 0) + 1


def snapshot() -> Totals:
    """Copies of everything, taken at one moment."""
    with lock:
        _add_up()
        return Totals(
            {key: dataclasses.replace(tally) for key, tally in _tallies.rows.items()},
            {key: dict(row) for key, row in _refusals.rows.items()},
            dict(_corrections),
            dict(_alerts),
            dict(_unmetered),
            dict(_sent),
        )


def _after_fork() -> None:
    """A child has charged nothing yet; its parent goes on telling of what was charged before."""
    global lock, _tallies, _refusals  # noqa: PLW0603
    lock = threading.Lock()
    _charged.clear()
    _tallies, _refusals = _Table(Tally), _Table(dict)
    _corrections.update(up=0, down=0)
    _alerts.clear()
    _unmetered.clear()
    _sent.clear()


at_fork(after_in_child=_after_fork)
