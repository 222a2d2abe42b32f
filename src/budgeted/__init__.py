"""Hard spending limits on LLM calls: held before the call, settled after it, forgotten never.

To pytest, which rewrites the packages of plugins and warns where they are loaded already: PYTEST_DONT_REWRITE.
"""

from __future__ import annotations

import importlib
import os
import typing

if typing.TYPE_CHECKING:
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
    from budgeted.errors import (
        BudgetError,
        BudgetExceededError,
        BudgetStoppedError,
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
    from budgeted.pricing.tool_prices import register_tool
    from budgeted.pricing.usage import Usage

__version__ = "0.1.0"

__all__ = [
    "Balance",
    "BudgetError",
    "BudgetExceededError",
    "BudgetManager",
    "BudgetStoppedError",
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
    "register_tool",
    "uninstrument",
]

_PLACES = (
    "api",
    "errors",
    "limits.limit",
    "manager.balances",
    "manager.budget_manager",
    "payers.function_context_propagation",
    "pricing.model_price",
    "pricing.price_registry",
    "pricing.tool_prices",
    "pricing.usage",
)
"""Where the public names are. They are loaded with the first of them: who only imports a part pays for that part."""

_MODULES = tuple(place.partition(".")[0] for place in _PLACES)
"""What programs reach for as well that have imported the package alone: ``budgeted.errors``."""

if not typing.TYPE_CHECKING:  # else a misspelt name would be an object of any kind

    def __getattr__(name: str) -> object:
        """A public name, or the module of some, which is there as any other from then on."""
        if name not in __all__ and name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        for place in _PLACES:
            found = vars(importlib.import_module(f"{__name__}.{place}"))
            globals().update({public: found[public] for public in __all__ if public in found})
        return globals()[name]


def load_ipython_extension(ipython: object) -> None:
    """Have a notebook, or another shell of IPython, know ``%%budget``: called by ``%load_ext budgeted``."""
    importlib.import_module("budgeted.integrations.ipython_magic").load(ipython)


def unload_ipython_extension(ipython: object) -> None:
    """Have it forget that again: called by ``%unload_ext budgeted``."""
    importlib.import_module("budgeted.integrations.ipython_magic").unload(ipython)


def __dir__() -> list[str]:
    """What there is to import from here: not the modules that happen to be loaded by now."""
    return list(__all__)


if "BUDGETED_PAYERS" in os.environ:  # whoever has started this process pays for it from the first import on
    importlib.import_module("budgeted.api").go_on_as_started()
