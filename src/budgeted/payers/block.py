"""A block: ``with budget(user):``, whose calls are charged to its user, and to its cap if it has one."""

from __future__ import annotations

import logging
import sys
from typing import TYPE_CHECKING, Any

from opentelemetry.context import detach, get_current

from budgeted.html_tables import Bar, Cell, amount, table
from budgeted.payers.block_figures import BlockFigures
from budgeted.payers.calling_code import FOR_ITS_CALLER
from budgeted.payers.generator_blocks import GENERATORS, entered_for, for_generator, leave_block
from budgeted.payers.hooks_in_place import fixtures
from budgeted.payers.lost_blocks import note_left
from budgeted.payers.scope import KEY, Scope, counted_apart, current, enter, finder, inherited, joined
from budgeted.payers.swallowed_refusals import taken

if TYPE_CHECKING:
    from types import TracebackType
    from typing import Self

logger = logging.getLogger("budgeted")


class Budget(BlockFigures):
    """A block: everything called inside is charged to its user, and to its cap if it has one.

    Made by :func:`budgeted.budget` or :meth:`BudgetManager.budget`; works with ``with`` and ``async with``. Entering
    and leaving does no I/O. All figures are local to this object and process, in USD.

    Example:
        >>> with budget("alice", cap=0.50) as block:
        ...     client.chat.completions.create(...)
        ...     block.spent
        0.00042
    """

    __slots__ = ()

    def __repr__(self) -> str:
        cap = " + ".join(map(str, self.limits)) if self.more else self.cap
        return f"Budget(user={self.user!r}, cap={cap!r}, key={self.key!r}, spent={self.spent!r})"

    def _repr_html_(self) -> str:
        """How a notebook shows it."""
        who = self.user if self.user is not None else self.key if self.key is not None else "nobody in particular"
        bar = Bar(self.spent, self.held, self.cap)
        usd = map(amount, (self.cap, self.spent, self.held, self.remaining))
        row: tuple[Cell, ...] = (who, bar, *usd, str(self.calls), str(self.refused))
        whole = table("Budget", ("user", "", "cap", "spent", "held", "left", "calls", "refused"), [row])
        return "".join([whole, *(one._repr_html_() for one in self.balances if self.more)])

    def scope(self, parent: Scope | None) -> Scope:
        """The payers of a call made in this block, itself inside ``parent``."""
        payer, user = self.payer, self.user
        if self.account is not None:
            payer.limit_block(self.account, self.limits, self)
        elif parent is None and user is not None and self._policy is None and not self.tags and not counted_apart:
            return Scope(payer.group.with_user(user), (self,), payer)  # as nearly always: joined() has more to ask
        scope = joined(parent, payer, user, self._policy, self.account, self.tags)
        around = scope.blocks
        if self in around:  # it is charged once
            around = tuple(block for block in around if block is not self)
        scope.blocks = (*around, self)
        return scope

    def __enter__(self) -> Self:
        if not fixtures.intact():
            fixtures.restore()
        context = get_current()
        around: Any = context.get(KEY)  # as current() has it, without another call
        if finder or (around is None and inherited):
            around, context = current(), get_current()
        scope = self.scope(around)
        opening = sys._getframe(1)  # noqa: SLF001 - the interpreter's own way to ask
        code = opening.f_code
        if code.co_flags & GENERATORS or code.co_name in FOR_ITS_CALLER:
            scope = for_generator(scope, opening)
        try:
            enter(scope, context)
            return self
        except BaseException:  # a signal's handler has raised: nobody leaves what was not entered
            leave_block(scope)
            raise

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        payer = self.payer
        try:
            if payer.user_limits:  # where a call without a user is worth a word
                note_left(sys._getframe(1), payer)  # noqa: SLF001
            scope: Any = None if finder else get_current().get(KEY)
            if scope is not None and scope.token is not None and scope.blocks and scope.blocks[-1] is self:
                detach(scope.token)  # as nearly always: _leave() has more to ask
                scope.token = None
            elif not self._leave(closing=kind is GeneratorExit):
                logger.warning("budgeted: a block was left in another context than it was entered in")
        except BaseException:  # a signal's handler has raised: whoever goes on is outside
            self._leave()
            raise
        if self.refusals:
            refusal = taken(self)
            if refusal is not None and error is None:
                raise refusal

    def _leave(self, *, closing: bool = False) -> bool:
        """End the scope that this block has made current; False if that is not seen here."""
        scope = entered_for(self)
        if scope is not None:
            leave_block(scope, closing=closing)
        return scope is not None

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, trace)
