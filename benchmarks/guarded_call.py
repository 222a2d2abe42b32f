"""What a guarded call costs, in memory and on the journal, next to the least that anybody could do.

The call: a decorated completion function that returns an SDK-shaped response at once, charged to the global account and
a user's. The floor in memory: a lock, two accounts looked up, checked and added to, twice. The floor on disk: that, and
two encoded, CRC-checked lines of 120 bytes appended under two ``flock`` pairs.
"""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
import zlib
from types import SimpleNamespace
from typing import Any

import msgspec

from benchmarks.measuring import best, line
from budgeted import BudgetManager

PASSES = 20_000
MODEL = "gpt-4o-mini"
NANO_USD = 7_500
"""What a call costs: 14 tokens at $0.15 and 9 at $0.60 per million."""

MESSAGES = [{"role": "user", "content": "What is the capital of France?"}]


def response() -> Any:
    """Shaped like an SDK's answer."""
    usage = SimpleNamespace(
        prompt_tokens=14,
        completion_tokens=9,
        total_tokens=23,
        prompt_tokens_details=None,
        completion_tokens_details=None,
    )
    return SimpleNamespace(id=None, model=MODEL, usage=usage)


def guarded(manager: BudgetManager) -> Any:
    """A decorated completion function."""
    manager.set_limits("alice", 10**6)
    answer = response()

    @manager.budgeted("alice")
    def complete(model: str, messages: list[dict[str, str]], max_tokens: int | None = None) -> Any:
        return answer

    return complete


def check(manager: BudgetManager, complete: Any) -> None:
    """See that a call is charged what it costs, to both accounts, and that nothing of it stays held."""
    before = [manager.balance(account).spent for account in (None, "alice")]
    call_times(complete, 1)
    for account, spent in zip((None, "alice"), before, strict=True):
        balance = manager.balance(account)
        assert round((balance.spent - spent) * 1e9) == NANO_USD, balance
        assert balance.held == 0, balance


def call_times(complete: Any, times: int) -> None:
    """Call it so many times."""
    for _ in range(times):
        complete(MODEL, MESSAGES, max_tokens=100)


class Account:
    """Two numbers and a limit."""

    __slots__ = ("held", "limit", "spent")

    def __init__(self) -> None:
        self.limit, self.spent, self.held = 10**15, 0, 0


class Floor:
    """The least: hold on two accounts or none, settle on both."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.accounts = {"global": Account(), "alice": Account()}

    def hold(self, names: tuple[str, ...], amount: int) -> bool:
        with self.lock:
            for name in names:
                account = self.accounts[name]
                if account.spent + account.held + amount > account.limit:
                    return False
            for name in names:
                self.accounts[name].held += amount
        return True

    def settle(self, names: tuple[str, ...], amount: int, cost: int) -> None:
        with self.lock:
            for name in names:
                account = self.accounts[name]
                account.held -= amount
                account.spent += cost


class DiskFloor(Floor):
    """The same, each step with a checked line appended under the file's lock."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        self.encode = msgspec.json.Encoder().encode
        self.record = ("h", "0123456789.abcdef", 1_700_000_000, 100, 123456, 789, "x" * 62)

    def append(self) -> None:
        fcntl.flock(self.fd, fcntl.LOCK_EX)
        payload = self.encode(self.record)
        os.write(self.fd, b"%08x %b\n" % (zlib.crc32(payload), payload))
        fcntl.flock(self.fd, fcntl.LOCK_UN)


def floor_times(floor: Floor, times: int) -> None:
    names = ("global", "alice")
    for _ in range(times):
        floor.hold(names, 1000)
        floor.settle(names, 1000, 600)


def disk_floor_times(floor: DiskFloor, times: int) -> None:
    names = ("global", "alice")
    for _ in range(times):
        floor.hold(names, 1000)
        floor.append()
        floor.settle(names, 1000, 600)
        floor.append()


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        floor = best(lambda n: floor_times(Floor(), n), PASSES)
        disk_floor = best(lambda n: disk_floor_times(DiskFloor(f"{folder}/floor"), n), PASSES)
        with BudgetManager("memory", max_budget=10**6, ledger="memory://") as manager:
            complete = guarded(manager)
            check(manager, complete)
            memory = best(lambda n: call_times(complete, n), PASSES)
        with BudgetManager("journal", max_budget=10**6, ledger=folder) as manager:
            complete = guarded(manager)
            check(manager, complete)
            journal = best(lambda n: call_times(complete, n), PASSES)
    line("floor: lock and two conditional additions, twice", f"{floor:.2f} us")
    line("guarded call in memory", f"{memory:.2f} us", f"{memory / floor:.1f} times the floor (aim: below 6)")
    line("floor: and two checked appends under flock", f"{disk_floor:.2f} us")
    line(
        "guarded call on the journal",
        f"{journal:.2f} us",
        f"{journal / disk_floor:.1f} times the floor (aim: below 2.2)",
    )
