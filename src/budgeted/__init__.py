"""Hard spending limits on LLM calls: held before the call, settled after it, forgotten never."""

from __future__ import annotations

from budgeted.api import (
    budget,
    budgeted,
    configure,
    extract,
    get_manager,
    hold,
    inject,
    instrument,
    uninstrument,
)
from budgeted.api import go_on_as_started as _go_on_as_started
from budgeted.errors import (
    BudgetError,
    BudgetExceededError,
    CarrierError,
    LedgerCorruptError,
    LedgerError,
    LedgerLockedError,
    LedgerUnavailableError,
    UnattributedCallError,
    UnknownUserError,
    UnpricedModelError,
)
from budgeted.limits.limit import Limit
from budgeted.manager.balances import Balance
from budgeted.manager.budget_manager import BudgetManager
from budgeted.payers.function_context_propagation import bind
from budgeted.pricing.model_price import Price
from budgeted.pricing.price_registry import register_price
from budgeted.pricing.usage import Usage

__version__ = "0.1.0"

__all__ = [
    "Balance",
    "BudgetError",
    "BudgetExceededError",
    "BudgetManager",
    "CarrierError",
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
    "extract",
    "get_manager",
    "hold",
    "inject",
    "instrument",
    "register_price",
    "uninstrument",
]


_go_on_as_started()


def __dir__() -> list[str]:
    """What there is to import from here: not the modules that happen to be loaded by now."""
    return list(__all__)
