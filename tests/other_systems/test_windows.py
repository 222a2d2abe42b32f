"""The package where nothing forks, and where nobody can remove, rename or replace a file that somebody has open."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import windows

from budgeted import BudgetManager
from budgeted.ledger.journal import segment_files

TESTS = Path(__file__).parents[1]


def test_every_module_is_imported(tmp_path: Path) -> None:
    code = """
        import importlib, pkgutil, sys
        import budgeted
        for module in pkgutil.walk_packages(budgeted.__path__, "budgeted."):
            if not module.name.endswith(("__main__", "system.posix", "worker_processes")):
                importlib.import_module(module.name)
        print(sys.platform)
    """
    imports = f"{windows.IMPORTS} uvicorn starlette redis psycopg celery.signals"
    assert windows.printed(code, tmp_path, STAND_IN_IMPORTS=imports) == ["win32"]


def test_calls_of_an_sdk_are_paid_for_and_refused_on_every_ledger_of_one_host(tmp_path: Path) -> None:
    code = """
        import sys
        import openai
        from budgeted import BudgetExceededError, BudgetManager, budget
        from budgeted.testing import SimulatedProvider

        with SimulatedProvider() as provider, openai.OpenAI(base_url=provider.openai_url, api_key="-") as client:
            for ledger in ("memory://", sys.argv[1], f"sqlite:///{sys.argv[1]}.db"):
                with BudgetManager("p", ledger=ledger, max_budget="2 calls", wait=0) as manager:
                    try:
                        for _ in range(3):
                            with manager.budget("alice"):
                                client.chat.completions.create(
                                    model="gpt-4o-mini", messages=[{"role": "user", "content": "hi"}]
                                )
                    except BudgetExceededError as error:
                        print(error.reason, manager.balances(None)[0].spent)
    """
    assert windows.printed(code, tmp_path, str(tmp_path / "a"), STAND_IN_IMPORTS=windows.IMPORTS) == ["spent 2"] * 3


CALLER = """
    import sys
    from budgeted import BudgetExceededError, BudgetManager

    manager = BudgetManager("p", ledger=sys.argv[1], wait=0)
    print("ready", flush=True)
    sys.stdin.readline()
    try:
        while True:
            with manager.hold(cost="0.001", user="alice") as held:
                held.settle(cost="0.001")
            print("paid", flush=True)
    except BudgetExceededError:
        pass
"""


@pytest.mark.slow
def test_processes_that_race_and_are_killed_never_pass_the_limit(tmp_path: Path) -> None:
    """Whoever is killed leaves at most its hold behind, and what was acknowledged is not forgotten."""
    where = tmp_path / "ledger"
    limit, paid = 400, 0
    with BudgetManager("p", max_budget="0.4", ledger=where):
        pass
    callers = [windows.started(CALLER, tmp_path, str(where)) for _ in range(5)]
    for caller in callers:
        assert caller.stdout.readline() == "ready\n"
    for caller in callers:
        caller.stdin.write("go\n")
        caller.stdin.flush()
    for caller in callers[:2]:  # in the middle of it, wherever that is
        paid += sum(caller.stdout.readline() == "paid\n" for _ in range(20))
        caller.kill()
    for caller in callers:
        paid += caller.communicate(timeout=100)[0].count("paid\n")
    code = """
        import sys
        from budgeted import BudgetManager
        with BudgetManager("p", ledger=sys.argv[1]) as manager:
            balance = manager.balance(None)
            print(round(balance.spent * 1000), round(balance.held * 1000))
    """
    [told] = windows.printed(code, tmp_path, str(where))
    spent, held = map(int, told.split())
    assert paid <= spent
    assert spent + held == limit


def test_calls_of_a_killed_process_are_charged_and_those_of_a_living_one_are_not(tmp_path: Path) -> None:
    code = """
        import sys
        from budgeted import BudgetManager
        manager = BudgetManager("p", max_budget=10, ledger=sys.argv[1])
        with manager.hold(cost=1):
            print("held", flush=True)
            sys.stdin.readline()
    """
    callers = [windows.started(code, tmp_path, str(tmp_path / "a")) for _ in range(2)]
    for caller in callers:
        assert caller.stdout.readline() == "held\n"
    callers[0].kill()
    callers[0].wait()
    look = """
        import sys
        from budgeted import BudgetManager
        with BudgetManager("p", ledger=sys.argv[1]) as manager:
            balance = manager.balance(None)
            print(balance.spent, balance.held, [one.reason for one in manager.uncertain()])
    """
    [told] = windows.printed(look, tmp_path, str(tmp_path / "a"))
    callers[1].kill()
    for caller in callers:
        caller.communicate()
    assert told.startswith("1.0 1.0 ['")


def test_a_process_that_rests_on_an_old_segment_goes_on_in_the_newest(tmp_path: Path) -> None:
    """Its file cannot be removed meanwhile, and is no damage to who verifies the ledger."""
    rests = """
        import sys
        from budgeted import BudgetManager
        manager = BudgetManager("p", max_budget=10, ledger=sys.argv[1])
        manager.ledger.upkeep = lambda: None  # it does not look by itself
        print("open", flush=True)
        sys.stdin.readline()
        print(manager.balance(None).spent, flush=True)
    """
    works = """
        import pathlib, sys
        from budgeted import BudgetManager
        from budgeted.ledger.journal import ledger, verification
        ledger.ROTATE_LINES = 4
        with BudgetManager("p", ledger=sys.argv[1]) as manager:
            for _ in range(20):
                with manager.hold(cost="0.1") as held:
                    held.settle(cost="0.1")
                manager.flush()
        print(verification.read_files(pathlib.Path(sys.argv[1], "p")).problems)
    """
    resting = windows.started(rests, tmp_path, str(tmp_path / "a"))
    assert resting.stdout.readline() == "open\n"
    assert windows.printed(works, tmp_path, str(tmp_path / "a")) == ["[]"]
    numbers = segment_files.numbers(tmp_path / "a" / "p", "journal")
    assert numbers[0] == 1
    assert numbers[1] > 2
    assert resting.communicate("go on\n")[0] == "2.0\n"


def test_a_ledger_that_is_in_use_is_repaired_by_nobody_else(tmp_path: Path) -> None:
    """Its files cannot be removed; whoever asks is told what to do, and nothing is lost."""
    code = """
        import pathlib, sys
        from budgeted import BudgetManager
        from budgeted.errors import LedgerUnavailableError
        from budgeted.ledger.journal.repair import repair
        with BudgetManager("p", max_budget=10, ledger=sys.argv[1]) as manager:
            with manager.hold(cost=2) as held:
                held.settle(cost=2)
            journal = pathlib.Path(sys.argv[1], "p", "journal-00000001")
            sound = journal.read_bytes()
            with journal.open("r+b") as file:
                file.write(b"X" * 60)
            try:
                repair(journal.parent)
            except LedgerUnavailableError as error:
                print("call BudgetManager.repair() in it, or end it" in str(error))
            with journal.open("r+b") as file:
                file.write(sound[:60])
        with BudgetManager("p", ledger=sys.argv[1]) as manager:
            print(manager.balance(None).spent)
    """
    assert windows.printed(code, tmp_path, str(tmp_path / "a")) == ["True", "2.0"]


def test_projects_have_folders_of_their_own_whatever_their_letters(tmp_path: Path) -> None:
    """Names there are the same in small and in capital letters, and some are devices."""
    code = """
        import os, sys
        from budgeted import BudgetManager
        for name in ("app", "App", "APP", "con", "CON", "com1", "a.b", "tärä", "TÄRÄ"):
            with BudgetManager(name, max_budget=1, ledger=sys.argv[1]) as manager:
                assert not manager.balance(None).spent
                with manager.hold(cost=1) as held:
                    held.settle(cost=1)
        print(len({name.lower() for name in os.listdir(sys.argv[1])}), "con" in os.listdir(sys.argv[1]))
    """
    assert windows.printed(code, tmp_path, str(tmp_path / "a")) == ["9 False"]


def test_paths_begin_with_drives_and_have_backslashes(tmp_path: Path) -> None:
    code = r"""
        import os
        from budgeted.ledger.existing_projects import has_directory
        from budgeted.ledger.journal.repair_command import repair_command
        from budgeted.ledger.opening import directory_of
        from budgeted.ledger.sql.urls import location
        from budgeted.ledger.urls import kind_of
        from pathlib import Path

        for where in (r"C:\budgets", "C:/budgets", "C://budgets", "file:///C:/budgets", "file:///C%3A/budgets"):
            found = directory_of(where, "p")
            print(os.path.relpath(found, os.getcwd()).replace(os.sep, "/").replace("\\", "/"))
        print(kind_of(r"sqlite:///C:\budgets\a.db"), location(r"sqlite:///C:\budgets\a.db")[0].database)
        print(repair_command(Path("/my budgets/p")).replace("\\", "/"))
    """
    if sys.platform == "win32":
        code = code.replace("os.path.relpath(found, os.getcwd())", "str(found)")
    assert windows.printed(code, tmp_path) == [
        *["C:/budgets/p"] * 5,
        r"sql C:\budgets\a.db",
        'budgeted repair --ledger "/my budgets" --project p',
    ]


def test_a_backup_that_was_sent_as_text_is_read(tmp_path: Path) -> None:
    code = """
        import pathlib, sys
        from budgeted import BudgetManager
        from budgeted.cli.command_group import budgeted

        def command(*words):
            budgeted(list(words), standalone_mode=False)

        backup = pathlib.Path(sys.argv[1]) / "backup"
        with BudgetManager("p", max_budget=5, ledger=sys.argv[1]) as manager:
            with manager.hold(cost=2, user="alice") as held:
                held.settle(cost=2)
        command("backup", "--ledger", sys.argv[1], "--project", "p", str(backup))
        backup.write_bytes(backup.read_bytes().replace(b"\\n", b"\\r\\n"))
        command("restore", "--ledger", sys.argv[1] + "-2", "--project", "p", str(backup))
        with BudgetManager("p", ledger=sys.argv[1] + "-2") as manager:
            print(manager.balance(None).spent, manager.balance(None).limit)
    """
    assert windows.printed(code, tmp_path, str(tmp_path), STAND_IN_IMPORTS=windows.IMPORTS)[-1] == "2.0 5.0"


ELSEWHERE = (
    "memory",
    "sqlite",
    "fork",
    "redis",
    "postgresql",
    "http",
    "private",
    "may_not_read",
    "one_at_a_time",
    "links",
    "abandoned",
)
"""What is in the names of tests of other ledgers, and of what Windows has not got."""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="they are run by themselves there")
def test_the_tests_of_the_ledgers_pass(tmp_path: Path) -> None:
    names = ("holds", "verification", "spill_file", "journal_files")
    files = [str(TESTS / "ledger" / f"test_{name}.py") for name in names]
    leave_out = " and ".join(f"not {name}" for name in ELSEWHERE)
    plugins = ("-p", "no:xdist", "-p", "no:cacheprovider", "-p", "stand_in_plugin")
    command = [sys.executable, "-m", "pytest", "-q", *plugins, "-m", "not slow", "-k", leave_out, *files]
    environment = windows.environment(
        tmp_path,
        STAND_IN_LATER="yes",
        STAND_IN_IMPORTS=f"{windows.IMPORTS} cryptography.hazmat.bindings._rust uvicorn starlette redis psycopg",
    )
    ignored = ("-W", "ignore::pytest.PytestAssertRewriteWarning")
    done = subprocess.run(
        [*command, *ignored], cwd=TESTS.parent, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-5000:]
