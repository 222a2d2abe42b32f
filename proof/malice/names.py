"""Hostile names on every surface: each is refused at the door, or means exactly what it says, everywhere."""

from __future__ import annotations

import logging
from typing import Any

from click.testing import CliRunner

from budgeted import BudgetManager
from budgeted.cli.command_group import budgeted
from proof.malice import hostile_text
from proof.malice.checked import require
from proof.told_log import listening
from proof.trial import Case

CONTROLS = frozenset(map(chr, [*range(0x20), *range(0x7F, 0xA0), 0x2028, 0x2029]))


def attempt(case: Case) -> None:
    """A project, two users and a model of hostile names, on a ledger that is opened twice."""
    rng = case.rng
    project, key, model = (hostile_text.name(rng) for _ in range(3))
    users = [hostile_text.name(rng) for _ in range(2)]
    kind = rng.choice(["journal", "sqlite"])
    place = case.directory / "spend"
    where = str(place) if kind == "journal" else f"sqlite:///{place}.db"
    case.tell(f"{kind}: project={project!r} users={users!r} key={key!r} model={model!r}")
    with listening(logging.DEBUG) as told:
        _attempt(case, where, project, users, key, model)
    for line in told.texts:
        require(not CONTROLS.intersection(line), f"a line of the log is one line of plain text: {line!r}")
    strays = [path.name for path in case.directory.iterdir() if not path.name.startswith("spend")]
    require(not strays, f"nothing is written beside the ledger: {strays}")


def _attempt(case: Case, where: str, project: str, users: list[str], key: str, model: str) -> None:
    manager = _allowed(case, "project", lambda: BudgetManager(project, ledger=where, max_budget=100, unpriced="free"))
    if manager is None:
        return
    expected: dict[str, int] = {}
    with manager:
        for number, user in enumerate(users, 1):
            if _allowed(case, "user", lambda user=user, cost=number: _spend(manager, user, cost)) is not None:
                expected[user] = expected.get(user, 0) + number
        if expected and _allowed(case, "key", lambda: manager.budget(users[0], cap=5, key=key)) is not None:
            case.tell("the key is taken")
        for user in expected:
            _allowed(case, "model", lambda user=user: manager.update_cost(user, model=model, input_text="hi"))
        _look(manager, expected)
    with BudgetManager(project, ledger=where, unpriced="free") as again:
        _look(again, expected)
    for command in (["accounts"], ["report"], ["report", "--by", "model"]):
        done = CliRunner().invoke(budgeted, [*command, f"--ledger={where}", f"--project={project}"])
        require(done.exit_code == 0, f"{command} ends well: {done.output[-500:]}")
        shown = CONTROLS.intersection(done.output) - {"\n"}
        require(not shown, f"{command} writes plain text: {shown}")


def _spend(manager: BudgetManager, user: str, cost: int) -> None:
    with manager.hold(cost=cost, user=user) as held:
        held.settle(cost=cost)


def _look(manager: BudgetManager, expected: dict[str, int]) -> None:
    found = {account.name: manager.balance(account.name).spent for account in manager.accounts()}
    require(found == expected, f"each name has its own account and spend: {found} instead of {expected}")
    report = {name: row.spent for name, row in manager.report(by="user").items()}
    require(report == expected, f"the report names each: {report} instead of {expected}")
    require(manager.balance().spent == sum(expected.values()), "the global account has all of it")


def _allowed(case: Case, what: str, run: Any) -> Any:
    """What it returns (True for nothing), or None if the name is refused, as it has to be: with a text of one line."""
    try:
        found = run()
    except (ValueError, TypeError) as error:
        case.fault(f"hostile {what} refused")
        text = str(error)
        require(not CONTROLS.intersection(text), f"a refusal is one line of plain text: {text!r}")
        require(len(text) < 500, f"a refusal quotes the beginning only: {len(text)} characters")
        return None
    case.fault(f"hostile {what} taken")
    return True if found is None else found
