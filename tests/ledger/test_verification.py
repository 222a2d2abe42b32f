"""Whether a ledger is whole: asked by a command, which changes nothing and says so to scripts."""

from __future__ import annotations

import json
import os
import re
import shlex
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from clocks import Clock
from ledgers import ALICE, AT, charge, give, hold, spent, usd

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.errors import LedgerCorruptError
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.journal import segment_files, snapshot_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.opening import open_ledger
from budgeted.ledger.spending_records import Used
from budgeted.ledger.verification import contradictions


def run(*arguments: object) -> Result:
    return CliRunner().invoke(budgeted, list(map(str, arguments)))


def use(ledger: Any) -> None:
    """Some of everything, and a call in flight."""
    ledger.clock = lambda: 0.0
    ledger.renew("x", 3600)
    give(ledger, GLOBAL, usd(1000))
    give(ledger, ALICE, usd(1000))
    for amount in range(1, 9):
        charge(ledger, amount, GLOBAL, ALICE, model=f"m{amount % 3}")
    hold(ledger, 20, GLOBAL, ALICE, id="x.1")
    ledger.settle("x.1", Used(11, 3, 4), AT, "timed out")
    hold(ledger, 13, GLOBAL, id="x.2")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Where a ledger is that is closed again, in two segments."""
    made = open_ledger(tmp_path / "here", "p", fsync="background")
    assert isinstance(made, JournalLedger)
    use(made)
    made._rotate_at = 0
    charge(made, 1, GLOBAL)
    made.flush()
    charge(made, 2, GLOBAL)
    made.close()
    assert segment_files.numbers(tmp_path / "here" / "p", "journal") == [1, 2]
    return tmp_path / "here"


def files(directory: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.iterdir() if path.is_file()}


def test_every_ledger_is_found_whole_backed_up_and_restored(
    place: tuple[str, str], shared: Any, tmp_path: Path
) -> None:
    use(shared)
    where, project = place
    verified = run("verify", "--ledger", where, "--project", project)
    assert (verified.exit_code, verified.output.count("is whole: 2 accounts")) == (0, 1), verified.output
    file = tmp_path / "file"
    saved = run("backup", file, "--ledger", where, "--project", project)
    assert (saved.exit_code, saved.output.count("1 calls in flight. Checked")) == (0, 1), saved.output
    back = run("restore", file, "--ledger", where, "--project", f"{project}-2")
    assert (back.exit_code, back.output.count("2 uncertain charges, 0 calls in flight. Checked")) == (0, 1), back.output
    verified = run("verify", "--ledger", where, "--project", f"{project}-2")
    assert (verified.exit_code, verified.output.count("is whole: 2 accounts")) == (0, 1), verified.output


def test_a_directory_is_read_in_use_and_not_changed(root: Path) -> None:
    opened = open_ledger(root, "p", fsync="background")
    hold(opened, 5, GLOBAL)
    before = files(root / "p")
    found = run("verify", "--ledger", root, "--project", "p")
    assert (found.exit_code, found.output.count("in 3 files")) == (0, 1), found.output
    after = files(root / "p")
    assert after.pop("lock") is not None
    assert before.pop("lock") is not None
    assert after == before
    opened.close()


@pytest.mark.parametrize("name", ["journal-00000001", "journal-00000002", "snapshot-00000002"])
def test_a_damaged_file_is_named_and_the_exit_code_says_so(root: Path, name: str) -> None:
    path = root / "p" / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    found = run("verify", "--ledger", root, "--project", "p")
    assert found.exit_code == 3
    assert name in found.output


def test_a_snapshot_that_tells_something_else_than_the_files_before_it_is_named(root: Path) -> None:
    path = root / "p" / "snapshot-00000002"
    origin, _ = snapshot_files.read_snapshot(root / "p", 2)
    _, _, state = path.read_bytes().replace(b'"usd",0,1000', b'"usd",0,2000').partition(b"\n")
    path.unlink()
    snapshot_files.write_snapshot(root / "p", 2, [state], origin)
    found = run("verify", "--ledger", root, "--project", "p")
    assert found.exit_code == 3
    assert "does not tell what the files before it do" in found.output


def test_a_journal_that_is_shorter_than_was_acknowledged_is_named(root: Path) -> None:
    path = root / "p" / "journal-00000002"
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:-1]))
    found = run("verify", "--ledger", root, "--project", "p")
    assert found.exit_code == 3
    assert f"{len(lines[-1])} bytes" in found.output


def test_sums_that_do_not_fit_together_are_named(ledger: Any) -> None:
    use(ledger)
    found = ledger.everything()
    assert [*contradictions(found)] == []
    found.accounts[0].held += 1
    found.accounts[0].slots[0].held += 2
    found.rows[0].uncertain += 3
    found.accounts[1].usd = -1
    texts = [*contradictions(found)]
    assert len(texts) == 4, texts


def test_what_is_not_there_is_not_made(tmp_path: Path) -> None:
    for command in (["verify"], ["backup", tmp_path / "file"]):
        found = run(*command, "--ledger", tmp_path / "nowhere", "--project", "p")
        assert (found.exit_code, "there is no project 'p'" in found.output) == (1, True)
    assert os.listdir(tmp_path) == []


def test_what_an_error_says_to_type_repairs_the_ledger(root: Path) -> None:
    path = root / "p" / "journal-00000002"
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)
    with pytest.raises(LedgerCorruptError) as error:
        open_ledger(root, "p", fsync="background")
    command = re.search(r"`budgeted (.*)`", str(error.value))
    assert command is not None
    done = run(*shlex.split(command[1]))
    assert (done.exit_code, done.output.count("set aside")) == (0, 2), done.output
    assert run("verify", "--ledger", root, "--project", "p").exit_code == 0
    assert "nothing is wrong" in run("repair", "--ledger", root, "--project", "p").output
    open_ledger(root, "p", fsync="background").close()


def test_a_ledger_whose_lock_file_was_removed_is_found_and_repaired(root: Path) -> None:
    (root / "p" / "lock").unlink()
    found = run("verify", "--ledger", root, "--project", "p")
    assert (found.exit_code, "lock is missing" in found.output) == (3, True), found.output
    assert run("repair", "--ledger", root, "--project", "p").exit_code == 0
    assert run("verify", "--ledger", root, "--project", "p").exit_code == 0
    assert spent(open_ledger(root, "p", fsync="background")) > 0


def test_a_ledger_of_which_nothing_is_left_is_begun_anew_only_if_that_is_said(root: Path) -> None:
    for path in (root / "p").glob("*-0*"):
        path.unlink()
    refused = run("repair", "--ledger", root, "--project", "p")
    assert (refused.exit_code, "--anew" in refused.output) == (1, True), refused.output
    done = run("repair", "--ledger", root, "--project", "p", "--anew")
    assert (done.exit_code, "limits have to be set again" in done.output) == (0, True), done.output


def test_every_ledger_is_told_when_nothing_is_wrong(place: tuple[str, str], shared: Any) -> None:
    use(shared)
    where, project = place
    done = run("repair", "--ledger", where, "--project", project)
    assert (done.exit_code, done.output) == (0, f"nothing is wrong with {project}\n")


def test_periods_that_a_wrong_clock_has_begun_are_brought_back(tmp_path: Path) -> None:
    where = tmp_path / "here"
    wrong = Clock(time.time() + 400 * 86_400)
    manager = BudgetManager("p", ledger=where, max_budget=1, duration="daily", clock=wrong)
    with manager.budget("alice"), manager.hold(cost=0.4) as held:
        held.settle(cost=0.4)
    manager.close()
    told = run("repair", "--period", "--ledger", where, "--project", "p")
    assert (told.exit_code, told.output) == (0, "1 limits count in the present period again\n")
    assert json.loads(run("balance", "--ledger", where, "--project", "p", "--json").output)[0]["spent"] == 0.4
