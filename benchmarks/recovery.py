"""A million journal lines read back, next to decoding and checking them alone."""

from __future__ import annotations

import tempfile
import time
from pathlib import Path

from benchmarks.guarded_call import call_times, guarded
from benchmarks.measuring import line
from budgeted import BudgetManager
from budgeted.ledger import segments
from budgeted.ledger.journal import JournalLedger

LINES = 1_000_000


def main() -> None:
    rotate, JournalLedger.rotate_lines = JournalLedger.rotate_lines, 10 * LINES
    try:
        with tempfile.TemporaryDirectory() as folder:
            with BudgetManager("recovery", max_budget=10**6, ledger=folder) as manager:
                call_times(guarded(manager), LINES // 2)
            path = next(Path(folder).rglob("journal-*"))
            data = path.read_bytes()
            floor = min(checked(data, path) for _ in range(2))
            recovered = min(reopened(folder) for _ in range(2))
    finally:
        JournalLedger.rotate_lines = rotate
    line(f"decoding and checking {LINES:,} lines", f"{floor:.2f} s")
    line("opening the ledger", f"{recovered:.2f} s", f"{recovered / floor:.2f} times that (aim: below 2.5)")


def checked(data: bytes, path: Path) -> float:
    started = time.perf_counter()
    for _ in segments.records(data, 0, path, 0):
        pass
    return time.perf_counter() - started


def reopened(folder: str) -> float:
    started = time.perf_counter()
    with BudgetManager("recovery", ledger=folder) as manager:
        manager.balance()
        return time.perf_counter() - started
