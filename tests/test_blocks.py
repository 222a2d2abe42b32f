"""``with budget(...)``: who pays for what is called inside, caps, figures and policies."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import logging
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest
from forking import forked

from budgeted import (
    BudgetExceededError,
    BudgetManager,
    UnattributedCallError,
    bind,
    budget,
    get_manager,
    register_price,
)
from budgeted.metering import when_it_does_not_fit
from budgeted.payers import block_figures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from budgeted.ledger.wait_queues import WaitQueues

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0) as made:
        yield made


def spend(usd: float) -> None:
    """Have a call cost this much, whoever pays."""
    with get_manager().hold(cost=usd) as held:
        held.settle(cost=usd)


# -- who pays


def test_a_block_charges_its_user_and_the_global_account(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        spend(1)
    spend(2)
    assert manager.balance("alice").spent == 1
    assert manager.balance().spent == 3


def test_nested_blocks_all_pay(manager: BudgetManager) -> None:
    with manager.budget("team:search"), manager.budget("alice"):
        spend(1)
    with manager.budget("team:search"), manager.budget("bob"):
        spend(2)
    assert [manager.balance(user).spent for user in ("team:search", "alice", "bob", None)] == [3, 1, 2, 3]


def test_a_user_of_several_blocks_pays_once(manager: BudgetManager) -> None:
    with manager.budget("alice"), manager.budget("bob"), manager.budget("alice"):
        spend(1)
    assert manager.balance("alice").spent == manager.balance("bob").spent == 1


def test_a_block_without_a_user_charges_only_the_global_account(manager: BudgetManager) -> None:
    with manager.budget(cap=5) as block:
        spend(1)
    assert (block.spent, block.user, manager.get_users()) == (1, None, [])


def test_all_have_room_or_none_is_touched(manager: BudgetManager) -> None:
    manager.set_limits("bob", "$1")
    with manager.budget("alice", cap=9) as outer, manager.budget("bob") as inner, pytest.raises(BudgetExceededError):
        spend(2)
    assert (outer.spent, outer.held, outer.refused, inner.refused) == (0, 0, 1, 1)
    assert (manager.balance("alice").spent, manager.balance().held) == (0, 0)


def test_blocks_of_two_managers_each_charge_their_own(manager: BudgetManager) -> None:
    with BudgetManager("other", ledger="memory://", max_budget=3) as other:
        with manager.budget("alice"), other.budget("alice"):
            spend(1)
            assert get_manager() is other
        assert manager.balance("alice").spent == other.balance("alice").spent == 1
        with pytest.raises(BudgetExceededError), manager.budget("alice"), other.budget("alice"), manager.budget("bob"):
            spend(2.5)
        assert manager.balance().held == manager.balance("bob").held == other.balance().held == 0
        with manager.budget("alice"):
            spend(2.5)
        assert other.balance().spent == 1


def test_the_module_level_block_uses_the_innermost_blocks_manager(manager: BudgetManager) -> None:
    with BudgetManager("other", ledger="memory://") as other, other.budget(), budget("alice"):
        spend(1)
        assert other.balance("alice").spent == 1
    with budget("alice", manager=manager):
        assert get_manager() is manager


def test_the_payer_is_who_it_was_when_the_call_began(manager: BudgetManager) -> None:
    with manager.budget("alice"):
        held = manager.hold(cost=1).__enter__()
    with manager.budget("bob"):
        held.settle(cost=1)
    assert (manager.balance("alice").spent, manager.balance("bob").spent) == (1, 0)


def test_calls_that_nobody_pays_for_are_warned_of_once_per_place(
    manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.set_limits("alice", 5)
    with caplog.at_level(logging.WARNING, "budgeted"):
        for _ in range(2):
            spend(0.5)
        spend(1)
    said = [record.getMessage() for record in caplog.records if "charged to nobody" in record.getMessage()]
    assert len(said) == 1  # this file's spend() is the place
    assert f"{__file__}:{spend.__code__.co_firstlineno + 2} in spend" in said[0]
    assert "Perhaps" not in said[0]
    manager.reconfigure(unattributed="deny")
    with pytest.raises(UnattributedCallError, match="no user pays"):
        spend(1)
    with manager.budget("alice"):
        spend(1)
    assert manager.balance().spent == 3


def test_a_call_whose_block_ended_just_before_is_told_where_and_why(
    manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.set_limits("alice", 5)

    def answer() -> Iterator[None]:
        with manager.budget("alice"):
            return (spend(1) for _ in range(1))

    with caplog.at_level(logging.WARNING, "budgeted"):
        list(answer())
    [said] = [record.getMessage() for record in caplog.records]
    assert f"at {__file__}:{answer.__code__.co_firstlineno + 1} in " in said
    for written in ("ended 0.0", "generator", "background task", "@budgeted(user)", "bind(fn)", "middleware"):
        assert written in said
    assert "alice" not in said  # as telemetry may not know her name
    manager.reconfigure(unattributed="deny")
    with pytest.raises(UnattributedCallError, match="Perhaps: a block of this thread ended"):
        list(answer())


@pytest.mark.parametrize("in_that_thread", [False, True], ids=["an async endpoint", "a sync one"])
def test_a_call_whose_block_a_framework_has_entered_in_another_context_is_told_so(
    manager: BudgetManager, caplog: pytest.LogCaptureFixture, *, in_that_thread: bool
) -> None:
    manager.set_limits("alice", 5)

    @contextlib.contextmanager
    def dependency() -> Iterator[None]:
        with manager.budget("alice"):
            yield

    with caplog.at_level(logging.WARNING, "budgeted"), ThreadPoolExecutor(1) as pool:
        entered = dependency()
        pool.submit(contextvars.copy_context().run, entered.__enter__).result()
        if in_that_thread:
            pool.submit(contextvars.Context().run, spend, 1).result()
        else:
            spend(1)
        assert "a sync dependency with `yield`" in caplog.text
        pool.submit(contextvars.copy_context().run, entered.__exit__, None, None, None).result()


def test_calls_that_nobody_pays_for_are_refused_also_where_users_without_limits_are_many(tmp_path: Path) -> None:
    with BudgetManager("tests", ledger=tmp_path) as manager:
        for number in range(150):
            manager.set_limits(f"user-{number:03}")
        manager.set_limits("zoe", 5)
    with BudgetManager("tests", ledger=tmp_path, unattributed="deny") as manager:  # noqa: SIM117
        with pytest.raises(UnattributedCallError, match="no user pays"), manager.budget():
            spend(1)


# -- caps and figures


def test_a_cap_is_the_blocks_own(manager: BudgetManager) -> None:
    for _ in range(2):
        with manager.budget("alice", cap=1) as block:
            spend(0.75)
            with pytest.raises(BudgetExceededError) as refused:
                spend(0.5)
        assert (block.spent, block.remaining, block.calls, block.refused) == (0.75, 0.25, 1, 1)
        assert (refused.value.account_kind, refused.value.limit) == ("block", "a cap of $1")
        assert (refused.value.spent, refused.value.requested, refused.value.remaining) == (0.75, 0.5, 0.25)
    assert manager.balance("alice").spent == 1.5


def test_an_outer_cap_counts_what_inner_blocks_spend(manager: BudgetManager) -> None:
    with manager.budget(cap=1) as outer:
        with manager.budget("alice", cap=5):
            spend(0.6)
        with manager.budget("bob", cap=5) as inner, pytest.raises(BudgetExceededError):
            spend(0.6)
    assert (outer.spent, inner.spent) == (0.6, 0)


def test_figures_show_calls_in_flight(manager: BudgetManager) -> None:
    with manager.budget("alice", cap=5) as block:
        with manager.hold(cost=2) as held:
            assert (block.spent, block.held, block.remaining, block.calls) == (0, 2, 3, 0)
            held.settle(cost=1)
        assert (block.spent, block.held, block.remaining, block.calls) == (1, 0, 4, 1)
        with manager.hold(cost=2) as held:
            held.release()
        assert (block.spent, block.held, block.cap) == (1, 0, 5)
    with manager.budget("alice") as block:
        assert (block.cap, block.remaining) == (None, None)
    assert "user='alice'" in repr(block)


def test_a_cap_shares_itself_among_requests_without_one_of_their_own(manager: BudgetManager) -> None:
    with manager.budget(cap=400) as block:  # 100 tokens of a dollar each: a quarter of the cap
        register_price("dollar", input=0, output=1_000_000, max_output_tokens=1000)
        with manager.hold("dollar", "") as held:
            assert held.max_output_tokens == 256  # never fewer than that
            held.settle(cost=1)
    assert block.clamped == 1


@pytest.mark.parametrize("cap", [float("nan"), -1, "abc", 10**30])
def test_a_cap_that_is_no_amount_is_refused(manager: BudgetManager, cap: Any) -> None:
    with pytest.raises(ValueError, match="cap"):
        manager.budget(cap=cap)


def test_a_user_that_was_meant_as_a_cap_is_refused(manager: BudgetManager) -> None:
    with pytest.raises(ValueError, match=r"budget\(cap='0\.50'\)"):
        manager.budget("$0.50")
    with pytest.raises(TypeError, match=r"budget\(cap=0\.5\)"):
        manager.budget(0.5)  # type: ignore[arg-type]


# -- policies


def test_an_inner_warning_does_not_soften_an_outer_limit(manager: BudgetManager) -> None:
    manager.set_limits("team", 1)
    manager.set_limits("alice", 1)
    with (
        manager.budget("team"),
        manager.budget("alice", on_exceed="warn"),
        pytest.raises(BudgetExceededError) as refused,
    ):
        spend(2)
    assert refused.value.account == "team"
    with manager.budget("alice", on_exceed="warn"):
        spend(2)
    assert manager.balance("alice").spent == 2


def test_a_warning_block_lets_calls_through_and_says_so_once(
    manager: BudgetManager, caplog: pytest.LogCaptureFixture
) -> None:
    manager.set_limits("alice", "$1/day")
    with caplog.at_level(logging.WARNING, "budgeted"), manager.budget("alice", on_exceed="warn"):
        spend(2)
        spend(2)
    assert sum("goes on" in record.message for record in caplog.records) == 1


def test_a_warning_cap_only_counts(manager: BudgetManager) -> None:
    with manager.budget(cap=1, on_exceed="warn") as block:
        spend(3)
    assert (block.spent, block.remaining) == (3, 0)


def test_raise_leaves_requests_alone(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$0.50")
    with manager.budget("alice", on_exceed="raise"), pytest.raises(BudgetExceededError), manager.hold("cent", ""):
        pass
    with manager.budget("alice"), pytest.raises(BudgetExceededError), manager.hold("cent", ""):
        pass  # 100 tokens are $1, and fewer than 256 are never granted


def test_a_fallback_is_tried_before_refusing(manager: BudgetManager) -> None:
    register_price("cheap", input=0, output=0, max_output_tokens=100)
    manager.set_limits("alice", "$0.50")
    with manager.budget("alice", fallback=["cent", "cheap"]), manager.hold("cent", "", 90) as held:
        assert held.model == "cheap"
        held.settle(cost=0)
    assert manager.report("model").keys() == {"cheap"}


@pytest.mark.parametrize(
    ("option", "value"), [("on_exceed", "block"), ("wait", -1), ("wait", "x"), ("fallback", 5), ("fallback", [""])]
)
def test_a_policy_that_makes_no_sense_is_refused(manager: BudgetManager, option: str, value: Any) -> None:
    with pytest.raises((ValueError, TypeError), match=option):
        manager.budget("alice", **{option: value})


# -- the object


def test_a_block_object_may_be_used_again(manager: BudgetManager) -> None:
    block = manager.budget("alice", cap=2)
    for _ in range(2):
        with block:
            spend(1)
    with pytest.raises(BudgetExceededError), block:
        spend(1)
    assert (block.spent, block.calls, block.refused) == (2, 2, 1)


def test_a_block_object_may_be_inside_itself(manager: BudgetManager) -> None:
    block = manager.budget("alice", cap=2)
    with block:
        with manager.budget("bob"), block:
            spend(1)
        spend(1)
    assert manager.balance("alice").spent == 2
    assert (block.spent, block.held, block.calls) == (2, 0, 2)


def test_threads_share_a_block(manager: BudgetManager) -> None:
    block = manager.budget("alice", cap=10)
    barrier = threading.Barrier(8)

    def work() -> int:
        barrier.wait()
        done = 0
        with block:
            for _ in range(5):
                try:
                    spend(1)
                except BudgetExceededError:
                    continue
                done += 1
        return done

    with ThreadPoolExecutor(8) as pool:
        sent = sum(one.result() for one in [pool.submit(work) for _ in range(8)])
    assert sent == block.calls == block.spent == 10
    assert (block.held, block.refused) == (0, 30)
    assert manager.balance("alice").spent == 10


def test_a_block_is_carried_into_threads_by_bind(manager: BudgetManager) -> None:
    with manager.budget("alice") as block:
        thread = threading.Thread(target=bind(lambda: spend(1)))
    thread.start()
    thread.join()
    assert (block.spent, manager.balance("alice").spent) == (1, 1)


async def _spend(usd: float) -> None:
    async with get_manager().hold(cost=usd) as held:
        await asyncio.sleep(0)
        held.settle(cost=usd)


def test_tasks_each_have_their_own_payer(manager: BudgetManager) -> None:
    async def work(user: str) -> None:
        async with manager.budget(user):
            for _ in range(3):
                await _spend(1)

    async def main() -> None:
        await asyncio.gather(*(work(f"user{number}") for number in range(10)))
        async with manager.budget("parent"), asyncio.TaskGroup() as tasks:
            tasks.create_task(_spend(1))
            tasks.create_task(asyncio.to_thread(spend, 1))

    asyncio.run(main())
    assert [manager.balance(f"user{number}").spent for number in range(10)] == [3] * 10
    assert manager.balance("parent").spent == 2


def test_tasks_share_a_blocks_cap(manager: BudgetManager) -> None:
    async def main() -> list[Any]:
        async with manager.budget(cap=3):
            return await asyncio.gather(*(_spend(1) for _ in range(10)), return_exceptions=True)

    results = asyncio.run(main())
    assert sum(one is None for one in results) == 3
    assert sum(isinstance(one, BudgetExceededError) for one in results) == 7


def test_a_call_waits_its_turn_while_only_calls_in_flight_are_in_the_way() -> None:
    with BudgetManager(ledger="memory://", wait=30, max_budget=100) as manager:

        async def main() -> None:
            async with manager.budget(cap=1) as block:
                await asyncio.gather(*(small(manager) for _ in range(5)))
            assert (block.calls, block.refused) == (5, 0)
            assert block.spent == pytest.approx(0.5)

        async def small(manager: BudgetManager) -> None:
            async with manager.hold(cost=0.6) as held:
                await asyncio.sleep(0)
                held.settle(cost=0.1)

        asyncio.run(main())


def test_a_call_that_waits_says_for_what(
    manager: BudgetManager, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(when_it_does_not_fit, "SAID_AFTER", 0.0)
    manager.set_limits("alice", "$1/day")
    with caplog.at_level(logging.WARNING, "budgeted"), ThreadPoolExecutor() as pool:
        for inside, turns in (("alice", manager.ledger.turns), (None, block_figures.cap_turns)):
            block = manager.budget(inside, cap=None if inside else 1, wait=20)
            with block, manager.hold(cost=0.9) as held:
                waiting = [pool.submit(spend_in, block) for _ in range(2)]
                wait_in_line(turns, 2)
                held.settle(cost=0)
            for one in waiting:
                one.result(timeout=10)
    told = [record.getMessage() for record in caplog.records]
    for what in ("what is left of $1/day of a user account", "what is left of a cap of $1 of a block account"):
        assert sum(what in one for one in told) == 1  # alike, so one a minute
        assert f"a call has waited 0.0 s for calls in flight, which hold {what}; after 20 s" in "".join(told)


@pytest.mark.parametrize("limited", ["global", "user"])
def test_a_call_of_two_managers_waits_where_there_is_no_room(manager: BudgetManager, limited: str) -> None:
    """By the policy of the manager that has none, until one of its calls ends."""
    with BudgetManager("theirs", ledger="memory://", wait=60) as theirs, ThreadPoolExecutor() as pool:
        theirs.set_limits(None if limited == "global" else "alice", 1)
        with theirs.hold(cost=0.8, user="alice") as held:
            waiting = pool.submit(spend_in, manager.budget("bob"), theirs.budget("alice"))
            wait_in_line(theirs.ledger.turns, 1)
            assert not manager.ledger.turns.waiting
            held.settle(cost=0.1)
        waiting.result(timeout=10)
        assert (manager.balance("bob").spent, theirs.balance("alice").spent) == (0.5, 0.6)


def spend_in(*blocks: Any) -> None:
    with contextlib.ExitStack() as stack:
        for block in blocks:
            stack.enter_context(block)
        spend(0.5)


def test_who_waits_for_a_cap_is_not_passed_by(manager: BudgetManager) -> None:
    served = []

    def work(usd: float) -> None:
        spend(usd)
        served.append(usd)

    with ThreadPoolExecutor() as pool, manager.budget(cap=1, wait=60) as block:
        with manager.hold(cost=0.4) as held:
            big = pool.submit(work, 0.9)
            wait_in_line(block_figures.cap_turns, 1)
            small = pool.submit(work, 0.1)
            wait_in_line(block_figures.cap_turns, 2)
            held.release()
        big.result(timeout=10)
        small.result(timeout=10)
    assert served == [0.9, 0.1]
    assert (block.spent, block.held) == (1.0, 0)


def wait_in_line(turns: WaitQueues, count: int) -> None:
    """Until so many calls wait their turn."""
    for _ in range(10_000):
        if sum(map(len, turns.queues.values())) == count:
            return
        threading.Event().wait(0.001)
    pytest.fail(f"there are not {count} calls waiting")


def test_leaving_by_an_exception_ends_the_block(manager: BudgetManager) -> None:
    with pytest.raises(ZeroDivisionError), manager.budget("alice"):
        raise ZeroDivisionError
    spend(1)
    assert manager.balance("alice").spent == 0


def test_blocks_leave_nothing_behind(manager: BudgetManager) -> None:
    for _ in range(3):
        with manager.budget("alice", cap=1, key="job"):
            spend(0.1)
    gc.collect()
    assert not [one for one in gc.get_objects() if type(one).__name__ == "Budget" and one.key == "job"]


@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
@pytest.mark.parametrize("key", [None, "nightly"])
def test_forks_while_other_threads_are_inside_blocks(manager: BudgetManager, key: str | None) -> None:
    """In the child no lock is left taken by a thread that is not there."""
    done = threading.Event()

    def work() -> None:
        while not done.is_set():
            with manager.budget("alice", cap=1, key=key):
                spend(0)

    def child() -> None:
        signal.alarm(10)  # ends it, should it wait for ever
        with manager.budget("bob", cap=1, key=key) as block:
            spend(0.5)
        assert (block.spent, block.held) == (0.5, 0)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            forked(child)
    finally:
        done.set()
        for thread in threads:
            thread.join()
