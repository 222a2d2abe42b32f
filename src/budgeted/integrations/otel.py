"""``opentelemetry-instrument python app.py``: budgets by environment variables, without a change of the code.

The zero-code loader of OpenTelemetry finds :class:`BudgetedInstrumentor` by its entry point. Each setting of
``configure()`` is a variable: ``BUDGETED_MAX_BUDGET='$10/day'``, ``BUDGETED_LEDGER``, ``BUDGETED_DEFAULT_USER_LIMITS``,
``BUDGETED_ON_EXCEED``, ...; and a file may state them. Without any of either, nothing is done.
"""

from __future__ import annotations

import os

from budgeted import api
from budgeted.manager import open_managers
from budgeted.manager.budget_manager import BudgetManager
from budgeted.manager.environment import from_environment


class BudgetedInstrumentor:
    """What ``opentelemetry-instrument`` switches on; it can be used by hand as well.

    Example:
        >>> BudgetedInstrumentor().instrument()  # as BUDGETED_* say
    """

    def instrument(self, **kwargs: object) -> None:  # noqa: ARG002 - the loader tells what it has checked
        """Set the default manager up as the environment says, and hook the SDKs.

        Raises:
            SystemExit: a variable makes no sense, or the ledger cannot be opened. The loader would swallow any other
                exception, and the application would run without its limits.
        """
        try:
            from_environment(os.environ)
            open_managers.make_as_stated(BudgetManager)
        except Exception as error:
            msg = f"budgeted: the application was not started, as its limits cannot be kept: {error}"
            raise SystemExit(msg) from error

    def uninstrument(self, **kwargs: object) -> None:  # noqa: ARG002 - as above
        """Take the hooks out of the SDKs."""
        api.uninstrument()
