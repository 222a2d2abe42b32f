"""A million accounts: the memory that they take in a process, and how long a verb takes among them."""

from __future__ import annotations

import subprocess
import sys
import tempfile

from benchmarks.measuring import line

ACCOUNTS = 1_000_000

LIMITED = f"""
import resource
from budgeted.ledger.accounts import LimitSpec, user_account
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.limits.periods import NEVER
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ledger = MemoryLedger()
for number in range({ACCOUNTS}):
    limit = LimitSpec("usd", 0, 10**9 + number, 0, NEVER, 0)
    ledger.set_limits(user_account(f"user-{{number}}"), [limit], explicit=True)
last = ledger.read(user_account("user-{ACCOUNTS - 1}"))
assert last.slots[0].amount == 10**9 + {ACCOUNTS - 1}, last
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""

SERVED = f"""
import sys, time
from budgeted import BudgetManager, Usage, register_price
register_price("m", input=1, output=1)
manager = BudgetManager("growth", ledger=sys.argv[1], max_budget=10**6)
took = []
def timed(work):
    begun = time.perf_counter()
    work()
    took.append(time.perf_counter() - begun)
def serve(number):
    with manager.hold("m", "hello", 100, user=f"user-{{number:07}}") as hold:
        hold.settle(usage=Usage(5, 5))
for number in range({ACCOUNTS}):
    timed(lambda: serve(number))
assert manager.report(by="model")["m"].calls == {ACCOUNTS}
assert manager.balance().held == 0
calls = sorted(took)
took.clear()
for look in (
    manager.balance,
    lambda: manager.balance("user-0500000"),
    lambda: manager.accounts(after="user-0500000"),
    lambda: manager.report(by="model"),
    lambda: manager.set_limits("user-0500000", "$1/day"),
    lambda: manager.reset_cost("user-0500000"),
    lambda: manager.delete_user("user-0500000"),
    manager.uncertain,
):
    timed(look)
resident = int(open("/proc/self/statm").read().split()[1]) * 4096
print(resident, calls[-1], calls[len(calls) * 9999 // 10000], max(took))
manager.close()
"""

OPENED = """
import pathlib, sys, time
from budgeted.ledger.journal.ledger import JournalLedger
[lock] = pathlib.Path(sys.argv[1]).rglob("lock")
begun = time.perf_counter()
ledger = JournalLedger(lock.parent)
took = time.perf_counter() - begun
assert ledger.read("u:user-0499999").calls == 1
print(int(open("/proc/self/statm").read().split()[1]) * 4096, took)
"""


def run(program: str, *args: str) -> list[float]:
    """The numbers that a process of its own prints."""
    printed = subprocess.run([sys.executable, "-c", program, *args], capture_output=True, text=True, check=True)
    return [float(number) for number in printed.stdout.split()]


def main() -> None:
    [kilobytes] = run(LIMITED)
    line(f"{ACCOUNTS:,} accounts with one limit each", f"{kilobytes / 1024:.0f} MB", "(aim: under 600)")
    with tempfile.TemporaryDirectory() as folder:
        resident, longest, rare, look = run(SERVED, folder)
        line(f"{ACCOUNTS:,} users, a call of each", f"{resident / 2**20:.0f} MB", "resident (aim: under 600)")
        line(
            "the longest call, and of 9,999 in 10,000", f"{longest * 1e3:.1f} ms", f"and {rare * 1e3:.1f} ms (aim: 20)"
        )
        line("the longest other verb", f"{look * 1e3:.1f} ms", "(aim: under 20)")
        resident, seconds = run(OPENED, folder)
        line("opening their journal", f"{seconds:.1f} s", f"{resident / 2**20:.0f} MB resident afterwards")
