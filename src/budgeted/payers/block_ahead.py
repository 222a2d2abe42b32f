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

    def take(self, block: Budget, around: Scope | None) -> None:
        """Do it, or raise what is in the way."""

    async def take_beside(self, block: Budget, around: Scope | None) -> None:
        """The same without blocking the event loop."""

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
        self.ahead.take(self, current())
        try:
            return super().__enter__()
        except BaseException:  # a signal's handler has raised: nobody leaves what was not entered
            self.ahead.give_back(self)
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
        except BaseException:  # a signal's handler has raised, perhaps just there; doing it twice does no harm
            self.ahead.give_back(self, soon=True)
            raise

    async def __aenter__(self) -> Self:
        await self.ahead.take_beside(self, current())  # then entering it once more has nothing to ask
        try:
            return self.__enter__()
        except BaseException:
            self.ahead.give_back(self)
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
