"""The command: looking at budgets, setting them, taking over LiteLLM's, moving them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.move_project import content, migrate
from budgeted.ledger.opening import open_ledger

SINCE = 1_795_000_000.5


def run(*args: object, ok: bool = True) -> Result:
    result = CliRunner().invoke(budgeted, [str(arg) for arg in args], catch_exceptions=False)
    assert (result.exit_code == 0) == ok, result.output
    return result


def printed(*args: object) -> Any:
    return json.loads(run(*args, "--json").stdout)


def spend(manager: BudgetManager, user: str, cost: float) -> None:
    with manager.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


@pytest.fixture
def spent(budgeted_home: Path) -> Path:
    """A project in which alice has spent a quarter of a dollar."""
    with BudgetManager("default", max_budget="$10/day", default_user_limits="$1/day") as manager:
        spend(manager, "alice", 0.25)
    return budgeted_home


# -- looking and setting


def test_limits_that_are_set_are_what_a_manager_enforces(budgeted_home: Path) -> None:
    run("limits", "set", "$5/day", "60 calls/minute", "--user", "alice")
    run("limits", "set", "$10/day")
    with BudgetManager("default") as manager:
        assert [balance.text for balance in manager.balances("alice")] == ["$5/day", "60 calls/minute"]
        assert manager.balance().limit == 10
    run("limits", "set", "--none", "--user", "alice")
    assert "alice has no limits" not in run("balance").stdout


def test_balances_are_shown_for_people_and_for_programs(spent: Path) -> None:
    table = run("balance", "alice").stdout.splitlines()
    assert table[0].split() == ["limit", "spent", "held", "remaining", "resets"]
    assert table[1].split()[:4] == ["$1/day", "$0.25", "$0.00", "$0.75"]
    assert [(one["text"], one["spent"]) for one in printed("balance")] == [("$10/day", 0.25)]


def test_accounts_reports_and_uncertain_charges_are_listed(spent: Path) -> None:
    with BudgetManager("default") as manager:
        manager.hold(cost=0.5, user="alice\N{PILE OF POO}").__enter__().__exit__(TimeoutError, TimeoutError(), None)
    assert [one["name"] for one in printed("accounts")] == ["alice", "alice\N{PILE OF POO}"]
    assert [one["name"] for one in printed("accounts", "--after", "alice")] == ["alice\N{PILE OF POO}"]
    assert run("accounts", "--prefix", "bob").stdout == "there are no such users\n"  # others there are
    assert printed("report")["alice"]["spent"] == 0.25
    assert run("report", "--since", "2999-01-01").stdout == "nothing was spent\n"
    [doubtful] = printed("uncertain")
    assert doubtful["cost"] == 0.5
    run("reconcile", doubtful["id"], "--cost", "0.125")
    assert run("uncertain").stdout == "every charge is confirmed\n"
    assert printed("report")["alice\N{PILE OF POO}"]["spent"] == 0.125


def test_what_a_user_spent_can_be_forgotten(spent: Path) -> None:
    assert [one["spent"] for one in printed("reset", "alice")] == [0]
    assert "name a user, or write --global" in run("reset", ok=False).stderr


def test_looking_at_a_misspelt_project_names_those_that_are_there_and_makes_none(spent: Path) -> None:
    error = run("balance", "--project", "defualt", ok=False).stderr
    assert "there is no project 'defualt'" in error
    assert "there are default" in error
    assert [path.name for path in spent.iterdir()] == ["default"]


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (["limits", "set", "$5/fortnight"], "$5/fortnight"),
        (["limits", "set"], "give limits such as '$10/day', or --none"),
        (["balance", "--ledger", "mysql://u:secret@h/d"], "mysql://..."),
        (["balance", "--ledger", "http://tok:secret@example.com"], "allow_http=1"),
        (["limits", "set", "$5", "--timezone", "Mars/Olympus"], "Mars/Olympus"),
        (["report", "--since", "yesterday", "--ledger", "memory://"], "yesterday"),
        (["limits", "set", "$5", "--ledger", "memory://"], "memory:// ends with this command; name a path or a URL"),
        (["migrate", "here", "memory://"], "memory:// ends with this command"),
        (["serve", "--port", "99999", "--ledger", "memory://"], "99999 is not in the range 0<=x<=65535"),
        (["serve", "--timezone", "Mars/Olympus", "--ledger", "memory://"], "Mars/Olympus"),
        (["serve", "--ssl-keyfile", __file__, "--ledger", "memory://"], "--ssl-keyfile needs --ssl-certfile"),
        (["serve", "--ssl-certfile", __file__, "--ledger", "memory://"], "test_cli.py is no certificate with its key"),
    ],
)
def test_mistakes_are_told_in_one_line_without_secrets(budgeted_home: Path, args: list[str], told: str) -> None:
    error = run(*args, ok=False).stderr
    assert told in error
    assert "Traceback" not in error
    assert "secret" not in error


def test_misspelt_variables_are_warned_of(spent: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETED_LEGDER", "secret")
    monkeypatch.setenv("BUDGETED_PROJECT_NAME", "default")
    result = run("balance", "alice")
    assert "$0.75" in result.stdout
    assert result.stderr == "Warning: BUDGETED_LEGDER is not known; did you mean BUDGETED_LEDGER?\n"


def test_names_cannot_write_to_the_terminal(budgeted_home: Path) -> None:
    with BudgetManager("default", unpriced="free") as manager:
        manager.set_limits("[bold]bob[/]", "$1")
        manager.update_cost("[bold]bob[/]", model="\x1b[31mred", input_text="Hello", output_text="Hi")
    assert "[bold]bob[/]" in run("accounts").stdout
    assert "\\x1b[31mred" in run("report", "--by", "model").stdout


# -- LiteLLM's file

FILE = {
    "alice": {
        "total_budget": 10,
        "duration": 30,
        "created_at": SINCE,
        "last_updated_at": SINCE,
        "current_cost": 0.30000000000000004,
        "model_cost": {"gpt-5-mini": 0.1, "gpt-4o": 0.2},
    },
    "bob": {"total_budget": 2.5, "current_cost": 1.25, "model_cost": {"gpt-4o": 1.25}},
    "carl": {"total_budget": 1},
    "old": {"total_budget": 1, "duration": 1, "created_at": 1.7e9, "last_updated_at": 1.7e9, "current_cost": 0.5},
}


@pytest.fixture
def user_cost(tmp_path: Path) -> Path:
    file = tmp_path / "user_cost.json"
    file.write_text(json.dumps(FILE))
    return file


@pytest.mark.slow
def test_a_file_of_litellms_is_taken_over(budgeted_home: Path, user_cost: Path) -> None:
    clock = "import time; time.time = lambda: 1_795_100_000.0;"
    for _ in range(2):  # doing it again changes nothing
        done = python(clock + "from budgeted.cli import main; main()", "import", user_cost)
        assert done.returncode == 0, done.stderr
    with BudgetManager("default", clock=lambda: 1_795_100_000.0) as manager:
        assert manager.get_users() == ["alice", "bob", "carl", "old"]
        assert manager.get_total_budget("alice") == 10
        assert manager.get_current_cost("alice") == 0.3
        assert manager.get_model_cost("alice") == {"gpt-5-mini": 0.1, "gpt-4o": 0.2}
        assert manager.balance("alice").resets_at.timestamp() == int(SINCE) + 30 * 86_400  # type: ignore[union-attr]
        assert (manager.get_current_cost("bob"), manager.balance("bob").remaining) == (1.25, 1.25)
        assert manager.get_current_cost("carl") == 0
        assert manager.is_valid_user("carl")
        # Its period has ended: what was spent in it is in the report alone.
        assert manager.get_current_cost("old") == 0
        assert {user: row.spent for user, row in manager.report().items()} == {"bob": 1.25, "old": 0.5, "alice": 0.3}
        assert manager.report("model")["gpt-4o"].spent == 1.45


def test_an_import_uses_no_limit_of_everybody_up(budgeted_home: Path, user_cost: Path) -> None:
    run("limits", "set", "$1/day")
    run("import", user_cost)
    assert printed("balance")[0]["spent"] == 0


def test_what_users_that_are_here_already_have_spent_is_not_replaced_unasked(spent: Path, user_cost: Path) -> None:
    assert "'alice' is here already and has spent $0.25" in run("import", user_cost, ok=False).stderr
    assert [one["name"] for one in printed("accounts")] == ["alice"]
    run("import", user_cost, "--overwrite")
    assert printed("report")["bob"]["spent"] == 1.25


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "is empty"),
        ('{"alice": {"total_bud', "is broken"),
        ('{"alice": {"total_budget": NaN}}', "NaN"),
        ("[1, 2]", "by user"),
        ('{"alice": 5}', "'alice' must be a dictionary"),
        ('{"alice": {"total_budget": -5}}', "-5"),
        ('{"alice": {"total_budget": 5, "current_cost": "x"}}', "current_cost"),
        ('{"alice": {"total_budget": 5, "duration": "daily"}}', "duration must be a number"),
        ('{"alice": {"total_budget": 5, "model_cost": [1]}}', "model_cost"),
        ('{"alice": {"cost": 5}}', "none of LiteLLM's fields"),
        ('{"a\\u0000b": {"total_budget": 5}}', "control characters"),
        ("\x00\xff", "is broken"),
    ],
)
def test_a_broken_file_changes_nothing_and_says_what_is_wrong(
    budgeted_home: Path, tmp_path: Path, text: str, told: str
) -> None:
    file = tmp_path / "user_cost.json"
    file.write_text(text)
    assert told in run("import", file, ok=False).stderr
    if (budgeted_home / "default").exists():
        assert printed("accounts") == []


# -- moving


def filled(project: str, ledger: str) -> None:
    with BudgetManager(project, ledger=ledger, max_budget="$100/month", default_user_limits="$1/day") as manager:
        for number in range(30):
            spend(manager, f"user-{number % 7}", 0.01 * number)
        manager.create_budget(5, "bob", "weekly")
        manager.update_cost("bob", model="gpt-5-mini", input_text="hello", output_text="bye")
        manager.hold(cost=0.5, user="bob").__enter__().__exit__(TimeoutError, TimeoutError(), None)


def test_a_project_moves_with_everything_and_the_same_again_changes_nothing(tmp_path: Path) -> None:
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    filled("app", old)
    for _ in range(2):
        assert "all are equal" in run("migrate", old, new, "--project", "app").stdout
    one, other = (BudgetManager("app", ledger=path) for path in (old, new))
    with one, other:
        assert one.user_dict == other.user_dict
        assert one.report("model") == other.report("model")
        assert one.balances() == other.balances()
        [doubtful] = [charge for charge in other.uncertain() if charge.cost == 0.5]
        other.reconcile(doubtful.id, cost=0.125)
        assert other.balance("bob").spent == pytest.approx(one.balance("bob").spent - 0.375, abs=1e-9)


def test_there_and_back_again_is_what_it_was(tmp_path: Path) -> None:
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    filled("app", old)
    run("migrate", old, new, "--project", "app", "--to-project", "other")
    run("migrate", new, old, "--project", "other", "--to-project", "back")
    first, back = (open_ledger(old, name, fsync="background") for name in ("app", "back"))
    assert [*content(first).comparable()] == [*content(back).comparable()]
    first.close()
    back.close()


def test_a_project_of_which_only_the_name_is_known_is_not_moved(tmp_path: Path) -> None:
    open_ledger(tmp_path / "old", "app", fsync="background").close()
    error = run("migrate", tmp_path / "old", tmp_path / "new", "--project", "app", ok=False).stderr
    assert "there is no project 'app'" in error
    assert "nothing was moved" in error
    assert not (tmp_path / "new").exists()


def test_calls_in_flight_are_not_moved(tmp_path: Path) -> None:
    with BudgetManager("app", ledger=tmp_path / "old", max_budget=1) as manager, manager.hold(cost=0.5) as held:
        error = run("migrate", tmp_path / "old", tmp_path / "new", "--project", "app", ok=False).stderr
        assert "1 calls are in flight" in error
        held.release()


def test_a_ledger_in_use_is_not_overwritten_unasked(tmp_path: Path) -> None:
    old, new = str(tmp_path / "old"), str(tmp_path / "new")
    filled("app", old)
    with BudgetManager("app", ledger=new) as manager:
        spend(manager, "user-3", 0.5)
        spend(manager, "zoe", 0.5)
    assert "is in use" in run("migrate", old, new, "--project", "app", ok=False).stderr
    assert printed("report", "--ledger", new, "--project", "app").keys() == {"user-3", "zoe"}
    run("migrate", old, new, "--project", "app", "--overwrite")
    there = printed("report", "--ledger", new, "--project", "app")
    here = printed("report", "--ledger", old, "--project", "app")
    assert there["zoe"]["spent"] == 0.5
    for row in (there["user-3"], here["user-3"]):
        row.pop("exhausted_at")  # a forecast as of the moment of asking
    assert there["user-3"] == here["user-3"]


def test_a_source_that_changes_meanwhile_is_noticed() -> None:
    source, target = MemoryLedger(), MemoryLedger()
    source.set_limits(GLOBAL, ())
    restore = target.restore

    def slow(*args: Any) -> None:
        restore(*args)
        source.set_limits("u:late", ())

    target.restore = slow  # type: ignore[method-assign]
    with pytest.raises(Exception, match="changed meanwhile"):
        migrate(source, target)


# -- as a process


def python(code: str, *args: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code, *map(str, args)]
    return subprocess.run(command, env=os.environ, capture_output=True, text=True, timeout=60, check=False)


AS_PROCESSES = {
    "script": "from budgeted.cli import main; main()",
    "package": "import runpy; runpy.run_module('budgeted', run_name='__main__', alter_sys=True)",  # python -m budgeted
}
ways = pytest.mark.parametrize("program", AS_PROCESSES.values(), ids=AS_PROCESSES)


@ways
@pytest.mark.slow
def test_the_command_runs_as_a_process(spent: Path, program: str) -> None:
    done = python(program, "balance", "alice")
    assert (done.returncode, done.stderr) == (0, "")
    assert "$0.75" in done.stdout


@ways
@pytest.mark.slow
def test_without_its_packages_the_command_says_what_to_install(program: str) -> None:
    done = python("import sys; sys.modules['click'] = None; " + program)
    assert done.returncode == 1
    assert "pip install 'budgeted[cli]'" in done.stderr
