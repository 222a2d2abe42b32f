"""A project's budgets for a process that makes no calls of its own: to look at and to change."""

from __future__ import annotations

from budgeted.manager import BudgetManager


class Books(BudgetManager):
    """A manager that hooks no SDK, pays for no call of its process, and is not its default one.

    It takes the arguments of :class:`BudgetManager`.

    Example:
        >>> with Books("my-app", ledger="./spend") as books:
        ...     books.balance("alice")
    """

    def _take_part(self) -> None:
        """Only keep the books."""
