"""What a block may spend, what was spent in it and what is held: numbers of this process, under one lock."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence

import msgspec

from budgeted.errors import BudgetError
from budgeted.fork_locks import ForkLocks
from budgeted.ledger.accounts import USD, Slot, block_account
from budgeted.ledger.wait_queues import WaitQueues
from budgeted.limits.limit import Limit
from budgeted.money import to_usd
from budgeted.payers.cap_balances import CapBalance, balance_of
from budgeted.payers.cap_slots import NO_END, CapSlot, cap_slot
from budgeted.payers.cap_text import PLAIN, Cap
from budgeted.payers.on_exceed_policy import Policy
from budgeted.payers.payer_interface import Payer
from budgeted.payers.purpose_tags import Accounts
from budgeted.payers.repeated_requests import RepeatedRequests
from budgeted.system.forks import at_fork
from budgeted.validation import check_name, check_user, known_user
from budgeted.wire.normalized_request import Request

caps_lock = threading.Lock()
"""Guards the numbers of all blocks of this process: they are only ever touched for an instant."""


class SharedCaps:
    """How many caps without a key came to be shared with other processes: in most programs, none."""

    count = 0


shared_caps = SharedCaps()

cap_turns = WaitQueues()
"""The calls of this process that wait for a block's cap, whatever ledgers its calls hold at."""


class Reserving:
    """How many blocks came to set money aside in a ledger: in most programs, none."""

    count = 0


reserving = Reserving()


_USD_FOR_ALL = PLAIN.id


class Taken(msgspec.Struct, frozen=True, eq=False):
    """What a block has set aside, while it is open.

    Args:
        units: of the limits of its cap, as ledgers count.
        holds: the ids of the holds that have it, by payer.
        accounts: that it is set aside in.
        since: when that was, in unix seconds.
    """

    units: tuple[int, ...]
    holds: tuple[tuple[Payer, str], ...]
    accounts: frozenset[str] = frozenset()
    since: int = 0

    def at(self, payer: Payer) -> str:
        """The id of the hold that a payer's calls draw on; "" where there is none."""
        return next((id for who, id in self.holds if who is payer), "")


class BlockFigures:
    """Who pays for a block's calls, and its numbers. All figures are local to this object and process, in USD.

    Attributes:
        tags: the accounts of its tags.
        slot: what is spent and held in USD, and the cap in USD for all models, if there is one.
        more: the cap's other limits.
        checked: those of the cap's limits that are checked in this process; those of a keyed cap are in the ledger.
        shared: the account that the rest of a cap without a key is kept in, once other processes spend of it, too.
        refusals: the first refusal that was raised inside; None unless the block is to raise it again.
        taken: what it has set aside of the budgets around it; None for nothing.
        repeats: how often each request was made; None where that may be as often as anybody likes.
    """

    __slots__ = (
        "__weakref__",
        "_cap",
        "_policy",
        "account",
        "checked",
        "key",
        "more",
        "payer",
        "refusals",
        "repeats",
        "shared",
        "slot",
        "tags",
        "taken",
        "user",
    )

    def __init__(
        self,
        payer: Payer,
        user: str | None = None,
        cap: Cap | None = None,
        tags: Accounts = (),
        key: str | None = None,
        policy: Policy | None = None,
        repeat_limit: int | None = None,
    ) -> None:
        if user.__class__ is str:
            user = known_user(user)
        elif user is not None:
            user = str.__str__(check_user(user))  # of an enumeration's member, what it stands for
        self.user: str | None = user
        self.key = key
        if key is not None:
            check_name(key, "key")
        self.tags = tags
        self.payer = payer
        self._policy = policy
        self._cap = cap
        self.more: tuple[CapSlot, ...] = ()
        self.checked: tuple[CapSlot, ...] = ()
        self.account: str | None = None
        self.shared: str | None = None
        self.taken: Taken | None = None
        if cap is None:
            self.slot = CapSlot(_USD_FOR_ALL, USD, NO_END, 0, NO_END)
        else:
            self.slot = CapSlot(_USD_FOR_ALL, USD, NO_END if cap.usd is None else cap.usd, 0, NO_END)
            if cap.more:
                self.more = tuple(map(cap_slot, cap.more))
            if self.key is None:
                self.checked = self.slots if cap.more else (self.slot,)
            else:
                self.account = block_account(self.key)
        self.refusals: list[BudgetError] | None = None
        self.repeats: RepeatedRequests | None = None
        if repeat_limit is not None:
            self.repeats = RepeatedRequests(repeat_limit)

    def limit_to(self, usd: int) -> None:
        """Have a cap of so many nano-USD, from now on."""
        with caps_lock:
            self.slot.amount = self.slot.spent + usd
            self._cap = Cap(self.slot.amount)
            self.checked = (self.slot,)

    @property
    def slots(self) -> tuple[CapSlot, ...]:
        """The running numbers of the cap's limits, in the order that they were written in."""
        cap = self._cap
        if cap is None or cap.usd is None:
            return self.more
        return (*self.more[: cap.at], self.slot, *self.more[cap.at :]) if self.more else (self.slot,)

    @property
    def limits(self) -> tuple[Limit, ...]:
        """The cap's limits; none without a cap."""
        return () if self._cap is None else self._cap.limits

    @property
    def _tightest(self) -> CapSlot | None:
        """The limit in USD that has the least left."""
        return min((slot for slot in self.slots if slot.unit == USD), key=lambda slot: slot.left, default=None)

    def limits_usd(self, request: Request) -> bool:
        """Whether the cap limits what such a call may cost."""
        return any(slot.unit == USD and slot.counts(request) for slot in self.slots)

    @property
    def cap(self) -> float | None:
        """The block's own limit in USD, of several the one with the least left; None without one."""
        slot = self._tightest
        return None if slot is None else to_usd(slot.amount)

    @property
    def spent(self) -> float:
        """USD charged inside so far."""
        return to_usd(self.slot.spent)

    @property
    def held(self) -> float:
        """USD set aside for calls in flight, and for blocks inside that have a part of the cap to themselves."""
        return to_usd(self.slot.on_hold)

    @property
    def remaining(self) -> float | None:
        """USD left of the cap, or None without a limit in USD."""
        slot = self._tightest
        return None if slot is None else to_usd(slot.left)

    @property
    def balances(self) -> list[CapBalance]:
        """What is left of each limit of the cap, in the order that they were written in; none without a cap."""
        return list(map(balance_of, self.slots))

    @property
    def calls(self) -> int:
        """Calls that were sent."""
        return self.slot.ended

    @property
    def refused(self) -> int:
        """Calls that were refused."""
        return self.slot.refused

    @property
    def clamped(self) -> int:
        """Calls whose output was capped so that they fit."""
        return self.slot.clamped

    # What the calls inside report, under caps_lock.

    @property
    def queue(self) -> str:
        """Where calls wait for the cap; each block has a queue of its own, as others end nothing that is waited for."""
        return f"cap of {id(self)}"

    def learn(self, slots: Sequence[Slot]) -> None:
        """Learn what the ledger has taken of the cap: spent and held, by whomever.

        Args:
            slots: its limits there, in their present periods.
        """
        found = {slot.limit: slot for slot in slots}
        for mine in self.slots:
            if mine.limit in found:
                mine.learn(found[mine.limit], shared=self.shared is not None)

    @property
    def name(self) -> str:
        """What people know the block by."""
        return self.key or self.user or "cap"

    @property
    def soft(self) -> bool:
        """Whether the cap only counts."""
        return (self._policy or self.payer.policy).on_exceed == "warn"

    @property
    def policy(self) -> Policy:
        """What happens when the cap has no room."""
        return self._policy or self.payer.policy

    def share(self, seconds: float = -1) -> None:
        """Keep what is left of a cap without a key in an account of the ledger, for other processes to spend of it.

        What was spent and is held by now is not in that account: it is no part of what is left.

        Args:
            seconds: to wait for the lock at most; -1 for as long as it takes.
        """
        if not self.checked or not caps_lock.acquire(timeout=seconds):
            return
        try:
            if self.shared is None:
                for slot in self.checked:
                    slot.share()
                # Twice: who has looked in between looks again, and a signal's handler that raises leaves no 0 behind.
                shared_caps.count += 1
                self.shared = block_account(f"shared-{secrets.token_hex(8)}")
                shared_caps.count += 1
        finally:
            caps_lock.release()

    @property
    def kept(self) -> tuple[str, tuple[Limit, ...]] | None:
        """The account that the cap is kept in and what that has of it; None where the ledger has no part."""
        if self.shared is not None:
            return self.shared, tuple(
                limit.with_amount(slot.rest) for limit, slot in zip(self.limits, self.slots, strict=True)
            )
        return None if self.account is None else (self.account, self.limits)

    def count(self, *, refused: int = 0, clamped: int = 0) -> None:
        """Count a call's fate."""
        self.slot.refused += refused
        self.slot.clamped += clamped

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
