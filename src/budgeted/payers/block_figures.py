"""What a block may spend, what was spent in it and what is held: numbers of this process, under one lock."""

from __future__ import annotations

import os
import threading

from budgeted.fork_locks import ForkLocks
from budgeted.ledger.accounts import USD, Slot, block_account
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.money import nano_usd, to_usd
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Payer
from budgeted.validation import check_name

NO_CAP = 2**62

caps_lock = threading.Lock()
"""Guards the numbers of all blocks of this process: they are only ever touched for an instant."""

cap_turns = WaitQueues()
"""The calls of this process that wait for a block's cap, whatever ledgers its calls hold at."""


class BlockFigures:
    """Who pays for a block's calls, and its numbers. All figures are local to this object and process, in USD.

    Attributes:
        slot: the cap's running numbers. Its ``held`` is added up where a call is admitted.
        holds: nano-USD held, by the open call: what is given back or charged by its call can be so but once, however
            often an exception of a signal's handler has it repeated.
    """

    __slots__ = (
        "__weakref__",
        "_calls",
        "_cap",
        "_clamped",
        "_elsewhere",
        "_policy",
        "_refused",
        "account",
        "holds",
        "key",
        "payer",
        "slot",
        "user",
    )

    def __init__(
        self,
        payer: Payer,
        user: str | None = None,
        *,
        cap: object = None,
        key: str | None = None,
        policy: Policy | None = None,
    ) -> None:
        self.user = None if user is None else check_name(user, "user")
        self.key = None if key is None else check_name(key, "key")
        self._cap = None if cap is None else nano_usd(cap, "cap", up=False)
        self.payer = payer
        self._policy = policy
        self.account = block_account(self.key) if self.key is not None and self._cap is not None else None
        local = self._cap if self._cap is not None and self.account is None else NO_CAP
        self.slot = Slot("cap", USD, local, 0, NO_CAP)
        self.holds: dict[int, int] = {}
        self._calls = self._refused = self._clamped = 0
        self._elsewhere = 0

    @property
    def cap(self) -> float | None:
        """The block's own limit in USD, or None."""
        return None if self._cap is None else to_usd(self._cap)

    @property
    def spent(self) -> float:
        """USD charged inside so far."""
        return to_usd(self.slot.spent)

    @property
    def held(self) -> float:
        """USD set aside for calls in flight."""
        return to_usd(sum(self.holds.values()))

    @property
    def remaining(self) -> float | None:
        """USD left of the cap, or None without one."""
        if self._cap is None:
            return None
        return to_usd(max(0, self._cap - self._elsewhere - self.slot.spent - sum(self.holds.values())))

    @property
    def calls(self) -> int:
        """Calls that were sent."""
        return self._calls

    @property
    def refused(self) -> int:
        """Calls that were refused."""
        return self._refused

    @property
    def clamped(self) -> int:
        """Calls whose output was capped so that they fit."""
        return self._clamped

    # What the calls inside report, under caps_lock.

    @property
    def queue(self) -> str:
        """Where calls wait for the cap; each block has a queue of its own, as others end nothing that is waited for."""
        return f"cap of {id(self)}"

    def taken_elsewhere(self, taken: int) -> None:
        """Learn what the ledger has taken of a keyed cap (nano-USD): spent and held, by whomever."""
        self._elsewhere = max(0, taken - self.slot.spent - sum(self.holds.values()))

    @property
    def soft(self) -> bool:
        """Whether the cap only counts."""
        return (self._policy or self.payer.policy).on_exceed == "warn"

    @property
    def policy(self) -> Policy:
        """What happens when the cap has no room."""
        return self._policy or self.payer.policy

    def end(self, call: int, cost: int) -> None:
        """Replace a call's hold by what it cost (nano-USD): once, however often it is tried."""
        # Nothing is called from here on, so that no signal's handler runs in between.
        if call in self.holds:
            self.slot.spent += cost
            self._calls += 1
            del self.holds[call]

    def count(self, *, refused: int = 0, clamped: int = 0) -> None:
        """Count a call's fate."""
        self._refused += refused
        self._clamped += clamped


_taken_for_fork = ForkLocks()


def _before_fork() -> None:
    _taken_for_fork.take(caps_lock)


def _after_fork_in_child() -> None:
    global cap_turns  # noqa: PLW0603
    cap_turns = WaitQueues()  # those who wait are the parent's
    _taken_for_fork.give_back()


os.register_at_fork(before=_before_fork, after_in_parent=_taken_for_fork.give_back, after_in_child=_after_fork_in_child)
