"""``budgeted run``: a program that never heard of limits is held to them, with its children; a table tells the rest."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path

import pytest
from running import Run, table

from budgeted import BudgetManager
from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.slow, pytest.mark.sdk]

AGENT = """
import openai
client = openai.OpenAI(max_retries=0)
while True:
    client.chat.completions.create(
        model="gpt-5-mini", max_completion_tokens=100, messages=[{"role": "user", "content": "Hello!"}]
    )
"""


FAMILY = """
import multiprocessing, os, signal, subprocess, sys
import budgeted

def spend(usd, user=None):
    with budgeted.budget(user), budgeted.hold(cost=usd) as held:
        held.settle(cost=usd)

def die():
    with budgeted.budget("victim"):
        budgeted.hold(cost=0.5).__enter__()
        os.kill(os.getpid(), signal.SIGKILL)

if __name__ == "__main__":
    spend(1)
    for method in ("spawn", "fork"):
        child = multiprocessing.get_context(method).Process(target=spend, args=(2, method))
        child.start()
        child.join()
    program = "import budgeted; held = budgeted.hold(cost=4).__enter__(); held.settle(cost=4)"
    subprocess.run([sys.executable, "-c", program], check=True)
    if os.fork() == 0:
        die()
    os.wait()
    budgeted.configure(max_budget=1000)
    budgeted.configure(project_name="own", ledger="memory://", default_user_limits="$20")
    spend(8, "customer")
    for too_much in (("customer", 15), (None, 80)):
        try:
            spend(too_much[1], too_much[0])
        except budgeted.BudgetExceededError as error:
            print(error.account, error.limit)
    sys.exit(5)
"""


def test_a_program_that_knows_nothing_of_it_is_ended_by_its_limit(
    run: Run, tmp_path: Path, provider: SimulatedProvider
) -> None:
    (tmp_path / "agent.py").write_text(AGENT)
    before = len(provider.bill)
    done = run("--limit", "$0.001", "--user", "alice", "--", "python", "agent.py")
    assert done.returncode == 87
    assert "agent.py" in done.stderr
    assert "budgeted.errors.BudgetExceededError: the global budget has" in done.stderr
    bill = provider.bill[before:]
    calls = str(len(bill))
    spent = table(done)["total"][1]
    assert 0 < float(spent.removeprefix("$")) <= 0.001
    assert table(done) == {
        "model gpt-5-mini": [calls, spent, "$0.00"],
        "user alice": [calls, spent, "$0.00"],
        "total": [calls, spent, "$0.00"],
        "refused": ["1"],
        "left of $0.001 (everybody)": [f"${0.001 - float(spent.removeprefix('$')):.6f}".rstrip("0")],
    }


def test_children_pay_in_every_form_and_only_this_run_is_told_of(run: Run, tmp_path: Path, budgeted_home: Path) -> None:
    """Others use the ledger before and meanwhile: their spend is in what is left, and in no row of the run's."""
    (tmp_path / "family.py").write_text(FAMILY)
    with BudgetManager("shared", ledger=budgeted_home) as others, others.hold(cost=10, user="spawn") as held:
        done = run("--project", "shared", "--limit", "$100", "--cap", "50", "--", "python", "family.py")
        held.settle(cost=10)
        assert done.returncode == 5, done.stderr
        assert re.fullmatch(r"customer \$20\nrun-\w+ a cap of \$50\n", done.stdout)
        assert others.balance().text == "$100"
        assert others.balance().spent == 27.5
    assert "$100, which this run was given, holds for 'shared'" in done.stderr
    assert table(done) == {
        "model: none named": ["6", "$17.50", "$0.50"],
        "user customer": ["1", "$8.00", "$0.00"],
        "user fork": ["1", "$2.00", "$0.00"],
        "user spawn": ["1", "$2.00", "$0.00"],
        "user victim": ["1", "$0.50", "$0.50"],
        "total": ["6", "$17.50", "$0.50"],
        "refused": ["2"],
        "left of $100 (everybody)": ["$72.50"],
        "left of $50.00 (this run)": ["$32.50"],
        "uncertain: nobody said what it cost, so it is an estimate; see `budgeted uncertain`": [],
    }


def test_the_cap_of_a_run_is_its_own(run: Run, budgeted_home: Path) -> None:
    program = "import budgeted; held = budgeted.hold(cost=1).__enter__(); held.settle(cost=1)"
    for _ in range(2):
        done = run("--cap", "$1.50", "--", "python", "-c", f"{program}; {program}")
        assert done.returncode == 87
        assert table(done)["left of $1.50 (this run)"] == ["$0.50"]


def test_a_run_is_capped_in_calls(run: Run, budgeted_home: Path) -> None:
    program = "from budgeted import hold\nfor _ in range(3):\n    with hold(cost=1) as held: held.settle(cost=1)"
    done = run("--cap", "2 calls", "--", "python", "-c", program)
    assert "a cap of 2 calls" in done.stderr
    assert re.search(r"left of 2 calls \(this run\)\s+0 calls", done.stderr)


def test_a_process_that_is_left_behind_is_told_of(run: Run) -> None:
    program = """
import os, signal, budgeted
with budgeted.budget("long name " * 24), budgeted.hold(cost=1) as held:
    held.settle(cost=1)
ready, tell = os.pipe()
left = os.fork()
if left == 0:
    os.write(tell, b".")
    for number in (1, 2):
        os.close(number)
    signal.pause()
os.read(ready, 1)
print(left)
"""
    done = run("--", "python", "-c", program)
    os.kill(int(done.stdout), signal.SIGKILL)
    assert (
        f"still running, within the same limits, so that this is what was spent until now: {done.stdout}" in done.stderr
    )
    [user] = [name for name in table(done) if name.startswith("user ")]
    assert user.startswith("user sha256:")


def test_a_daemon_whose_parent_ends_at_once_is_told_of(run: Run) -> None:
    program = """
import os, signal
if os.fork():
    os._exit(0)
os.write(1, b"%d" % os.getpid())
for number in (1, 2):
    os.close(number)
signal.pause()
"""
    done = run("--", "python", "-c", program)
    os.kill(int(done.stdout), signal.SIGKILL)
    text = f"still running, within the same limits, so that this is what was spent until now: {done.stdout}\n"
    assert text in done.stderr


def test_a_test_run_is_limited_and_ends_as_it_does(run: Run, tmp_path: Path) -> None:
    hold = "budgeted.hold(cost=1).__enter__().settle(cost=1)"
    (tmp_path / "test_it.py").write_text(f"import budgeted\ndef test_1(): {hold}\ndef test_2(): {hold}\n")
    done = run("--cap", "1", "--", "pytest", "-q", "test_it.py")
    assert done.returncode == 1
    assert "1 failed, 1 passed" in done.stdout
    assert table(done)["refused"] == ["1"]
