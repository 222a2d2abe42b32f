"""Clocks that are wrong, set, or put right: what limits make of them."""

from __future__ import annotations

import logging
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest
from clocks import DAY, HOUR, NOON

from budgeted import BudgetExceededError, BudgetManager
from budgeted.limits.trusted_clock import REDRAWN, TOLERANCE, UNSET, TrustedClock


class Host:
    """A host whose clocks a test sets: one that people set, and one that nobody does."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now
        self.boot = 1000.0
        self.clock = TrustedClock(wall=lambda: self.now, boot=lambda: self.boot)

    def pass_time(self, seconds: float) -> None:
        self.now += seconds
        self.boot += seconds


@pytest.fixture
def host() -> Host:
    return Host()


def errors(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno >= logging.ERROR]


def pay(manager: BudgetManager, dollars: float) -> None:
    with manager.hold(cost=dollars) as hold:
        hold.settle(cost=dollars)


def test_a_jump_that_the_boot_clock_contradicts_begins_no_period(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    with BudgetManager("jump", ledger="memory://", max_budget="$1/day", clock=host.clock) as manager:
        pay(manager, 0.25)
        host.now += 400 * DAY
        pay(manager, 0.25)
        assert manager.balance().spent == 0.5
        [told] = errors(caplog)
        assert "400 days" in told
        host.now -= 400 * DAY
        pay(manager, 0.25)
        with pytest.raises(BudgetExceededError):
            pay(manager, 0.5)
        host.pass_time(DAY)
        pay(manager, 1)
        assert manager.balance().spent == 1.0
        resets = manager.balance().resets_at
        assert resets is not None
        assert resets.timestamp() < NOON + 2 * DAY


def test_periods_go_on_while_a_clock_is_not_believed(host: Host) -> None:
    with BudgetManager("on", ledger="memory://", max_budget="$1/day", clock=host.clock) as manager:
        host.now += 400 * DAY
        for _ in range(3):
            pay(manager, 1)
            with pytest.raises(BudgetExceededError):
                pay(manager, 1)
            host.pass_time(DAY)


def test_a_long_suspend_is_no_contradiction(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.pass_time(30 * DAY)
    assert host.clock() == host.now
    assert not caplog.records


def test_small_steps_are_followed_and_do_not_add_up_to_a_contradiction(
    host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(1000):
        host.pass_time(REDRAWN)
        host.now += 10
        assert host.clock() == host.now
    assert not caplog.records


def test_a_clock_that_was_ahead_at_first_is_followed_when_it_is_put_right(host: Host) -> None:
    host.now -= 400 * DAY
    assert host.clock() == host.now
    host.pass_time(3 * DAY)
    assert host.clock() == host.now


def test_a_clock_that_is_set_back_by_mistake_comes_forward_again(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.now -= 2 * DAY
    host.pass_time(HOUR)
    assert host.clock() == host.now
    host.now += 2 * DAY
    assert host.clock() == host.now
    assert not errors(caplog)


def test_a_clock_that_had_not_been_set_is_believed_when_it_is(caplog: pytest.LogCaptureFixture) -> None:
    host = Host(now=UNSET - 20 * 365 * DAY)
    assert host.clock() == host.now
    host.now = NOON
    assert host.clock() == NOON
    assert not caplog.records


def test_a_process_that_was_moved_to_another_machine_believes_its_clock(host: Host) -> None:
    host.boot = 5.0
    host.now += 5 * DAY
    assert host.clock() == host.now


def test_a_contradiction_is_told_once_an_hour_and_that_it_ended(host: Host, caplog: pytest.LogCaptureFixture) -> None:
    host.now += 2 * TOLERANCE
    for _ in range(100):
        host.clock()
    assert len(errors(caplog)) == 1
    host.pass_time(REDRAWN)
    host.clock()
    assert len(errors(caplog)) == 2
    host.now -= 2 * TOLERANCE
    host.clock()
    assert "agrees" in caplog.records[-1].getMessage()


def test_an_injected_clock_is_the_truth() -> None:
    now = NOON
    with BudgetManager("told", ledger="memory://", max_budget="$1/day", clock=lambda: now) as manager:
        pay(manager, 1)
        now += 400 * DAY
        pay(manager, 1)


def test_this_hosts_clock_is_not_believed_either_when_it_jumps(tmp_path: Path) -> None:
    """In a process that nothing was injected into."""
    program = f"""
        import time
        from budgeted import BudgetManager
        manager = BudgetManager("jump", ledger={str(tmp_path)!r}, max_budget="$1/day")
        def pay(dollars):
            with manager.hold(cost=dollars) as hold:
                hold.settle(cost=dollars)
        pay(0.25)
        right = time.time
        time.time = lambda: right() + 400 * 86400
        pay(0.25)
        time.time = right
        print(manager.balance().spent, manager.balance().resets_at.timestamp() < right() + 2 * 86400)
    """
    made = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True)
    assert made.stdout == "0.5 True\n"
    assert made.stderr.count("it is not believed") == 1


# -- what was begun by mistake


def begun_by_mistake(where: str, host: Host) -> None:
    """A process that was started with a wrong clock has made a call."""
    with BudgetManager("mended", ledger=where, max_budget="$1/day", clock=host.clock) as manager:
        pay(manager, 0.25)
    wrong = Host(NOON + 400 * DAY)
    with BudgetManager("mended", ledger=where, clock=wrong.clock) as manager, manager.budget("alice"):
        pay(manager, 0.5)


def test_a_period_that_was_begun_by_mistake_is_brought_back(tmp_path: Path, host: Host) -> None:
    where = str(tmp_path)
    begun_by_mistake(where, host)
    with BudgetManager("mended", ledger=where, clock=host.clock) as manager:
        assert manager.balance().spent == 0.5
        assert manager.repair_periods() == 1
        assert manager.repair_periods() == 0
        assert manager.balance().spent == 0.75
        with pytest.raises(BudgetExceededError):
            pay(manager, 0.5)
        pay(manager, 0.25)
        host.pass_time(DAY)
        pay(manager, 1)


def test_who_meets_a_period_that_has_not_come_says_so_once(
    tmp_path: Path, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    begun_by_mistake(str(tmp_path), host)
    caplog.clear()
    with BudgetManager("mended", ledger=str(tmp_path), clock=host.clock) as manager:
        for _ in range(3):
            pay(manager, 0.0625)
        [told] = errors(caplog)
        assert "$1/day" in told
        assert "budgeted repair --period" in told


def test_a_reset_says_that_a_period_that_has_not_come_stays(
    tmp_path: Path, host: Host, caplog: pytest.LogCaptureFixture
) -> None:
    begun_by_mistake(str(tmp_path), host)
    with BudgetManager("mended", ledger=str(tmp_path), clock=host.clock) as manager:
        caplog.clear()
        manager.reset_cost(None)
        assert any("budgeted repair --period" in record.getMessage() for record in caplog.records)
        manager.repair_periods()
        caplog.clear()
        manager.reset_cost(None)
        assert not caplog.records


def test_one_users_limits_are_brought_back_alone(tmp_path: Path, host: Host) -> None:
    where = str(tmp_path)
    wrong = Host(NOON + 400 * DAY)
    with BudgetManager("one", ledger=where, max_budget="$5/day", clock=wrong.clock) as manager:
        manager.set_limits("alice", "$1/day", "10 calls/hour")
        with manager.budget("alice"):
            pay(manager, 0.5)
    with BudgetManager("one", ledger=where, clock=host.clock) as manager:
        assert manager.repair_periods("alice") == 2
        starts: list[Any] = [one.period_start for one in manager.balances("alice")]
        assert all(start.timestamp() <= NOON for start in starts)
        assert manager.repair_periods() == 1
