"""Everything that a ledger knows, read at one instant: it fits together, goes into a file, and comes out as it was."""

from __future__ import annotations

import random
import threading
from pathlib import Path
from typing import Any

import pytest
from ledgers import ALICE, AT, BOB, calls, charge, check, give, hold, spent, tokens, usd

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger import backup_file
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.move_project import content as content_of
from budgeted.ledger.restore_backup import IN_FLIGHT, restore
from budgeted.ledger.spending_records import Used
from budgeted.ledger.verification import contradictions


def fill(ledger: Any) -> None:
    """Limits of every unit, charges, an uncertain one, and calls in flight."""
    give(ledger, GLOBAL, usd(10_000), calls(500))
    give(ledger, ALICE, usd(1000, "usd/month", AT - 5, AT + 100), tokens(500))
    give(ledger, BOB)
    for amount in range(1, 30):
        charge(ledger, amount, GLOBAL, ALICE, model=f"m{amount % 3}", day=20_000 + amount % 5)
    hold(ledger, 20, GLOBAL, ALICE, id="x.1")
    ledger.settle("x.1", Used(11, 3, 4), AT, "timed out")
    hold(ledger, 13, GLOBAL, BOB, id="x.2")


def taken(ledger: Any, file: Path) -> Any:
    """What a backup has of a ledger, by way of its file."""
    found = content_of(ledger)
    backup_file.write(file, backup_file.heading("p", found, AT), found)
    first, back = backup_file.read(file)
    assert (first.project, first.taken) == ("p", AT)
    assert back == found
    return back


def test_all_that_is_known_fits_together(ledger: Any) -> None:
    fill(ledger)
    found = ledger.everything()
    assert [*contradictions(found)] == []
    assert [(one.id, one.usd) for one in found.holds] == [("x.2", 13)]
    assert sorted(account.id for account in found.accounts) == [GLOBAL, ALICE, BOB]
    assert [one.id for one in found.charges] == ["x.1"]


def test_it_fits_together_at_every_instant_while_calls_go_on(ledger: Any) -> None:
    give(ledger, GLOBAL, usd(10**9))
    give(ledger, ALICE, usd(10**9))
    give(ledger, BOB, usd(10**9))
    enough = threading.Event()

    def call(name: str) -> None:
        while not enough.is_set():
            held = hold(ledger, 5, GLOBAL, name)
            ledger.settle(held.id, Used(3, 1, 1), AT, "nobody knows" if name == BOB else "")

    threads = [threading.Thread(target=call, args=(name,)) for name in (ALICE, ALICE, BOB)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(15):
            found = ledger.everything()
            assert [*contradictions(found)] == []
            by_name = {account.id: account.usd for account in found.accounts}
            assert by_name[GLOBAL] == by_name[ALICE] + by_name[BOB]
    finally:
        enough.set()
        for thread in threads:
            thread.join()


def test_a_backup_comes_out_of_its_file_as_it_was_and_goes_into_every_ledger(ledger: Any, tmp_path: Path) -> None:
    source = MemoryLedger()
    source.clock = lambda: 0.0
    fill(source)
    restore(taken(source, tmp_path / "backup"), ledger, taken=AT)
    assert spent(ledger) == spent(source) + 13  # of the call in flight
    assert spent(ledger, ALICE, "usd/month") == spent(source, ALICE, "usd/month")
    check(ledger)


def test_calls_that_were_in_flight_are_charged_and_settled_by_whoever_made_them(ledger: Any, tmp_path: Path) -> None:
    give(ledger, GLOBAL, usd(100))
    before = MemoryLedger()
    before.clock = lambda: 0.0
    give(before, GLOBAL, usd(100))
    charge(before, 30, GLOBAL)
    hold(before, 20, GLOBAL, id="x.9")
    restore(taken(before, tmp_path / "backup"), ledger, taken=AT, overwrite=True)
    assert [(one.id, one.reason) for one in ledger.uncertain()] == [("x.9", IN_FLIGHT)]
    assert ledger.settle("x.9", Used(7, 1, 1), AT)
    assert spent(ledger) == 37
    assert ledger.uncertain() == []
    check(ledger)


def test_a_restore_that_was_interrupted_is_done_again(tmp_path: Path) -> None:
    source = MemoryLedger()
    source.clock = lambda: 0.0
    fill(source)
    backup = taken(source, tmp_path / "backup")
    target = MemoryLedger()
    for _ in range(2):
        restore(backup, target, taken=AT)
    assert spent(target) == spent(source) + 13  # of the call in flight
    check(target)


def test_a_ledger_that_is_in_use_is_not_replaced_unasked(tmp_path: Path) -> None:
    source, target = MemoryLedger(), MemoryLedger()
    fill(source)
    give(target, ALICE, usd(5))
    charge(target, 5, ALICE)
    with pytest.raises(LedgerError, match="in use: 'alice'"):
        restore(taken(source, tmp_path / "backup"), target, taken=AT)


def test_no_file_is_replaced_and_none_is_left_half_written(tmp_path: Path) -> None:
    source = MemoryLedger()
    fill(source)
    file = tmp_path / "backup"
    taken(source, file)
    before = file.read_bytes()
    with pytest.raises(LedgerError, match="is there already"):
        taken(source, file)
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600
    with pytest.raises(LedgerError, match="cannot be written"):
        taken(source, tmp_path / "nowhere" / "backup")
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


def test_every_truncation_and_every_flipped_bit_of_a_backup_is_noticed(tmp_path: Path) -> None:
    source = MemoryLedger()
    fill(source)
    file = tmp_path / "backup"
    taken(source, file)
    whole = file.read_bytes()
    damaged = [whole[:size] for size in range(len(whole))]
    rng = random.Random(1)
    for _ in range(2000):
        at = rng.randrange(len(whole))
        damaged.append(whole[:at] + bytes([whole[at] ^ 1 << rng.randrange(8)]) + whole[at + 1 :])
    lines = whole.splitlines(keepends=True)
    damaged += [b"".join(lines[:n] + lines[n + 1 :]) for n in range(len(lines))]
    damaged += [b"".join([*lines[:n], lines[n + 1], lines[n], *lines[n + 2 :]]) for n in range(len(lines) - 1)]
    damaged += [whole + b"\n", whole + lines[-1], b"", bytes(len(whole))]
    for content in damaged:
        file.write_bytes(content)
        with pytest.raises((LedgerCorruptError, LedgerError)):
            backup_file.read(file)
