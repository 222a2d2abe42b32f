"""Slices of a shared limit, taken as the page on scale shows it: the whole is never passed, whoever is killed."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from budgeted import BudgetManager
from budgeted.testing import Reply, SimulatedProvider

PAGE = (Path(__file__).parents[1] / "docs" / "explanation" / "scale.md").read_text(encoding="utf-8")
[EXAMPLE] = [code for code in re.findall(r"^```python\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) if "a_slice" in code]
HOSTS, LIMIT, SLICE = 4, 0.02, 0.004


@pytest.fixture
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as provider:
        yield provider


class Fleet:
    """Processes that run the page's example until the shared limit is used up, each in a folder of its own."""

    def __init__(self, provider: SimulatedProvider, folder: Path) -> None:
        self.url = f"sqlite:///{folder}/shared.db"
        code = EXAMPLE
        for text, instead in (
            ("sqlite:///shared.db", self.url),
            ("SLICE = 0.05", f"SLICE = {SLICE}"),
            ("$1/day", f"${LIMIT}"),
            ("\n\n\n@contextmanager", "\nshared.ledger.lease = 3.0\n\n\n@contextmanager"),
            ("* 20", "* 10_000"),
        ):
            assert code.count(text) == 1, text
            code = code.replace(text, instead)
        with self.shared():
            pass
        self.folders = [folder / f"host-{number}" for number in range(HOSTS)]
        environment = {**os.environ, "OPENAI_BASE_URL": provider.openai_url, "OPENAI_API_KEY": "none"}
        self.processes = []
        for one in self.folders:
            one.mkdir()
            command = [sys.executable, "-c", code]
            self.processes.append(
                subprocess.Popen(command, env=environment, cwd=one, stderr=subprocess.PIPE, text=True)
            )

    def shared(self) -> BudgetManager:
        return BudgetManager("fleet", ledger=self.url)

    def wait(self) -> None:
        """Until all that live were refused, which is how the example ends."""
        for process in self.processes:
            _, log = process.communicate(timeout=120)
            # An alert may be logged in the middle of the traceback's last line.
            refused = re.search(r"BudgetExceededError.*: the global budget has \S+ left", log, re.DOTALL)
            assert process.returncode == -9 or refused, log

    def spent_by_hosts(self) -> list[float]:
        spent = []
        for one in self.folders:
            with BudgetManager("host-1", ledger=one / "spend") as local:
                spent.append(local.balance().spent)
        return spent


@pytest.mark.slow
def test_four_processes_with_slices_spend_one_limit_and_return_what_they_leave(
    provider: SimulatedProvider, tmp_path: Path
) -> None:
    fleet = Fleet(provider, tmp_path)
    fleet.wait()
    with fleet.shared() as shared:
        balance = shared.balance()
        billed = float(provider.billed_usd())
        assert balance.spent == pytest.approx(billed, abs=1e-9)
        assert balance.spent == pytest.approx(sum(fleet.spent_by_hosts()), abs=1e-9)
        assert LIMIT - SLICE < balance.spent <= LIMIT
        assert (balance.held, shared.uncertain()) == (0, [])


@pytest.mark.slow
def test_a_process_that_is_killed_has_spent_its_slice(provider: SimulatedProvider, tmp_path: Path) -> None:
    living = threading.Event()
    provider.reply(lambda request: Reply(hang=len(provider.bill) >= 20 and not living.is_set()))
    fleet = Fleet(provider, tmp_path)
    assert provider.wait_parked(HOSTS, 60)  # each has a slice, and a call in flight
    fleet.processes[0].kill()
    living.set()
    provider.release()
    fleet.wait()
    with fleet.shared() as shared:
        balance = shared.balance()
        assert float(provider.billed_usd()) <= balance.spent <= LIMIT
        assert balance.held == 0
        assert [charge.cost for charge in shared.uncertain()] == [SLICE]


class Overloaded(Exception):
    """A provider's refusal: of a call of its own it says that nothing was spent."""

    status_code = 429


def test_a_slice_that_is_left_by_an_error_is_charged_what_was_spent_in_it(tmp_path: Path) -> None:
    code = EXAMPLE.partition("client = ")[0]
    for ledger in ("sqlite:///shared.db", "./spend"):
        code = code.replace(ledger, "memory://")
    page: dict[str, Any] = {}
    exec(code, page)  # noqa: S102 - what the page shows
    with page["shared"] as shared, page["local"] as local:
        with pytest.raises(Overloaded), page["a_slice"](0.05):
            assert shared.balance().held == 0.05
            with local.hold(cost=0.01, user="alice") as call:
                call.settle(cost=0.01)
            raise Overloaded
        balance = shared.balance()
        assert (balance.spent, balance.held) == (0.01, 0)
