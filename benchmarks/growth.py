"""How the cost of a guarded call in memory grows: with its input, with the users, with limits and blocks.

Each kind of call is taken in turn with the usual one, of one user with one short message, as the machine's speed
changes from one second to the next: the times beside it say more than the microseconds.
"""

from __future__ import annotations

import contextlib
import itertools
import time
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from benchmarks.guarded_call import MESSAGES, MODEL, NANO_USD, response
from benchmarks.measuring import line
from budgeted import BudgetExceededError, BudgetManager

USERS = 100_000
IN_FLIGHT = 1_000
ROUNDS = 5
Messages = Sequence[dict[str, Any]]

LIMITS = tuple(
    f"{unit}/{period}" for unit in ("$900000", "9000000000 tokens") for period in ("hour", "day", "week", "month")
)
"""Eight of them, which nobody reaches."""


class Caller:
    """A function whose calls cost nothing but what guarding them does."""

    def __init__(self, manager: BudgetManager) -> None:
        answer = response()

        @manager.budgeted(user=lambda *_, user, **__: user)
        def complete(model: str, messages: Messages, max_tokens: int, *, user: str) -> Any:
            return answer

        self._complete = complete

    def of(self, user: str, messages: Messages = MESSAGES) -> None:
        """One call of a user."""
        self._complete(MODEL, messages, max_tokens=100, user=user)

    def refused(self, user: str) -> None:
        """One call that there is no room for."""
        try:
            self.of(user)
        except BudgetExceededError:
            return
        raise AssertionError(user)


def seconds_of(work: Callable[[], object], passes: int) -> float:
    """CPU seconds of one pass of this thread."""
    begun = time.thread_time()
    for _ in range(passes):
        work()
    return (time.thread_time() - begun) / passes


def compare(what: str, usual: Callable[[], object], work: Callable[[], object], passes: int, aim: str = "") -> None:
    """Print what one pass takes, and how many times the usual call, in the best of rounds taken in turn."""
    work()
    rounds = [(seconds_of(usual, passes), seconds_of(work, passes)) for _ in range(ROUNDS)]
    least, mine = (min(column) for column in zip(*rounds, strict=True))
    note = f"{mine / least:.2f} times one user's usual call"
    line(what, f"{mine * 1e6:.1f} us", f"{note} (aim: {aim})" if aim else note)


def said(characters: int, letter: str = "a") -> Messages:
    """One message of so many characters."""
    return [{"role": "user", "content": letter * characters}]


def main() -> None:
    with BudgetManager("growth", max_budget=10**6, ledger="memory://", default_user_limits="$5/day") as manager:
        caller = Caller(manager)
        manager.set_limits("alice", 10**6)
        manager.set_limits("broke", "$0.000000001")

        def usual() -> None:
            caller.of("alice")

        usual()
        assert round(manager.balance("alice").spent * 1e9) == NANO_USD
        by_users(manager, caller, usual)
        compare("a refused call", usual, partial(caller.refused, "broke"), 300, "below 1")
        by_input(caller, usual)
        by_limits(manager, caller, usual)
        by_blocks(manager, caller, usual)


def by_users(manager: BudgetManager, caller: Caller, usual: Callable[[], object]) -> None:
    """The first call of many users, and later ones in turn."""
    new = map("user-{:06}".format, itertools.count())
    passes = USERS // (ROUNDS + 1)

    def first() -> None:
        caller.of(next(new))

    compare("a user's first call", usual, first, passes, "40 us")
    with contextlib.ExitStack() as stack:
        for _ in range(IN_FLIGHT):
            stack.enter_context(manager.hold(cost=0.01, user="alice"))
        compare(f"the same, {IN_FLIGHT:,} calls in flight", usual, first, 300)
    known = itertools.cycle([f"user-{number:06}" for number in range(USERS - USERS // 10)])
    compare(f"one of {USERS:,} users, in turn", usual, lambda: caller.of(next(known)), passes, "1.5 times")


def by_input(caller: Caller, usual: Callable[[], object]) -> None:
    """Longer and longer prompts, and many short ones."""
    for letter, kind in (("a", "ASCII"), ("\u00e9", "other letters")):
        for size in (10_000, 100_000, 1_000_000):
            messages = said(size, letter)
            compare(f"a prompt of {size:,} characters, {kind}", usual, partial(caller.of, "alice", messages), 100)
    many = [{"role": "user" if i % 2 else "assistant", "content": f"message {i}"} for i in range(1000)]
    compare("a prompt of 1,000 messages", usual, partial(caller.of, "alice", many), 100, "60 us")


def by_limits(manager: BudgetManager, caller: Caller, usual: Callable[[], object]) -> None:
    """A user with more and more limits."""
    for count in (1, 2, 4, 8):
        user = f"limits-{count}"
        manager.set_limits(user, *LIMITS[:count])
        compare(f"a user with {count} limits", usual, partial(caller.of, user), 1000)


def by_blocks(manager: BudgetManager, caller: Caller, usual: Callable[[], object]) -> None:
    """A call inside more and more blocks."""
    for depth in (1, 2, 5):
        with contextlib.ExitStack() as stack:
            for level in range(depth):
                stack.enter_context(manager.budget(cap=1000 + level))
            compare(f"a call in {depth} nested blocks", usual, usual, 1000)
