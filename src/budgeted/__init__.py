"""Hard spending limits on LLM calls: held before the call, settled after it, forgotten never."""

from __future__ import annotations

from budgeted.api import budget, budgeted, configure, get_manager, hold, instrument, uninstrument
from budgeted.balances import Balance
from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    LedgerCorruptError,
    LedgerError,
    LedgerLockedError,
    LedgerUnavailableError,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
)
from budgeted.limits import Limit
from budgeted.manager import BudgetManager
from budgeted.prices import Price, register_price
from budgeted.scope import bind
from budgeted.usage import Usage

__all__ = [
    "Balance",
    "BudgetError",
    "BudgetExceededError",
    "BudgetManager",
    "LedgerCorruptError",
    "LedgerError",
    "LedgerLockedError",
    "LedgerUnavailableError",
    "Limit",
    "Price",
    "UnattributedCallError",
    "UnknownUserError",
    "UnpricedModelError",
    "Usage",
    "bind",
    "budget",
    "budgeted",
    "configure",
    "get_manager",
    "hold",
    "instrument",
    "register_price",
    "uninstrument",
]
