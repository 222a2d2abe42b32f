"""What a run of tests may spend: a ledger that lasts as long as the run, and who pays for a call made meanwhile.

Tests have contexts, event loops and threads of their own, and share those of wider fixtures: so a call is charged to
the test that runs as it is made, in whatever context that is, besides whoever pays for it in the application.
"""

from __future__ import annotations

import functools
import hashlib
import time
from collections.abc import Callable

from budgeted import providers
from budgeted.html_tables import amount
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import user_account
from budgeted.limits.limit import Limit
from budgeted.manager import carried_manager, open_managers
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.carried_manager import CarriedManager
from budgeted.money import MAX_USD, NANO, to_usd
from budgeted.payers.hooks_in_place import fixtures
from budgeted.payers.payer_interface import Group
from budgeted.payers.scope import charge_always, charge_no_more
from budgeted.telemetry.events import Event, Listener

PROJECT = "budget of a test run"

_LONGEST = 240
"""Bytes of a test's name that are kept: so many as an account's may have, and some for what tells it from others."""


class RunManager(BudgetManager):
    """The manager of a test run: never the default one, which is the application's."""

    def _take_part(self) -> None:
        open_managers.register(self, beside=True)

    def carried(self) -> CarriedManager:
        """This manager, for a process that a test starts: nor is it the default one there."""
        return carried_manager.carry(RunManager, self, self._where, self._fsync)


class Refusals(Listener):
    """What the run's limits have refused lately: known at once, as a test is judged by it."""

    def __init__(self) -> None:
        super().__init__(lambda _: None)
        self.events: list[Event] = []

    def tell(self, event: Event) -> None:
        """Note an event, if it is a refusal for want of room."""
        if event.kind == "refused" and event.reason in ("spent", "held"):
            self.events.append(event)


class BudgetOfRun:
    """Charges all calls of this process to a run of tests, and to the test that runs.

    Args:
        folder: of the ledger, which the processes of a run share.
        limit: nano-USD that the run may spend; None for any amount.
        per_test: nano-USD that a test may spend that says nothing else; None for any amount.

    Attributes:
        refusals: of the test that runs, by its limit or the run's.
    """

    def __init__(self, folder: str, limit: int | None, per_test: int | None) -> None:
        self._manager = RunManager(
            PROJECT,
            ledger=folder,
            max_budget=None if limit is None else in_usd(limit),
            default_user_limits=() if per_test is None else in_usd(per_test),
            alerts=(),
            clock=functools.partial(float, time.time()),  # it stands: no limit here has a period, and tests set clocks
        )
        self.payer = self._manager.payer
        self.payer.user_limits = False  # what no test makes, such as a fixture of the session, is the run's
        self._told = self.payer.listener = Refusals()
        self._per_test = per_test
        self._test: str | None = None
        self._before = (0, 0)
        self._wider = 0
        self._group: Group | None = None
        self._switch()

    @property
    def refusals(self) -> list[Event]:
        """What was refused in the test that runs."""
        return self._told.events

    def begin(self, test: str, limit: int | None) -> None:
        """Charge what follows to a test as well.

        Args:
            test: its node id.
            limit: nano-USD that it may spend; None for what is usual.
        """
        providers.instrument()
        if not fixtures.intact():  # a test before has replaced what is hooked, and not put it back
            fixtures.restore()
        self._told.events = []
        self._test = user_account(name_of(test))
        if limit is not None:
            self.limit(limit)
        self._before = self._totals(self._test)
        self._switch()

    def limit(self, limit: int) -> None:
        """Give the test that runs a limit of its own (nano-USD)."""
        if self._test is not None:
            self.payer.limit(self._test, [in_usd(limit)], explicit=True)

    def spent(self) -> Callable[[], tuple[float, int]]:
        """What tells the USD and the calls that the test was charged with which runs now, also when it has ended.

        From here on, a model that nobody knows the price of is refused: it would count as nothing.
        """
        test, before = self._test or "", self._before
        account = self.payer.ledger.read(test)
        if account is None or not account.slots:
            self.limit(MAX_USD * NANO if self._per_test is None else self._per_test)

        def totals() -> tuple[float, int]:
            nano, calls = self._totals(test)
            return to_usd(nano - before[0]), calls - before[1]

        return totals

    def end(self) -> None:
        """Charge what follows to no test."""
        self._test = None
        self._switch()

    def enter_wider(self) -> None:
        """Begin what is not the test's that runs: a fixture that others share."""
        self._wider += 1
        self._switch()

    def leave_wider(self) -> None:
        """End it."""
        self._wider -= 1
        self._switch()

    def finish(self) -> None:
        """Have all that was spent so far be in the ledger."""
        self._manager.flush()

    def close(self) -> None:
        """Charge nobody any more."""
        if self._group is not None:
            charge_no_more(self._group)
            self._group = None
            self._manager.close()

    def _totals(self, test: str) -> tuple[int, int]:
        """What a test was charged in this run, by all processes and attempts: nano-USD, calls."""
        background_worker.drain()
        account = self.payer.ledger.read(test)
        return (0, 0) if account is None else (account.usd, account.calls)

    def _switch(self) -> None:
        group = self.payer.group
        if self._test is not None and not self._wider:
            group = group.join(self._test, self.payer.policy)
        if group is not self._group:
            charge_always(group, self._group)
            self._group = group


def in_usd(nano: int) -> Limit:
    """A limit of so many nano-USD, for ever."""
    return Limit(0).with_amount(nano)


def name_of(test: str) -> str:
    """The user's name that a test has in the ledger: its node id, made printable, and short enough."""
    plain = "".join(one if one.isprintable() else ascii(one)[1:-1] for one in test)
    if len(plain.encode()) <= _LONGEST:
        return plain
    mark = "... " + hashlib.sha256(plain.encode()).hexdigest()[:8]
    return plain.encode()[: _LONGEST - len(mark)].decode(errors="ignore") + mark


def told(event: Event) -> str:
    """What was refused, and by which limit."""
    whose = "this run" if event.account_kind == "global" else "this test"
    left = amount(event.remaining or 0, event.unit or "usd")
    call = f"a call to {event.model}" if event.model else "a call"
    return f"the LLM budget of {whose}, {event.limit}, has {left} left, and {call} did not fit"
