"""Tags of a whole program are stated outside of it, and tags go along to whatever process goes on with a block."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from budgeted import BudgetManager, CarrierError, bind, budget, configure, extract, get_manager, hold, inject
from budgeted.cli.command_group import budgeted as command
from budgeted.payers.scope import by_default

SPENDING = "import budgeted\nwith budgeted.hold(cost=1) as held: held.settle(cost=1)"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nothing_registered: None) -> Iterator[Path]:
    """The working directory of an application of its own, without a manager before and after."""
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    if by_default:
        get_manager().close()


def spend() -> None:
    with hold(cost=1) as held:
        held.settle(cost=1)


def tags(manager: BudgetManager | None = None) -> dict[str, float]:
    """What was spent of each tag."""
    manager = manager or get_manager()
    return {one.name.removeprefix("tag:"): manager.balance(one.name).spent for one in manager.accounts("tag:")}


# -- stated


def test_a_file_tags_all_calls_of_a_program(folder: Path) -> None:
    (folder / "budgeted.toml").write_text(
        'ledger = "./spend"\nmetric_tags = ["feature"]\n[tags]\nfeature = "search"\nshard = 3\n'
        '[users."tag:session=*"]\nday = 2\n[users."tag:feature=search"]\nday = 5\n',
        encoding="utf-8",
    )
    with budget("alice", tags={"session": "s"}):
        spend()
    assert tags() == {"feature=search": 1, "session=s": 1, "shard=3": 1}
    assert [one.text for one in get_manager().balances("tag:session=t")] == ["$2/day"]
    assert [one.text for one in get_manager().balances("tag:feature=search")] == ["$5/day"]
    assert get_manager().settings.metric_tags == ("feature",)
    shown = CliRunner().invoke(command, ["config"]).output
    assert "feature=search, shard=3" in " ".join(shown.split())


def test_a_variable_tags_them_and_code_has_the_last_word(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETED_TAGS", " feature=search, team=x=y ,")
    monkeypatch.setenv("BUDGETED_LEDGER", "memory://")
    spend()
    assert tags() == {"feature=search": 1, "team=x=y": 1}
    configure(tags={"feature": "code"})
    spend()
    assert tags() == {"feature=code": 1, "feature=search": 1, "team=x=y": 1}


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("feature", "'feature' has no value; write such as 'feature=search,team=x'"),
        ("a=1,a=2", "'a=2' is there twice"),
        ("a b=1", "'a b' is no name of a tag"),
        ("feature=", "is empty"),
    ],
)
def test_a_variable_that_makes_no_sense_is_told(
    text: str, problem: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUDGETED_TAGS", text)
    with pytest.raises(ValueError, match="BUDGETED_TAGS") as told:
        budget("alice")
    assert problem in str(told.value)


def test_a_file_that_makes_no_sense_is_told_by_its_line(folder: Path) -> None:
    (folder / "budgeted.toml").write_text("[tags]\nfeature = 1.5\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"budgeted.toml, line 1, tags: the value of the tag 'feature' .* got 1\.5"):
        budget("alice")


# -- carried


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[BudgetManager]:
    with BudgetManager("app", ledger=tmp_path / "ledger") as made:
        yield made


@pytest.mark.parametrize("secret", ["", "a secret of at least some length"])
def test_what_is_injected_takes_tags_along(
    secret: str, manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUDGETED_SECRET", secret)
    with manager.budget("alice", tags={"feature": "search", "session": "s"}):
        headers = inject()
    with manager.budget(tags={"feature": "worker", "host": "a"}), extract(headers) as payers:
        spend()
    assert payers.users == ("alice",)
    assert tags(manager) == {"feature=search": 1, "host=a": 1, "session=s": 1}


def test_those_of_a_whole_program_go_along_from_outside_of_every_block(manager: BudgetManager) -> None:
    manager.reconfigure(tags={"feature": "search"})
    headers = inject()
    manager.reconfigure(tags={"feature": "worker"})
    with extract(headers):
        spend()
    assert tags(manager) == {"feature=search": 1}


def test_a_tag_that_is_none_is_refused_where_it_arrives(manager: BudgetManager) -> None:
    from budgeted.payers.carried_payers import CarriedAccount

    for account in ("t:a b=c", "t:feature", "t:feature=", "u:tag:feature=x"):
        with pytest.raises(CarrierError, match="names an account that is none"):
            extract({"budgeted-payers": _naming(manager, CarriedAccount(0, account))})


def _naming(manager: BudgetManager, account: object) -> str:
    """What names an account, as somebody may write it by hand."""
    import base64
    import hashlib

    import msgspec

    version, body, _ = inject()["budgeted-payers"].split(".")
    told = msgspec.json.decode(base64.urlsafe_b64decode(body + "=="))
    told["accounts"] = [msgspec.to_builtins(account)]
    body = f"{version}.{base64.urlsafe_b64encode(msgspec.json.encode(told)).decode().rstrip('=')}"
    return f"{body}.u{hashlib.sha256(body.encode()).hexdigest()[:16]}"


@pytest.mark.slow
def test_programs_and_children_go_on_with_the_tags_of_the_block_that_starts_them(manager: BudgetManager) -> None:
    with manager.budget(tags={"feature": "search"}):
        environment = inject({**os.environ, "BUDGETED_TAGS": "feature=other,program=child"})
        child = multiprocessing.get_context("spawn").Process(target=bind(spend))
        child.start()
    done = subprocess.run(
        [sys.executable, "-c", SPENDING], env=environment, capture_output=True, text=True, check=False
    )
    child.join(60)
    assert (done.returncode, done.stderr, child.exitcode) == (0, "", 0)
    assert tags(manager) == {"feature=search": 2, "program=child": 1}


@pytest.mark.slow
def test_children_of_a_program_have_its_tags_outside_of_every_block(manager: BudgetManager) -> None:
    manager.reconfigure(tags={"team": "x"})
    child = multiprocessing.get_context("spawn").Process(target=spend)
    child.start()
    child.join(60)
    assert child.exitcode == 0
    assert tags(manager) == {"team=x": 1}
