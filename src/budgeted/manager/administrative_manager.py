"""A project's budgets for a process that makes no calls of its own: to look at and to change."""

from __future__ import annotations

from collections.abc import Iterable

from budgeted.ledger.litellm_hosted import user_dict
from budgeted.manager.balances import AccountInfo, UncertainPage
from budgeted.manager.budget_manager import BudgetManager
from budgeted.validation import check_name


class Books(BudgetManager):
    """A manager that hooks no SDK, pays for no call of its process, and is not its default one.

    It takes the arguments of :class:`BudgetManager`.

    Example:
        >>> with Books("my-app", ledger="./spend") as books:
        ...     books.balance("alice")
    """

    def _take_part(self) -> None:
        """Only keep the books."""
        self._recent = user_dict.Recent()

    def info(self, user: str | None = None) -> AccountInfo | None:
        """What :meth:`accounts` lists of one account.

        Args:
            user: the user, or None for the global account.

        Returns:
            None if nobody has spent anything there, nor changed anything of it.

        Example:
            >>> books.info("alice").team
            'team:search'
        """
        return self._accounts.info(user)

    def infos(self, accounts: Iterable[str]) -> list[AccountInfo]:
        """The same of several accounts, in one go.

        Args:
            accounts: the ledger's names of them, as its reports have them.

        Returns:
            Of those that are there, in order.
        """
        return self._accounts.infos(accounts)

    def uncertain_page(self, user: str | None = None, first: int = 0, count: int = 50) -> UncertainPage:
        """Some of the charges that nobody confirmed, and what all of them come to, however many there are.

        Args:
            user: whose; None for all there are.
            first: the number of the first one, from 0.
            count: how many at most.

        Raises:
            LedgerError: the ledger is away.

        Example:
            >>> books.uncertain_page("alice").count
            2
        """
        return self._accounts.uncertain_page(user, first, count)

    def take_over(self, records: object, *, past: bool = False) -> list[str]:
        """Have users' budgets, and what they have spent, agree with LiteLLM's records of them.

        Args:
            records: by user, as ``user_cost.json`` holds them and ``/set_budget`` gets them. A user without one is left
                alone.
            past: True where the money was spent before now: it counts in no limit but the user's budget.

        Returns:
            The users.

        Raises:
            TypeError, ValueError: a record makes no sense; the text names the user and the field. Nothing was changed.
        """
        checked = user_dict.read(records)
        for user in checked:
            check_name(user, "user")
        with self.payer.lock:
            recent = None if past else self._recent
            user_dict.take_over(self.ledger, checked, self.payer.clock(), self.payer.timezone, past=past, recent=recent)
            self.payer.user_limits = self.payer.user_limits or bool(checked)
        return list(checked)
