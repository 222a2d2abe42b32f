"""All that a ledger in memory knows, copied."""

from __future__ import annotations

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.memory.resolved_routes import charge_of, in_flight_of
from budgeted.ledger.memory.state import State
from budgeted.ledger.whole_content import Content


def content_of(state: State) -> Content:
    """Everything in a state, whose lock the caller holds."""
    state.fold()
    held = state.held()
    return Content(
        [copied(account, held.get(account.id, 0)) for account in state.accounts.values()],
        [msgspec.structs.replace(row) for row in state.reports.since(0)],
        [charge_of(ended) for ended in state.charges.uncertain.values()],
        [in_flight_of(one) for one, _ in state.holds.values()],
    )


def copied(account: Account, held: int) -> Account:
    """An account as others get it: its numbers stay what they are now.

    Args:
        account: the state's own.
        held: nano-USD that its calls in flight hold.
    """
    copy = msgspec.structs.replace(account, held=held)
    copy.slots = tuple(msgspec.structs.replace(slot) for slot in account.slots)
    copy.models = dict(account.models) if account.models else None
    return copy
