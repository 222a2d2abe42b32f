"""A million journal lines read back, next to decoding and checking them alone."""

from __future__ import annotations

import tempfile
import time
import zlib
from pathlib import Path

from benchmarks.guarded_call import NANO_USD, call_times, guarded
from benchmarks.measuring import line
from budgeted import BudgetManager
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import checked_lines
from budgeted.ledger.journal import ledger as journal

LINES = 1_000_000


def main() -> None:
    rotate, journal.ROTATE_LINES = journal.ROTATE_LINES, 10 * LINES
    try:
        with tempfile.TemporaryDirectory() as folder:
            with BudgetManager("recovery", max_budget=10**6, ledger=folder) as manager:
                call_times(guarded(manager), LINES // 2)
            [path] = Path(folder).rglob("journal-*")
            floor, recovered = map(min, zip(*((checked(path), opened(path)) for _ in range(3)), strict=True))
    finally:
        journal.ROTATE_LINES = rotate
    line(f"decoding and checking {LINES:,} lines", f"{floor:.2f} s")
    line("opening the ledger", f"{recovered:.2f} s", f"{recovered / floor:.2f} times that (aim: below 2.5)")


def checked(path: Path) -> float:
    """Seconds to decode the lines of a file, each checked."""
    started = time.perf_counter()
    crc = 0
    with path.open("rb") as lines:
        for text in lines:
            payload = text[9:-1]
            crc = zlib.crc32(payload, crc)
            assert int(text[:8], 16) == crc
            checked_lines.decode(payload)
    return time.perf_counter() - started


def opened(path: Path) -> float:
    """Seconds to open a ledger."""
    started = time.perf_counter()
    ledger = journal.JournalLedger(path.parent)
    seconds = time.perf_counter() - started
    account = ledger.read(GLOBAL)
    ledger.close()
    assert account is not None
    assert account.usd == LINES // 2 * NANO_USD, account
    return seconds
