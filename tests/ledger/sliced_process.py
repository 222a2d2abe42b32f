"""A process with slices of a server's limits, and the server: time passes, and they are away, when a test says so."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ledgers import AT, cost, route

from budgeted.errors import LedgerUnavailableError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.admission import Refused
from budgeted.ledger.cost_routing import Stale
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.sliced.ledger import SlicedLedger
from budgeted.ledger.spending_records import Used


class Server(MemoryLedger):
    """A shared ledger that counts what it is asked, and may be away."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = lambda: float(AT)
        self.asked, self.away = 0, False
        self.granted: list[tuple[int, int]] = []

    def _ask(self) -> None:
        self.asked += 1
        if self.away:
            raise LedgerUnavailableError("away")

    def hold(self, *args: Any, **more: Any) -> Any:
        self._ask()
        slots = self.read(GLOBAL).slots
        made = super().hold(*args, **more)
        if slots and not isinstance(made, Refused | Stale):
            self.granted.append((made.usd, slots[0].amount - slots[0].spent - slots[0].held))
        return made

    def settle(self, *args: Any, **more: Any) -> bool:
        self._ask()
        return super().settle(*args, **more)

    def release(self, *args: Any, **more: Any) -> bool:
        self._ask()
        return super().release(*args, **more)

    def post(self, *args: Any, **more: Any) -> Any:
        self._ask()
        return super().post(*args, **more)


class Process:
    """A process with slices of a server's limits; what it does in the background, it does when it is told to."""

    def __init__(self, server: MemoryLedger) -> None:
        self.now = 0.0
        self.jobs: list[Callable[[], object]] = []
        self.ledger = SlicedLedger(server, seconds=lambda: self.now, later=self.jobs.append)

    def background(self) -> None:
        while self.jobs:
            self.jobs.pop(0)()

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.background()
        self.ledger.upkeep()
        self.background()

    def hold(self, amount: int, *names: str, **more: Any) -> Any:
        return self.ledger.hold(
            self.ledger.new_id(), route(self.ledger, *(names or (GLOBAL,)), **more), cost(amount), AT
        )

    def call(self, held: int, used: int, *names: str, **more: Any) -> bool:
        """A call, if there is room for it."""
        one = self.hold(held, *names, **more)
        if isinstance(one, Refused):
            return False
        assert self.ledger.settle(one.id, Used(used, 2, 1), AT)
        return True

    def begin(self, *names: str, amount: int = 10, **more: Any) -> None:
        """As many calls as it takes to have a slice."""
        for _ in range(4):
            assert self.call(amount, amount, *names, **more)
        assert self.ledger._slices

    def away(self) -> Any:
        """A verb of a server that is away."""
        raise LedgerUnavailableError("away")
