"""Celery's tasks are charged to whoever sends them, under a real worker and in eager mode."""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from budgeted import BudgetManager, budget, get_manager, inject
from budgeted.integrations import celery as budgeted_celery
from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.filterwarnings("ignore:.*:DeprecationWarning:(celery|kombu|billiard)")]


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as simulated:
        yield simulated


@pytest.fixture
def tasks(tmp_path: Path, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """The application, in the process that sends."""
    for name in ("messages", "results", "control_folder"):
        (tmp_path / name).mkdir()
    monkeypatch.setenv("QUEUE_FOLDER", str(tmp_path))
    monkeypatch.setenv("PROVIDER_URL", provider.openai_url)
    monkeypatch.delitem(sys.modules, "celery_application", raising=False)
    application = importlib.import_module("celery_application")
    yield application
    budgeted_celery.uninstrument()
    get_manager().close()


@contextmanager
def worker(*options: str, **environment: str) -> Iterator[None]:
    """A worker, in processes of its own; it is ready for tasks."""
    command = [sys.executable, "-m", "celery", "-A", "celery_application", "worker", "--loglevel=INFO", *options]
    process = subprocess.Popen(
        [*command, "--without-gossip", "--without-mingle", "--without-heartbeat"],
        cwd=Path(__file__).parent,
        env={**os.environ, **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    lines = process.stderr
    seen: list[str] = []
    for line in lines:
        seen.append(line)
        if "ready." in line:
            break
    else:
        raise AssertionError("".join(seen))
    reader = threading.Thread(target=lambda: seen.extend(lines))
    reader.start()
    try:
        yield
    finally:
        process.terminate()
        process.wait()
        reader.join()
        lines.close()


def users(manager: BudgetManager) -> dict[str, int]:
    report = manager.report("user")
    return {user: row.calls for user, row in report.items() if user != report.rest}


@pytest.mark.slow
@pytest.mark.parametrize("pool", ["solo", "prefork", "threads"])
def test_a_task_is_charged_to_whoever_sends_it(pool: str, tasks: Any, provider: SimulatedProvider) -> None:
    get_manager().set_limits("poor", 0.000_001)
    with worker("--pool", pool, "--concurrency=1"):
        with budget("team"), budget("alice"):
            first = tasks.answer.delay("Hello!")
        with budget("bob"):
            second = tasks.answer_at_last.apply_async(("Hello!",))
        with budget("poor"):
            third = tasks.answer.delay("Hello!")
        last = tasks.answer.delay("Hello!")
        assert first.get(timeout=60) == second.get(timeout=60) == last.get(timeout=60) == ""
        assert third.get(timeout=60).startswith("BudgetExceededError: user 'poor'")
    assert provider.wait_idle()
    assert users(get_manager()) == {"team": 1, "alice": 1, "bob": 1}
    assert round(get_manager().balance().spent * 1e9) == provider.billed_nano()
    assert len(provider.bill) == 3


@pytest.mark.slow
def test_a_task_that_a_task_sends_is_charged_to_the_first_sender_and_to_his_cap(
    tasks: Any, provider: SimulatedProvider
) -> None:
    with worker("--pool=solo"):
        with budget("alice", cap=1) as block:
            tasks.pass_on.delay("Hello!").get(timeout=60)
            chained = (tasks.answer.si("One.") | tasks.answer.si("Two.")).delay()
            assert chained.get(timeout=60) == ""
        assert users(get_manager()) == {"alice": 3}
        with budget("bob"):
            assert tasks.answer.delay("Hello!").get(timeout=60) == ""
    assert users(get_manager()) == {"alice": 3, "bob": 1}
    assert block.cap == 1


@pytest.mark.slow
def test_the_calls_of_a_task_are_refused_where_nobody_can_be_trusted_to_pay(
    tasks: Any, provider: SimulatedProvider, monkeypatch: pytest.MonkeyPatch
) -> None:
    with worker("--pool=solo", BUDGETED_SECRET="mine"):  # noqa: S106 - of this test
        with budget("alice"):
            assert "LedgerError: budgeted-payers=" in tasks.answer.delay("Hello!").get(timeout=60)
            monkeypatch.setenv("BUDGETED_SECRET", "mine")
            assert tasks.answer.delay("Hello!").get(timeout=60) == ""
        forged = dict(inject())
        forged["budgeted-payers"] = forged["budgeted-payers"][:-2]
        assert "LedgerError: budgeted-payers=" in tasks.answer.apply_async(("Hi.",), headers=forged).get(timeout=60)
    assert users(get_manager()) == {"alice": 1}
    assert len(provider.bill) == 1


def test_an_eager_task_is_charged_to_whoever_calls_it(tasks: Any, provider: SimulatedProvider) -> None:
    tasks.app.conf.task_always_eager = True
    with budget("alice"):
        assert tasks.answer.delay("Hello!").get() == ""
    with budget("bob"):
        assert tasks.answer.apply(("Hello!",)).get() == ""
    assert users(get_manager()) == {"alice": 1, "bob": 1}


def test_an_age_that_makes_no_sense_is_told() -> None:
    with pytest.raises(ValueError, match="max_age"):
        budgeted_celery.instrument(max_age=-1)
