"""The memory of a million accounts with one limit each."""

from __future__ import annotations

import subprocess
import sys

from benchmarks.measuring import line

ACCOUNTS = 1_000_000
CODE = f"""
import resource
from budgeted.ledger.accounts import LimitSpec, user_account
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.limits.periods import NEVER
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
ledger = MemoryLedger()
for number in range({ACCOUNTS}):
    limit = LimitSpec("usd", 0, 10**9 + number, 0, NEVER, 0)
    ledger.set_limits(user_account(f"user-{{number}}"), [limit], explicit=True)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


def main() -> None:
    kilobytes = int(subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True).stdout)
    line(f"{ACCOUNTS:,} accounts with one limit each", f"{kilobytes / 1024:.0f} MB", "(aim: under 600)")
