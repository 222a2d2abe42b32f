"""The default manager is made of a file, ``BUDGETED_*`` variables and ``configure()``; the later ones win."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

import budgeted
from budgeted import BudgetExceededError, BudgetManager, budget, configure, get_manager, hold
from budgeted.cli.command_group import budgeted as command
from budgeted.payers.scope import by_default
from budgeted.pricing import price_registry
from budgeted.testing import SimulatedProvider

APP = """
import openai, budgeted
client = openai.OpenAI(max_retries=0)
with budgeted.budget("alice"):
    for number in range(40):
        client.chat.completions.create(
            model="gpt-5-mini", max_completion_tokens=100, messages=[{"role": "user", "content": "Hello!"}]
        )
"""

LIMITS = """
max_budget = "$10/day"
default_user_limits = "$1/day"

[limits]
month = 100

[users."*"]
day = "$1"

[users."alice"]
limits = ["$2/day", "60 calls/minute"]

[users."svc-*"]
week = 5

[teams."search"]
max_budget = 3
duration = "daily"

[teams."lab-*".limits]
month = 4
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_registered: None) -> Iterator[Path]:
    """The working directory of an application of its own, without a manager before and after."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    if by_default:
        get_manager().close()


def write(text: str, file: str = "budgeted.toml") -> None:
    Path(file).write_text(text, encoding="utf-8")


def limits(user: str | None = None) -> list[str]:
    return [balance.text for balance in get_manager().balances(user)]


def refusal(**variables: str) -> str:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in variables.items():
            patch.setenv(name, value)
        with pytest.raises(ValueError, match=r"\S") as refused:
            budget("alice")
    assert not by_default
    return str(refused.value)


@pytest.mark.slow
@pytest.mark.sdk
def test_plain_python_is_held_to_a_limit_that_only_its_environment_names(folder: Path) -> None:
    with SimulatedProvider() as provider:
        provider.reply(output_tokens=90)
        variables = {"OPENAI_BASE_URL": provider.openai_url, "OPENAI_API_KEY": "none", "BUDGETED_MAX_BUDGET": "$0.002"}
        environment = {**os.environ, **variables}
        done = subprocess.run(
            [sys.executable, "-c", APP], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert "BudgetExceededError" in done.stderr
        assert 0 < len(provider.bill) < 40
        assert provider.billed_usd() <= 0.002


def test_a_file_states_limits_of_everybody_of_users_of_teams_and_of_patterns_of_names(folder: Path) -> None:
    write(LIMITS)
    budget("anybody")
    assert limits() == ["$10/day", "$100/month"]
    assert limits("alice") == ["$2/day", "60 calls/minute"]
    assert limits("bob") == ["$1/day"]
    assert limits("svc-mail") == ["$5/week"]
    assert limits("team:search") == ["$3/day"]
    assert limits("team:lab-7") == ["$4/month"]
    with hold(cost=2.5, user="team:search") as held:
        held.settle(cost=2.5)
    with pytest.raises(BudgetExceededError, match="team:search"):
        hold(cost=1, user="team:search").__enter__()


def test_a_file_states_limits_of_every_kind(folder: Path) -> None:
    """A number per minute counts calls there too; a sum of money is one wherever it says so, or is a budget."""
    write(
        """
        max_budget = "$100/month, keep up to $50"
        [users."alice"]
        minute = 60
        second = "5"
        hour = 2
        "rolling day" = 5
        limits = "20 tool calls/day + 20k input tokens/rolling hour"
        [users."bob"]
        minute = "$60"
        [users."carol"]
        max_budget = 60
        duration = "minute"
        [users."dave"]
        month = "$100, keep up to $50"
        """
    )
    configure(ledger="memory://")
    assert limits() == ["$100/month, keep up to $50"]
    assert limits("alice") == [
        "60 calls/minute",
        "5 calls/second",
        "$2/hour",
        "$5/rolling day",
        "20 tool calls/day",
        "20,000 input tokens/rolling hour",
    ]
    assert (limits("bob"), limits("carol")) == (["$60/minute"], ["$60/minute"])
    assert limits("dave") == limits()


def test_variables_win_over_the_file_and_configure_over_both(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write('max_budget = "$10/day"\nwait = 5\non_exceed = "raise"\nmin_output_tokens = 512\n[users."a*"]\nday = 7\n')
    monkeypatch.setenv("BUDGETED_MAX_BUDGET", "$20/day")
    monkeypatch.setenv("BUDGETED_WAIT", "6")
    monkeypatch.setenv("BUDGETED_DEFAULT_USER_LIMITS", "$2/day")
    manager = configure(wait=7, default_user_limits={"b*": "$8/day"})
    assert (manager.settings.wait, manager.settings.on_exceed, manager.settings.min_output_tokens) == (7, "raise", 512)
    assert (limits(), limits("alice"), limits("bob"), limits("carol")) == (["$20/day"], ["$7/day"], ["$8/day"], [])
    configure(max_budget=30)
    assert limits() == ["$30"]


def test_limits_of_the_file_hold_in_whatever_project_is_configured_later(folder: Path) -> None:
    write(LIMITS)
    budget("alice")
    configure(project_name="shop")
    assert (get_manager().project_name, limits()) == ("shop", ["$10/day", "$100/month"])
    assert limits("alice") == ["$2/day", "60 calls/minute"]


def test_what_an_operator_sets_of_a_users_limit_stays_until_the_file_is_edited(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    for stated, operators, found in ((3, None, "$3/day"), (3, "$9/day", "$9/day"), (4, None, "$4/day")):
        write(f"[users.alice]\nday = {stated}\n")
        if operators is not None:
            assert CliRunner().invoke(command, ["limits", "set", operators, "--user", "alice"]).exit_code == 0
        budget("alice")
        assert limits("alice") == [found]
        get_manager().close()
    [told] = [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]
    assert told.startswith("budgeted: the limit of a user of project 'default' is now $4/day, as ")


def test_where_nothing_is_stated_a_manager_in_memory_stands_in(folder: Path, budgeted_home: Path) -> None:
    budget("alice")
    assert not budgeted_home.exists()
    write(LIMITS)
    configure()
    assert limits() == ["$10/day", "$100/month"]


def test_hooking_the_sdks_makes_the_manager_that_is_stated(folder: Path) -> None:
    write('[tool.budgeted]\nmax_budget = "$1"\n', "pyproject.toml")
    budgeted.instrument()
    with pytest.raises(BudgetExceededError):
        hold(cost=2).__enter__()


def test_a_file_above_is_found_up_to_the_root_of_the_repository(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("max_budget = 1")
    inner = folder / "repository" / "src"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert printed("max_budget") == ("$1", f"{folder / 'budgeted.toml'}, line 1, max_budget")
    (folder / "repository" / ".git").mkdir()
    assert printed("max_budget") == ("none", "default")
    write("[tool.other]\nbudgeted = 5\n", "../pyproject.toml")
    assert printed("max_budget") == ("none", "default")
    monkeypatch.setenv("BUDGETED_CONFIG", "../../budgeted.toml")
    assert printed("max_budget")[0] == "$1"


def test_a_file_that_a_stranger_might_have_put_there_is_not_read(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write("max_budget = 1_000_000")
    (folder / "mine").mkdir()
    monkeypatch.chdir(folder / "mine")
    folder.chmod(0o777)
    assert printed("max_budget") == ("none", "default")


def test_a_ledgers_path_in_a_file_is_meant_from_the_file_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "src").mkdir()
    for where, found in (("./spend", f"{folder}/spend"), ("sqlite:///spend.db", f"sqlite:///{folder}/spend.db")):
        write(f'ledger = "{where}"')
        monkeypatch.chdir(folder / "src")
        assert printed("ledger")[0] == found
        monkeypatch.chdir(folder)


@pytest.mark.parametrize("settings", ["", "max_budget = 5"])
def test_prices_are_those_of_register_price_and_the_applications_own_win(folder: Path, settings: str) -> None:
    prices = (
        "[prices.mine]\ninput = 1\noutput = 4\nsteps = { 200_000 = { input = 2 } }\n[prices.theirs]\nper_call = 1\n"
    )
    write(f"{settings}\n{prices}")
    budgeted.register_price("theirs", per_call=2)
    budget("alice")
    mine, theirs = price_registry.find("mine"), price_registry.find("theirs")
    assert mine is not None
    assert theirs is not None
    assert mine.cost(budgeted.Usage(1_000_000, 0), at=0) == 2_000_000_000
    assert theirs.cost(budgeted.Usage(0, 0), at=0) == 2_000_000_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("max_budget = $10", "line 1, max_budget"),
        ('max_budget = "$1\nwait = 1', "line 1, max_budget"),
        ("wait = 1\nwait = 2", "line 2, wait"),
        ("wait = 1\nmax_buget = 5", "line 2, max_buget: is not known; did you mean max_budget?"),
        ("max_usd = 5", "line 1, max_usd: is not known; did you mean max_budget?"),
        ('[user."alice"]\nday = 1', "line 1, user: is not known; did you mean users?"),
        ('[users."tag:plan"]\nday = 1', "line 1, users.\"tag:plan\": 'tag:plan' names a tag without a value"),
        ('[users."alice"]\ndya = 1', "line 2, users.alice.dya: is not known; did you mean day?"),
        ('[users."alice"]\nbudget = 1', "users.alice.budget: is not known; did you mean max_budget?"),
        ("[prices.mine]\ninptu = 1", "line 2, prices.mine.inptu: is not known; did you mean input?"),
        ("[prices.mine]\ninput = -1\noutput = 1", "line 1, prices.mine: "),
        ("[limits]\nday = 1\nmax_budget = -5", "line 3, limits.max_budget: "),
        ("max_budget = -5", "line 1, max_budget: "),
        ("max_budget = nan", "line 1, max_budget: "),
        ("max_budget = true", "line 1, max_budget: "),
        ('duration = "daily"', "line 1, duration: duration='daily' needs max_budget"),
        ('[limits]\nduration = "daily"', "line 2, limits.duration: duration='daily' needs max_budget"),
        ('max_budget = "$10/day"\nduration = "monthly"', "line 1, max_budget: the limit names its period itself"),
        ('max_budget = "$10/day"\n[limits]\nday = 20', "line 3, limits.day: '$20/day' contradicts '$10/day' ("),
        ('[users]\n"team:a" = 5\n[teams]\na = 6', "line 4, teams.a: '$6' contradicts '$5' ("),
        ('[users]\n"*" = "$5/day"\n', ""),
        ('default_user_limits = 1\n[users]\n"*" = 5', "contradicts"),
        ('[teams."team:search"]\nday = 5', "write 'search'"),
        ('[users]\n"" = 5', 'line 2, users."": '),
        ("users = 5", "line 1, users: must be a table"),
        ("prices = 5", "line 1, prices: must be a table"),
        ('wait = "soon"', "line 1, wait: wait must be seconds"),
        ('timezone = "Mars"', "line 1, timezone: "),
        ('ledger = "mysql://u:secret@h/d"\nfsync = "maybe"', "line 2, fsync: "),
        ("[tool.budgeted]\nmax_budget = 5", "line 1, tool: is not known"),
    ],
)
def test_what_makes_no_sense_in_a_file_is_refused_at_the_start_with_line_and_key(
    folder: Path, text: str, told: str
) -> None:
    write(text)
    if not told:
        budget("alice")
        return
    said = refusal()
    assert told in said
    assert str(folder / "budgeted.toml") in said
    assert "secret" not in said


def test_a_file_with_other_ends_of_lines_and_a_mark_of_its_encoding_is_read(folder: Path) -> None:
    Path("budgeted.toml").write_bytes("\ufeffwait = 1\r\nmax_budget = -5\r\n".encode())
    assert "line 2, max_budget" in refusal()


def test_variables_that_make_no_sense_are_refused_by_their_names(folder: Path) -> None:
    assert "BUDGETED_MAX_BUDGET" in refusal(BUDGETED_MAX_BUDGET="-5")
    assert "BUDGETED_TIMEZONE: " in refusal(BUDGETED_TIMEZONE="Mars")
    assert "write BUDGETED_MAX_BUDGET" in refusal(BUDGETED_MAX_BUGET="5")
    assert "BUDGETED_DURATION: " in refusal(BUDGETED_DURATION="daily")
    assert "names no file with settings" in refusal(BUDGETED_CONFIG="nowhere.toml")
    assert "is no file" in refusal(BUDGETED_CONFIG=str(folder))


def test_a_manager_that_is_constructed_takes_nothing_and_says_so_of_limits(
    folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("BUDGETED_MAX_BUDGET", "$1")
    with caplog.at_level(logging.WARNING, "budgeted"), BudgetManager("mine", ledger="memory://") as mine:
        assert get_manager() is mine
        assert mine.balance().limit is None
    assert ["BUDGETED_MAX_BUDGET" in one for one in caplog.messages] == [True]
    caplog.clear()
    with caplog.at_level(logging.WARNING, "budgeted"):
        configure(ledger="memory://")
    assert not caplog.messages
    assert limits() == ["$1"]


# -- budgeted config


def run(*args: str) -> Result:
    return CliRunner().invoke(command, ["config", *args])


def printed(setting: str) -> tuple[str, str]:
    rows = {one["setting"]: one for one in json.loads(run("--json").stdout)}
    return rows[setting]["value"], rows[setting]["source"]


def test_each_setting_is_shown_with_where_it_is_from(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(f"wait = 5\n{LIMITS}")
    monkeypatch.setenv("BUDGETED_WAIT", "6")
    monkeypatch.setenv("BUDGETED_LEDGER", "redis://me:hush@host/0")
    monkeypatch.setenv("BUDGETED_SECRET", "hush")
    file = folder / "budgeted.toml"
    assert printed("wait") == ("6.0", f"BUDGETED_WAIT, over {file}, line 1, wait")
    assert printed("max_budget") == ("$10/day + $100/month", f"{file}, line 3, max_budget and {file}, line 6, limits")
    assert printed("users.alice")[1] == f"{file}, line 12, users.alice"
    assert printed("on_exceed") == ("clamp", "default")
    assert printed("ledger") == ("redis://***@host/0", "BUDGETED_LEDGER")
    assert str(file) in run().stdout
    assert "hush" not in run().stdout


def test_the_command_looks_where_the_file_says(folder: Path) -> None:
    write('ledger = "./spend"\nproject_name = "shop"\nmax_budget = 5')
    configure().close()
    found = CliRunner().invoke(command, ["balance", "--json"])
    assert [one["text"] for one in json.loads(found.stdout)] == ["$5"]


def test_settings_with_which_nothing_would_start_are_told(folder: Path) -> None:
    write("max_buget = 5")
    assert run().exit_code == 1
    assert "line 1, max_buget: is not known; did you mean max_budget?" in run().stderr
