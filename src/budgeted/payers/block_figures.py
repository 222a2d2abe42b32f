"""What a block may spend, what was spent in it and what is held: numbers of this process, under one lock."""

from __future__ import annotations

import secrets
import threading

from budgeted.errors import BudgetError
from budgeted.fork_locks import ForkLocks
from budgeted.ledger.accounts import USD, Slot, block_account
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.money import nano_usd, to_usd
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Payer
from budgeted.system.forks import at_fork
from budgeted.validation import check_name

NO_CAP = 2**62

caps_lock = threading.Lock()
"""Guards the numbers of all blocks of this process: they are only ever touched for an instant."""


class SharedCaps:
    """How many caps without a key came to be shared with other processes: in most programs, none."""

    count = 0


shared_caps = SharedCaps()

cap_turns = WaitQueues()
"""The calls of this process that wait for a block's cap, whatever ledgers its calls hold at."""


class BlockFigures:
    """Who pays for a block's calls, and its numbers. All figures are local to this object and process, in USD.

    Attributes:
        slot: the cap's running numbers. Its ``held`` is added up where a call is admitted.
        shared: the account that the rest of a cap without a key is kept in, once other processes spend of it, too.
        holds: nano-USD held, by the open call: what is given back or charged by its call can be so but once, however
            often an exception of a signal's handler has it repeated.
        refusals: the first refusal that was raised inside; None unless the block is to raise it again.
    """

    __slots__ = (
        "__weakref__",
        "_before_sharing",
        "_calls",
        "_cap",
        "_clamped",
        "_elsewhere",
        "_policy",
        "_refused",
        "_rest",
        "account",
        "holds",
        "key",
        "payer",
        "refusals",
        "shared",
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
        reraise: bool = False,
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
        self.shared: str | None = None
        self._rest = 0
        self._before_sharing: dict[int, int] = {}
        self._calls = self._refused = self._clamped = 0
        self._elsewhere = 0
        self.refusals: list[BudgetError] | None = [] if reraise else None

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
        mine = self.slot.spent + sum(self.holds.values())
        if self.shared is not None and self._cap is not None:
            mine -= self._cap - self._rest  # what was taken before the ledger knew of it
        self._elsewhere = max(0, taken - mine)

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
        if call in self._before_sharing:
            self._rest += max(0, self._before_sharing.pop(call) - cost)

    def give_back(self, call: int) -> None:
        """Hold nothing more for a call, which is not sent."""
        self.holds.pop(call, None)
        self._rest += self._before_sharing.pop(call, 0)

    def share(self, seconds: float = -1) -> None:
        """Keep what is left of a cap without a key in an account of the ledger, for other processes to spend of it.

        What was spent and is held by now is not in that account: it is no part of what is left.

        Args:
            seconds: to wait for the lock at most; -1 for as long as it takes.
        """
        if self._cap is None or self.account is not None or not caps_lock.acquire(timeout=seconds):
            return
        try:
            if self.shared is None:
                self._before_sharing.update(self.holds)
                self._rest = max(0, self._cap - self.slot.spent - sum(self.holds.values()))
                # Twice: who has looked in between looks again, and a signal's handler that raises leaves no 0 behind.
                shared_caps.count += 1
                self.shared = block_account(f"shared-{secrets.token_hex(8)}")
                shared_caps.count += 1
        finally:
            caps_lock.release()

    @property
    def kept(self) -> tuple[str, int] | None:
        """The account that the cap is kept in and what that has of it (nano-USD); None where the ledger has no part."""
        if self.shared is not None:
            return self.shared, self._rest
        return None if self.account is None or self._cap is None else (self.account, self._cap)

    def charge(self, call: int, usd: int) -> None:
        """Charge so much (nano-USD, or less than nothing) for a call beside what it holds."""
        self.slot.spent += usd
        if call in self._before_sharing:
            self._rest = max(0, self._rest - usd)

    def count(self, *, refused: int = 0, clamped: int = 0) -> None:
        """Count a call's fate."""
        self._refused += refused
        self._clamped += clamped

    def note_refusal(self, error: BudgetError) -> None:
        """A call inside is refused. It is kept only if that was asked for: its traceback has its catchers' frames."""
        # Without a lock: threads that are refused at once may leave two, of which the first is raised.
        if self.refusals is not None and not self.refusals:
            self.refusals.append(error)


_taken_for_fork = ForkLocks()


def _before_fork() -> None:
    _taken_for_fork.take(caps_lock)


def _after_fork_in_child() -> None:
    global cap_turns  # noqa: PLW0603
    cap_turns = WaitQueues()  # those who wait are the parent's
    _taken_for_fork.give_back()


at_fork(before=_before_fork, after_in_parent=_taken_for_fork.give_back, after_in_child=_after_fork_in_child)
