"""The file in which charges wait for their ledger: whole, private, and posted exactly once, however processes end."""

from __future__ import annotations

import logging
import os
import random
import stat
from pathlib import Path

import pytest
from forking import forked
from ledgers import finish, python, together

from budgeted import BudgetManager
from budgeted.ledger.spending_records import Used
from budgeted.ledger.spill_file import FOLDER, Found, Progress, SpillFile, Unposted
from budgeted.metering.ledger_hold import MAY_REPEAT

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@pytest.fixture
def where(tmp_path: Path) -> Path:
    return tmp_path / "spend"


@pytest.fixture
def file(budgeted_home: Path, where: Path) -> SpillFile:
    """The file of the project "p" and its ledger."""
    return SpillFile(budgeted_home, "p", str(where / "p"))


def charges(count: int, first: int = 0) -> list[Unposted]:
    return [Unposted(f"x.{n}", ("g", "u:al\nice"), "p", "m", 1, Used(10**6)) for n in range(first, first + count)]


def spent(where: Path) -> float:
    with BudgetManager("p", ledger=where) as manager:
        return manager.balance().spent


def test_lines_are_read_as_they_were_written(file: SpillFile) -> None:
    file.append(charges(2))
    file.append(charges(1, 2))
    assert list(file.read().waiting.values()) == charges(3)
    assert stat.S_IMODE(file.path.stat().st_mode) == 0o600


def test_what_was_taken_goes_and_what_came_meanwhile_stays(file: SpillFile) -> None:
    file.append(charges(3))
    with file.taken_up(0) as mine:
        assert mine
        found = file.read()
        file.append([Progress((0,), tuple(found.waiting)[1:])])
        file.append(charges(1, 3))
        assert [one.doubtful for one in file.read().waiting.values()] == [True, True, False]
        file.finish(found, charges(1, 2))
    assert list(file.read().waiting.values()) == charges(2, 2)
    with file.taken_up(0):
        file.finish(file.read(), [])
    assert not file.exists()
    assert file.read() == Found({})


def test_one_at_a_time_takes_charges_up(file: SpillFile) -> None:
    file.append(charges(1))
    with file.taken_up(0) as mine:
        with file.taken_up(0) as again:
            assert (mine, again) == (True, False)
        assert forked(lambda: _taken(file)) == "False"
    assert forked(lambda: _taken(file)) == "True"


def _taken(file: SpillFile) -> bool:
    with file.taken_up(0) as mine:
        return mine


def test_a_forked_child_keeps_no_lock_for_its_parent(file: SpillFile) -> None:
    file.append(charges(1))
    receiving, sending = os.pipe()
    with file.taken_up(0):
        pid = os.fork()
        if not pid:
            os.close(sending)
            os.read(receiving, 1)  # lives on until the parent closes its end
            os._exit(0)
    try:
        with file.taken_up(0) as mine:
            assert mine
    finally:
        os.close(sending)
        os.waitpid(pid, 0)
        os.close(receiving)


@pytest.mark.parametrize("cut", range(0, 120, 7))
def test_whoever_dies_while_writing_spoils_no_other_line(
    file: SpillFile, where: Path, cut: int, caplog: pytest.LogCaptureFixture
) -> None:
    file.append(charges(1))
    size = file.path.stat().st_size
    file.append(charges(1, 1))
    os.truncate(file.path, size + min(cut, file.path.stat().st_size - size - 1))
    torn = file.path.stat().st_size - size
    if cut % 2:
        file.append(charges(2, 2))
    others = charges(2 * (cut % 2), 2)
    assert list(file.read().waiting.values()) == [*charges(1), *others]
    assert spent(where) == (1 + len(others)) / 1000
    assert not file.exists()
    assert file.damaged.exists() == bool(torn)
    assert any("are damaged" in one.getMessage() for one in caplog.records) == bool(torn)


def test_no_damage_is_taken_for_a_charge_or_goes_untold(
    file: SpillFile, where: Path, caplog: pytest.LogCaptureFixture
) -> None:
    chance = random.Random(7)
    file.append(charges(5))
    whole = file.path.read_bytes()
    for _ in range(200):
        place, bit = chance.randrange(len(whole)), 1 << chance.randrange(8)
        file.path.write_bytes(whole[:place] + bytes([whole[place] ^ bit]) + whole[place + 1 :])
        found = file.read()
        assert set(found.waiting.values()) <= set(charges(5))
        assert len(found.waiting) >= 3
        assert found.damaged or len(found.waiting) == 5
    assert spent(where) == len(found.waiting) / 1000
    assert [one.levelno for one in caplog.records if "damaged" in one.getMessage()] == [logging.ERROR]
    assert file.damaged.read_bytes()
    assert stat.S_IMODE(file.damaged.stat().st_mode) == 0o600


def test_no_link_is_followed(file: SpillFile, budgeted_home: Path, tmp_path: Path) -> None:
    file.append(charges(1))
    file.path.rename(tmp_path / "elsewhere")
    file.path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        file.append(charges(1, 1))
    file.path.unlink()
    (budgeted_home / FOLDER).rename(tmp_path / "folder")
    (budgeted_home / FOLDER).symlink_to(tmp_path / "folder")
    with pytest.raises(OSError, match="symbolic links"):
        file.append(charges(1, 1))


def test_a_disk_that_takes_a_part_of_a_line_keeps_none_of_it(file: SpillFile, monkeypatch: pytest.MonkeyPatch) -> None:
    file.append(charges(1))
    before, write = file.path.read_bytes(), os.write
    with monkeypatch.context() as full:
        full.setattr(os, "write", lambda fd, data: write(fd, data[:20]))
        with pytest.raises(OSError, match="No space"):
            file.append(charges(1, 1))
    assert file.path.read_bytes() == before


DIED = 7
STEPS = ("append", "settle", "post", "finish", "unlink")


@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("count", [1, 2])
def test_a_process_that_dies_over_posting_has_nothing_posted_twice(
    file: SpillFile, where: Path, step: str, count: int
) -> None:
    """Killed before and behind each step, again and again, until one comes through."""
    BudgetManager("p", max_budget=10, ledger=where).close()
    file.append(charges(3))
    died: list[int] = []
    for when in ("before", "behind"):
        with python(_DIES, where, step, when, count, os.environ["BUDGETED_HOME"]) as process:
            died.append(process.wait())
    assert died[0] == (DIED if count == 1 or step in ("settle", "post", "unlink") else 0)
    assert spent(where) == 0.003
    assert not file.exists()
    with BudgetManager("p", ledger=where) as manager:  # nobody knows whether the ledger has taken and forgotten them
        assert {one.reason for one in manager.uncertain()} <= {MAY_REPEAT}


_DIES = """
    import os, sys
    from pathlib import Path
    from budgeted import BudgetManager
    from budgeted.ledger.journal.ledger import JournalLedger
    from budgeted.ledger.spill_file import SpillFile
    where, step, when, count, home = sys.argv[1:]
    os.environ["BUDGETED_HOME"] = home
    owner = {"append": SpillFile, "finish": SpillFile, "settle": JournalLedger, "post": JournalLedger, "unlink": Path}
    real, left = getattr(owner[step], step), int(count)

    def dying(self, *args, **more):
        global left
        left -= 1
        if not left and when == "before":
            os._exit(7)
        result = real(self, *args, **more)
        if not left:
            os._exit(7)
        return result

    setattr(owner[step], step, dying)
    BudgetManager("p", ledger=where).close()
"""


@pytest.mark.slow
@pytest.mark.parametrize("remembered", [10_000, 3])
def test_a_charge_that_a_dead_process_may_have_posted_is_listed_if_the_ledger_has_forgotten_it(
    file: SpillFile, where: Path, remembered: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("budgeted.ledger.memory.ended_holds.REMEMBERED", remembered)
    BudgetManager("p", max_budget=10, ledger=where).close()
    file.append(charges(1))
    with python(_DIES, where, "finish", "before", 1, os.environ["BUDGETED_HOME"]) as process:
        process.wait()
    with monkeypatch.context() as elsewhere:
        elsewhere.setenv("BUDGETED_HOME", str(tmp_path / "another"))
        with BudgetManager("p", ledger=where) as manager:
            for _ in range(10):
                with manager.hold(cost=1) as held:
                    held.settle(cost=0)
    with BudgetManager("p", ledger=where) as manager:
        uncertain = [(one.id, one.cost) for one in manager.uncertain()]
        assert uncertain == ([("x.0", 0.001)] if remembered == 3 else [])
        assert manager.balance().spent == (0.002 if remembered == 3 else 0.001)


@pytest.mark.slow
def test_processes_that_take_up_at_once_post_each_charge_once(file: SpillFile, where: Path) -> None:
    BudgetManager("p", max_budget=10, ledger=where).close()
    file.append(charges(500))
    processes = [python(_TAKES_UP, where, number, os.environ["BUDGETED_HOME"]) for number in range(4)]
    together(*processes)
    finish(*processes)
    assert spent(where) == 0.5 + 4 * 50 / 1000
    assert not file.exists()


_TAKES_UP = """
    import os, sys
    from pathlib import Path
    from budgeted import BudgetManager
    from budgeted.ledger.spill_file import SpillFile, Unposted
    from budgeted.ledger.spending_records import Used
    where, number, home = sys.argv[1:]
    os.environ["BUDGETED_HOME"] = home
    file = SpillFile(Path(home), "p", os.path.join(where, "p"))
    print("ready", flush=True)
    sys.stdin.readline()
    for n in range(50):
        file.append([Unposted(f"y{number}.{n}", ("g",), "p", "m", 1, Used(10**6))])
        if not n % 10:
            BudgetManager("p", ledger=where).close()
    BudgetManager("p", ledger=where).close()
    print("done")
"""
