"""The file of an SQLite ledger: removed, replaced, cut off, an older copy, or one that an earlier version made."""

from __future__ import annotations

import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from ledgers import AT, charge, check, cost, give, held, hold, opened, route, spent, usd

from budgeted import BudgetManager
from budgeted.errors import LedgerCorruptError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "ledger.db"


def opened_at(file: Path) -> Any:
    return opened(f"sqlite:///{file}", "p")


@pytest.fixture
def ledger(file: Path) -> Iterator[Any]:
    """With a limit of $1, and a tenth of it spent."""
    made = opened_at(file)
    give(made, GLOBAL, usd(1000))
    charge(made, 100, GLOBAL)
    yield made
    made.close()


def beside(file: Path) -> list[Path]:
    """All files of the ledger."""
    return sorted(file.parent.glob(file.name + "*"))


def copied(file: Path) -> Callable[[], None]:
    """Copies of a ledger's files, which the result puts in their place."""
    away = file.parent / "away"
    away.mkdir()
    for one in beside(file):
        shutil.copy2(one, away)

    def put_back() -> None:
        for one in beside(file):
            one.unlink()
        for one in away.iterdir():
            shutil.copy2(one, file.parent)

    return put_back


# -- while it is open


def removed(file: Path) -> None:
    file.unlink()


def all_removed(file: Path) -> None:
    for one in beside(file):
        one.unlink()


def replaced_by_its_copy(file: Path) -> None:
    shutil.copy2(file, file.with_suffix(".copy"))
    file.with_suffix(".copy").replace(file)


def replaced_by_another(file: Path) -> None:
    other = SQLLedger(f"sqlite:///{file}.other", "p")
    give(other, GLOBAL, usd(10**9))
    other.close()
    Path(f"{file}.other").replace(file)


def replaced_by_a_folder(file: Path) -> None:
    file.unlink()
    file.mkdir()


def cut_off(file: Path) -> None:
    os.truncate(file, 4096)


def emptied(file: Path) -> None:
    os.truncate(file, 0)


def log_removed(file: Path) -> None:
    file.with_name(file.name + "-wal").unlink()


def log_replaced(file: Path) -> None:
    log_removed(file)
    file.with_name(file.name + "-wal").touch()


@pytest.mark.parametrize(
    "what",
    [
        removed,
        all_removed,
        replaced_by_its_copy,
        replaced_by_another,
        replaced_by_a_folder,
        cut_off,
        emptied,
        log_removed,
        log_replaced,
    ],
)
def test_calls_are_refused_as_soon_as_the_file_is_not_the_one_that_was_opened(
    file: Path, what: Callable[[Path], None]
) -> None:
    ledger = opened_at(file)
    give(ledger, GLOBAL, usd(1000))
    ledger.close()
    ledger = opened_at(file)
    where = route(ledger, GLOBAL)
    one = ledger.hold(ledger.new_id(), where, cost(100), AT)
    what(file)
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"the balances at .* are gone.* 1 hold of .*repair"):
            ledger.hold(ledger.new_id(), where, cost(1), AT)
        with pytest.raises(LedgerCorruptError):
            ledger.settle(one.id, Used(1), AT)
        with pytest.raises(LedgerCorruptError):
            ledger.read(GLOBAL)
    ledger.close()


def test_a_manager_does_not_go_on_without_limits(file: Path) -> None:
    manager = BudgetManager("p", ledger=f"sqlite:///{file}", max_budget=1)
    with manager.hold(cost=0.9) as call:
        call.settle(cost=0.9)
    all_removed(file)
    for _ in range(3):
        with pytest.raises(LedgerCorruptError):
            manager.hold(cost=0.9).__enter__()
    manager.close()


@pytest.mark.parametrize("what", [removed, all_removed, replaced_by_another])
def test_it_is_made_again_by_who_is_asked_to(ledger: Any, file: Path, what: Callable[[Path], None]) -> None:
    one = hold(ledger, 30, GLOBAL)
    what(file)
    with pytest.raises(LedgerCorruptError):
        ledger.settle(one.id, Used(20), AT)
    assert ledger.repair() > 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert ledger.settle(one.id, Used(20), AT)
    assert (spent(ledger), held(ledger)) == (120, 0)
    assert [slot.amount for slot in ledger.read(GLOBAL).slots] == [1000]
    check(ledger)
    again = opened_at(file)
    assert spent(again) == 120
    again.close()


def test_an_older_copy_in_its_place_is_made_good_by_who_is_asked_to(ledger: Any, file: Path) -> None:
    put_back = copied(file)
    charge(ledger, 200, GLOBAL)
    put_back()
    with pytest.raises(LedgerCorruptError, match="another file was put in the place of"):
        ledger.hold(ledger.new_id(), route(ledger, GLOBAL), cost(1), AT)
    assert ledger.repair() > 0
    assert spent(ledger) == 300


# -- when it is opened


def test_a_file_that_vanished_is_not_begun_anew(ledger: Any, file: Path) -> None:
    ledger.close()
    file.unlink()
    for _ in range(2):
        with pytest.raises(LedgerCorruptError, match=r"is gone, or was emptied, as ledger\.db\.budgeted_identity "):
            opened_at(file)
    assert not file.exists()
    with pytest.raises(LedgerCorruptError):
        BudgetManager("p", ledger=f"sqlite:///{file}")
    file.with_name("ledger.db.budgeted_identity").unlink()
    again = opened_at(file)
    assert again.read(GLOBAL) is None
    again.close()


def test_nor_is_one_of_which_only_the_log_is_left(ledger: Any, file: Path) -> None:
    file.unlink()
    file.with_name("ledger.db.budgeted_identity").unlink()
    with pytest.raises(LedgerCorruptError, match=r"is gone, as ledger\.db-wal beside it tells"):
        opened_at(file)


def test_nor_is_one_that_was_emptied(ledger: Any, file: Path) -> None:
    ledger.close()
    os.truncate(file, 0)
    with pytest.raises(LedgerCorruptError, match="was emptied"):
        opened_at(file)


def test_another_ledger_is_not_taken_for_it(ledger: Any, file: Path) -> None:
    ledger.close()
    replaced_by_another(file)
    with pytest.raises(LedgerCorruptError, match="is another one than was there before"):
        opened_at(file)


def test_nor_is_a_copy_from_before_it_was_opened_last(ledger: Any, file: Path) -> None:
    ledger.close()
    shutil.copy2(file, file.with_suffix(".copy"))
    again = opened_at(file)
    charge(again, 800, GLOBAL)
    again.close()
    file.with_suffix(".copy").replace(file)
    with pytest.raises(LedgerCorruptError, match="is an older copy: it was opened 1 times, and the ledger 2 times"):
        opened_at(file)


def test_a_file_that_was_moved_is_opened_where_it_is(ledger: Any, file: Path) -> None:
    ledger.close()
    there = file.with_name("there.db")
    file.rename(there)
    again = opened_at(there)
    assert spent(again) == 100
    again.close()


@pytest.mark.parametrize("content", [b"", b"not json", b"{}", b'{"identity": 1, "opened": "x"}'])
def test_a_trace_that_cannot_be_read_is_told(ledger: Any, file: Path, content: bytes) -> None:
    ledger.close()
    file.with_name("ledger.db.budgeted_identity").write_bytes(content)
    with pytest.raises(LedgerCorruptError, match="tells which ledger is beside it, and cannot be read"):
        opened_at(file)


def test_tables_of_another_prefix_begin_when_they_like(ledger: Any, file: Path) -> None:
    other = SQLLedger(f"sqlite:///{file}", "p", prefix="other_")
    give(other, GLOBAL, usd(5))
    other.close()
    assert spent(ledger) == 100
    assert {one.name for one in beside(file)} >= {"ledger.db.budgeted_identity", "ledger.db.other_identity"}


def test_nobody_else_may_read_the_trace(ledger: Any, file: Path) -> None:
    trace = file.with_name("ledger.db.budgeted_identity")
    assert stat.S_IMODE(trace.stat().st_mode) == 0o600
    assert json.loads(trace.read_text())["opened"] == 1


def test_the_file_of_an_engine_of_ones_own_is_looked_after_too(file: Path) -> None:
    engine = sa.create_engine(f"sqlite:///{file}")
    ledger = SQLLedger(engine, "p")
    give(ledger, GLOBAL, usd(10))
    where = route(ledger, GLOBAL)
    file.unlink()
    with pytest.raises(LedgerCorruptError, match="was removed"):
        ledger.hold(ledger.new_id(), where, cost(1), AT)
    ledger.close()
    engine.dispose()
    another = sa.create_engine(f"sqlite:///{file}")
    with pytest.raises(LedgerCorruptError, match="is gone"):
        SQLLedger(another, "p")
    another.dispose()


def test_an_engine_in_memory_leaves_no_trace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    engine = sa.create_engine("sqlite://", poolclass=sa.pool.StaticPool)
    ledger = SQLLedger(engine, "p")
    give(ledger, GLOBAL, usd(10))
    charge(ledger, 4, GLOBAL)
    assert spent(ledger) == 4
    ledger.close()
    engine.dispose()
    assert list(tmp_path.iterdir()) == []


# -- damage


def test_what_is_no_database_is_refused(ledger: Any, file: Path) -> None:
    ledger.close()
    file.write_bytes(b"\0" * 8192)
    with pytest.raises(LedgerCorruptError, match="is damaged"):
        opened_at(file)


def test_a_damaged_page_is_refused(ledger: Any, file: Path) -> None:
    ledger.close()
    content = bytearray(file.read_bytes())
    for page in range(4096, len(content), 4096):
        content[page : page + 64] = b"\xff" * 64
    file.write_bytes(content)
    with pytest.raises(LedgerCorruptError):
        opened_at(file)
