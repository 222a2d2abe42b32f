"""The pages of frameworks: their examples run, and a refusal inside does what their tables say."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from framework_pages import PAGES, cases, is_installed, rows
from page_examples import examples, run
from refused_case import RAISED, SWALLOWED, Case, calls_its_tool_first, refusals_in

from budgeted import BudgetError, BudgetManager
from budgeted.testing import Reply, Request, SimulatedProvider

# Of `make matrix` alone: what frameworks warn of is their business.
pytestmark = [pytest.mark.matrix, pytest.mark.filterwarnings("ignore")]


def answer(request: Request) -> Reply | None:
    tool = calls_its_tool_first(request)
    return None if tool is None else Reply(tool=tool)


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[SimulatedProvider]:
    """A provider whose models call the tools that they are given, and where SDKs find it by themselves."""
    with SimulatedProvider() as made:
        made.reply(answer)
        monkeypatch.setenv("OPENAI_BASE_URL", made.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "any")
        yield made


HERE = [page for page in PAGES if is_installed(page)]
CODE = [
    pytest.param(code, id=f"{page.stem}-{number}") for page in HERE for number, code in enumerate(examples(page), 1)
]
INSIDE = [
    pytest.param(page, case, id=f"{page.stem}-{number}") for page in HERE for number, case in enumerate(cases(page), 1)
]


@pytest.mark.parametrize("code", CODE)
def test_every_example_of_a_framework_runs(code: str, provider: SimulatedProvider, tmp_path: Path) -> None:
    done = run(code, provider, tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(("page", "case"), INSIDE)
def test_a_refusal_does_what_the_page_says(page: Path, case: Case, provider: SimulatedProvider) -> None:
    assert next(row for row in rows(page) if row.is_tried_by(case)).refused == case.refused
    raised: BaseException | None = None
    with BudgetManager("page", ledger="memory://", wait=0) as manager:
        block = manager.budget("alice", cap=case.cap)
        try:
            with block:
                finish(case.run())
        except Exception as error:  # noqa: BLE001 - each framework has its own
            raised = error
        provider.wait_idle()
        spent, billed = round(manager.balance().spent * 1e9), provider.billed_nano()
        assert spent >= billed if manager.uncertain() else spent == billed
    assert block.refused == case.refused
    if case.becomes == SWALLOWED:
        assert raised is None
    elif case.becomes == RAISED:
        assert isinstance(raised, BudgetError)
    else:
        assert type(raised).__name__ == case.becomes
        assert refusals_in(raised)


@pytest.mark.parametrize(("page", "case"), [one for one in INSIDE if one.values[1].becomes == SWALLOWED])  # type: ignore[attr-defined]
def test_what_is_swallowed_is_raised_where_a_block_ends_that_is_to(
    page: Path, case: Case, provider: SimulatedProvider
) -> None:
    manager = BudgetManager("page", ledger="memory://", wait=0)
    with manager, pytest.raises(BudgetError), manager.budget("alice", cap=case.cap, reraise=True):
        finish(case.run())


def finish(given: Any) -> None:
    if inspect.iscoroutine(given):
        asyncio.run(given)


@pytest.mark.parametrize("page", HERE, ids=lambda page: page.stem)
def test_every_row_of_a_page_is_tried(page: Path) -> None:
    assert [row for row in rows(page) if not any(row.is_tried_by(case) for case in cases(page))] == []
