"""A block that does something with the budgets around it before it is entered, and undoes it once it is left."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from budgeted.errors import BudgetError
from budgeted.payers.block import Budget
from budgeted.payers.scope import Scope, current

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self


class Ahead(Protocol):
    """What a block does with the budgets around it before it is entered, and undoes once it is left."""

    def take(self, block: Budget, around: Scope | None, inside: list[bool]) -> None:
        """Do it, or raise what is in the way. ``inside`` is not empty as long as it is done for whoever has it."""

    async def take_beside(self, block: Budget, around: Scope | None, inside: list[bool]) -> None:
        """The same without blocking the event loop."""

    def withdraw(self, block: Budget, inside: list[bool]) -> None:
        """Undo what was done for whoever has ``inside``, if it was: the block is not entered after all."""

    def give_back(self, block: Budget, *, soon: bool = False) -> None:
        """Undo it; ``soon``: in the background, as a finaliser may take no lock."""

    async def give_back_beside(self, block: Budget) -> None:
        """The same without blocking the event loop."""


class BudgetAhead(Budget):
    """A block of which more is done than to enter and to leave it.

    Attributes:
        ahead: what is done.
    """

    __slots__ = ("ahead",)

    ahead: Ahead

    def __enter__(self) -> Self:
        inside: list[bool] = []
        try:
            self.ahead.take(self, current(), inside)
            return super().__enter__()
        except BaseException:  # a signal's handler has raised: nobody leaves what was not entered
            self.ahead.withdraw(self, inside)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            try:
                super().__exit__(kind, error, trace)
            finally:
                self.ahead.give_back(self, soon=kind is GeneratorExit)
        except BudgetError:  # a refusal that the block raises again
            raise
        except BaseException:  # a signal's handler has raised, wherever; doing it twice does no harm
            self._leave()
            self.ahead.give_back(self, soon=True)
            raise

    async def __aenter__(self) -> Self:
        inside: list[bool] = []
        try:
            await self.ahead.take_beside(self, current(), inside)
            return self.__enter__()  # which has nothing more to ask
        except BaseException:
            self.ahead.withdraw(self, inside)
            raise

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.__exit__(kind, error, trace)
        finally:
            if kind is GeneratorExit:  # behind which nothing may be awaited
                self.ahead.give_back(self, soon=True)
            else:
                await self.ahead.give_back_beside(self)
