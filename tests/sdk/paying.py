"""What the tests of this folder share: a manager that pays, and the proof that both sides wrote the same bill."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

from budgeted import BudgetManager
from budgeted.payers import block_figures

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterable
    from contextlib import AbstractAsyncContextManager

    from budgeted.payers.block import Budget
    from budgeted.testing import SimulatedProvider

MESSAGES: list[dict[str, Any]] = [{"role": "user", "content": "Say something nice about budgets."}]
"""What the tests ask; each test may change its own copy."""


class Paying:
    """A manager, the blocks that a test opens in it, and the provider that bills them."""

    def __init__(self, provider: SimulatedProvider, **settings: Any) -> None:
        settings = {"ledger": "memory://", "max_budget": 100, **settings}
        self.provider = provider
        self.manager = BudgetManager(**settings)
        self.blocks: list[Budget] = []

    def block(self, user: str | None = "alice", **options: Any) -> Budget:
        """A block of this manager, looked at when the test ends."""
        block = self.manager.budget(user, **options)
        self.blocks.append(block)
        return block

    @property
    def spent(self) -> int:
        """Nano-USD that the manager recorded."""
        return round(self.manager.balance().spent * 1e9)

    def charges(self) -> int:
        """How many charges were recorded."""
        return sum(row.calls for row in self.manager.report("model").values())

    def agrees(self, calls: int = 1) -> None:
        """The provider billed so many calls, and exactly that was recorded, for certain."""
        assert self.provider.wait_idle()
        assert len(self.provider.bill) == calls
        assert self.spent == self.provider.billed_nano()
        assert self.charges() == calls
        assert self.manager.uncertain() == []

    def pays_once(self, way: Callable[[Any], object], client: Any) -> None:
        """Call in this way, in a block of its own: that is one charge, equal to the bill."""
        with self.block() as block:
            way(client)
        self._paid_once(block)

    def awaits_once(self, way: Callable[[Any], Awaitable[object]], client: AbstractAsyncContextManager[Any]) -> None:
        """The same of a way that is awaited; the client is closed at its end."""

        async def call() -> Budget:
            async with client as opened, self.block() as block:
                await way(opened)
            return block

        self._paid_once(asyncio.run(call()))

    def _paid_once(self, block: Budget) -> None:
        self.agrees()
        assert block.calls == 1
        assert round(block.spent * 1e9) == self.spent > 0

    def guessed(self, calls: int = 1) -> list[Any]:
        """So many charges were recorded as uncertain, none of them at zero; returns them."""
        gc.collect()
        self.manager.flush()  # what a cancelled task has left behind is written beside it
        found = self.manager.uncertain()
        assert len(found) == calls
        assert all(charge.cost > 0 for charge in found)
        assert all(charge.cost <= charge.held or charge.held == 0 for charge in found)  # 0: a retry had no hold
        return found

    def guesses_when_left(self, leave: Callable[[Any], object], ask: Callable[[], Any]) -> None:
        """Ask for a stream and leave it before it says its usage: it is charged an estimate, and no longer held."""
        self.provider.reply(gate_after=2, output_tokens=40)
        with self.block() as block:
            leave(ask())
            gc.collect()
            assert block.held == 0
        self.guessed()
        self.provider.release()

    def sends_nothing_unread(self, ask: Callable[[], object]) -> None:
        """Ask for a stream and never read it: nothing is sent, held or charged."""
        with self.block() as block:
            ask()
            gc.collect()
            assert block.held == 0
        assert self.provider.requests == []
        assert self.spent == 0

    def charges_whoever_asked(self, ask: Callable[[], Iterable[object]]) -> None:
        """Ask for a stream in one block and read it in another: one exact charge to the user of the first."""
        with self.block("alice"):
            stream = ask()
        with self.block("bob"):
            list(stream)
        self.agrees()
        assert [(user, row.calls) for user, row in self.manager.report("user").items()] == [("alice", 1)]

    async def reads_in_a_task(self, read: Coroutine[Any, Any, None], *, cancel: bool) -> None:
        """Read a stream in a task of a block, which may be cancelled while it waits for the provider."""
        with self.block():
            task = asyncio.ensure_future(read)
            if cancel:
                await asyncio.to_thread(self.provider.wait_parked)
                task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    def guesses_when_a_task_leaves(
        self,
        read: Callable[[Any], Coroutine[Any, Any, None]],
        client: AbstractAsyncContextManager[Any],
        *,
        cancel: bool,
    ) -> None:
        """Leave an asynchronous stream before it says its usage: it is charged an estimate; closes the client."""
        self.provider.reply(gate_after=2, output_tokens=40)

        async def call() -> None:
            async with client as opened:
                await self.reads_in_a_task(read(opened), cancel=cancel)

        asyncio.run(call())
        self.guessed()
        self.provider.release()

    def nothing_is_left_open(self) -> None:
        """No hold, no ticket, and no figure of a block stays behind."""
        self.manager.flush()
        ledger = self.manager.ledger
        assert ledger.open_holds() == []
        assert not ledger.turns.waiting
        assert not block_figures.cap_turns.waiting
        assert self.manager.balance().held == 0
        assert [block.held for block in self.blocks] == [0] * len(self.blocks)
        for user in self.manager.accounts():
            assert all(balance.held == 0 for balance in user.balances)
