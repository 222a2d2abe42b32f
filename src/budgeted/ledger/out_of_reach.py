"""A ledger that this process knows of and cannot use: whatever is asked of it is refused, and nothing is forgotten."""

from __future__ import annotations

from collections.abc import Sequence

from budgeted.errors import LedgerError
from budgeted.ledger.accounts import Account, LimitSpec
from budgeted.ledger.admission import Ask
from budgeted.ledger.cost_routing import Route
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Used


class OutOfReach(MemoryLedger):
    """Stands where a payer's ledger would be, so that its calls are refused rather than sent unmetered.

    It raises no :class:`~budgeted.errors.LedgerUnavailableError`: ``on_ledger_error="allow"`` is for ledgers that will
    be back, and get what was recorded meanwhile.

    Args:
        problem: why, and what to do, as every error says it.
    """

    def __init__(self, problem: str) -> None:
        super().__init__()
        self.problem = problem

    def __repr__(self) -> str:
        return f"OutOfReach({self.problem!r})"

    def _enter(self, timeout: float | None, *, closely: bool = True) -> None:  # noqa: ARG002 - as all
        raise LedgerError(self.problem)

    def hold(self, id: str, route: Route, ask: Ask, at: int, timeout: float | None = None) -> Held:  # noqa: ARG002 - as all
        """Refuse."""
        raise LedgerError(self.problem)

    def settle(self, id: str, used: Used, at: int, reason: str = "", timeout: float | None = None) -> bool:  # noqa: ARG002
        """Refuse."""
        raise LedgerError(self.problem)

    def release(self, id: str, at: int, timeout: float | None = None) -> bool:  # noqa: ARG002 - as all
        """Drop nothing: nothing was held."""
        return False

    def set_limits(
        self, account: str, limits: Sequence[LimitSpec], *, explicit: bool = True, create: bool = False
    ) -> None:
        """Refuse, but for what a manager asks for as it begins."""
        if not create:
            super().set_limits(account, limits, explicit=explicit)

    def accounts(self, prefix: str = "", after: str | None = None, count: int = 1000) -> list[Account]:  # noqa: ARG002
        """Return none: a manager looks for users that have limits as it begins."""
        return []

    def sweep(self) -> int:
        """Charge nothing: nothing was held."""
        return 0
