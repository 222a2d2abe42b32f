"""``reserve=True`` and ``share=``: blocks that take a part of what is left around them for themselves."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import gc
import os
import signal
import subprocess
import sys
import threading
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from forking import forked

from budgeted import BudgetExceededError, BudgetManager, extract, inject, register_price
from budgeted.ledger import background_worker
from budgeted.testing import unmetered

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0) as made:
        made.set_limits(None, 10)
        made.set_limits("alice", 5)
        yield made


def spend(manager: BudgetManager, usd: float) -> None:
    with manager.hold(cost=usd) as held:
        held.settle(cost=usd)


def elsewhere(code: Callable[[], object]) -> None:
    """Run something outside every block that is open here."""
    contextvars.Context().run(code)


def held(manager: BudgetManager, user: str | None = None) -> tuple[float, float, float | None]:
    balance = manager.balance(user)
    return balance.spent, balance.held, balance.remaining


# -- in the ledger


def test_a_cap_is_taken_out_of_every_account_while_the_block_is_open(manager: BudgetManager) -> None:
    with manager.budget("alice", cap=2, reserve=True) as block:
        assert held(manager) == (0, 2, 8)
        assert held(manager, "alice") == (0, 2, 3)
        spend(manager, 0.5)
        assert held(manager) == (0.5, 1.5, 8)
        with pytest.raises(BudgetExceededError, match=r"a cap of \$2"):
            spend(manager, 1.6)
        assert (block.spent, block.remaining) == (0.5, 1.5)
    assert held(manager) == (0.5, 0, 9.5)
    assert held(manager, "alice") == (0.5, 0, 4.5)


def test_others_cannot_spend_what_is_set_aside_and_the_block_can(manager: BudgetManager) -> None:
    block = manager.budget(cap=8, reserve=True)
    with block:
        with pytest.raises(BudgetExceededError) as refused:
            elsewhere(lambda: spend(manager, 3))
        assert refused.value.reason == "held"
        for _ in range(4):
            spend(manager, 2)
    assert held(manager) == (8, 0, 2)


def test_who_cannot_have_it_all_does_not_get_in(manager: BudgetManager) -> None:
    spend(manager, 7)
    with pytest.raises(
        BudgetExceededError,
        match=r"the global budget has \$3.00 left of \$10, and a block with reserve=True may need \$4",
    ) as refused:
        manager.budget("bob", cap=4, reserve=True).__enter__()
    assert (refused.value.reason, refused.value.requested, refused.value.model) == ("spent", 4, None)
    assert held(manager) == (7, 0, 3)
    with manager.budget("bob", cap=3, reserve=True), pytest.raises(BudgetExceededError) as refused:
        elsewhere(manager.budget("carol", cap=1, reserve=True).__enter__)
    assert refused.value.reason == "held"
    assert held(manager) == (7, 0, 3)


def test_a_user_inside_pays_besides(manager: BudgetManager) -> None:
    with manager.budget(cap=3, reserve=True), manager.budget("alice"):
        spend(manager, 1)
        assert held(manager) == (1, 2, 7)
        assert held(manager, "alice") == (1, 0, 4)


def test_a_keyed_cap_around_gives_its_part(manager: BudgetManager) -> None:
    with manager.budget(cap=4, key="job"):
        with manager.budget(cap=3, reserve=True):
            spend(manager, 1)
        with pytest.raises(BudgetExceededError, match=r"a cap of \$4"):
            manager.budget(cap=3.5, reserve=True).__enter__()
        with manager.budget(cap=3, reserve=True):
            spend(manager, 3)


def test_a_part_serves_calls_with_other_tags(manager: BudgetManager) -> None:
    manager.set_limits("tag:feature=search", 4)
    with manager.budget(cap=8, reserve=True, tags={"feature": "search"}):
        assert held(manager) == (0, 8, 2)
        assert held(manager, "tag:feature=search") == (0, 0, 4)
        with manager.budget(tags={"feature": "chat"}):
            spend(manager, 3)
        spend(manager, 3)
        assert held(manager) == (6, 2, 2)
        with pytest.raises(BudgetExceededError, match=r"tag"):
            spend(manager, 2)
        with manager.budget(share=1) as rest:
            assert rest.cap == 1
    assert held(manager) == (6, 0, 4)


def test_tokens_are_set_aside_as_well(manager: BudgetManager) -> None:
    manager.set_limits("alice", "1000 tokens")
    with manager.budget("alice", cap="600 tokens + $5", reserve=True):
        (balance,) = manager.balances("alice")
        assert (balance.held, balance.remaining) == (600, 400)
        with manager.hold("cent", "", 50) as call:
            call.settle(usage={"input_tokens": 5, "output_tokens": 50})
        with pytest.raises(BudgetExceededError, match="1,000 tokens"):
            elsewhere(manager.budget("alice", cap="401 tokens", reserve=True).__enter__)
    (balance,) = manager.balances("alice")
    assert (balance.spent, balance.held) == (55, 0)


def test_limits_in_other_units_are_not_in_its_way(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$5", "1 call", "100 input tokens", "1000 tokens")
    with manager.budget("alice", cap="$1 + 900 tokens", reserve=True):
        assert [balance.held for balance in manager.balances("alice")] == [1, 0, 0, 900]
        spend(manager, 0.5)
        with pytest.raises(BudgetExceededError, match="1 call"):
            spend(manager, 0.5)
    with manager.budget("alice", cap=1, reserve=True):  # though no call is left
        assert held(manager, "alice") == (0.5, 1, 3.5)


def test_a_part_of_a_part_needs_room_with_a_user_who_does_not_pay_for_the_whole(manager: BudgetManager) -> None:
    with manager.budget(cap=8, reserve=True) as outer:
        with manager.budget("alice", cap=4, reserve=True):
            assert held(manager, "alice") == (0, 0, 5)
            spend(manager, 3)
        with pytest.raises(BudgetExceededError, match=r"'alice' has \$2.00 left of \$5"):
            manager.budget("alice", cap=4, reserve=True).__enter__()
        assert outer.remaining == 5
        assert held(manager) == (3, 5, 2)
    assert held(manager) == (3, 0, 7)


def test_what_goes_wrong_inside_gives_it_back(manager: BudgetManager) -> None:
    with pytest.raises(ZeroDivisionError), manager.budget(cap=2, reserve=True):
        _ = 1 / 0
    assert held(manager) == (0, 0, 10)


def test_a_block_is_entered_again_for_what_is_left_of_its_cap(manager: BudgetManager) -> None:
    block = manager.budget(cap=2, reserve=True)
    with block:
        spend(manager, 0.5)
    with block, block:
        assert held(manager) == (0.5, 1.5, 8)
    assert held(manager) == (0.5, 0, 9.5)


# -- in this process


def test_a_cap_is_taken_out_of_the_caps_around_it(manager: BudgetManager) -> None:
    with manager.budget(cap=5) as outer:
        with manager.budget(cap=2, reserve=True) as inner:
            assert (outer.held, outer.remaining) == (2, 3)
            spend(manager, 0.5)
            assert (outer.spent, outer.held, outer.remaining) == (0.5, 1.5, 3)
            assert [(one.held, one.remaining) for one in outer.balances] == [(1.5, 3)]
        assert (outer.spent, outer.held, outer.remaining) == (0.5, 0, 4.5)
        assert inner.remaining == 1.5


def test_siblings_cannot_spend_it_and_do_not_get_in(manager: BudgetManager) -> None:
    with manager.budget(cap=5) as outer:
        with manager.budget(cap=4, reserve=True):

            def outside() -> None:
                with outer:
                    with pytest.raises(BudgetExceededError, match=r"a cap of \$5"):
                        spend(manager, 1.5)
                    with pytest.raises(
                        BudgetExceededError, match=r"\$1.00 left of a cap of \$5.*reserve=True may need \$2"
                    ):
                        manager.budget(cap=2, reserve=True).__enter__()
                    with manager.budget(cap=1, reserve=True):
                        spend(manager, 1)

            elsewhere(outside)
            spend(manager, 4)
        assert outer.remaining == 0


def test_a_part_of_a_part_is_taken_once(manager: BudgetManager) -> None:
    with manager.budget(cap=9) as outer, manager.budget(cap=6, reserve=True) as first:
        with manager.budget("alice", cap=5, reserve=True) as second:
            assert (outer.remaining, first.remaining, second.remaining) == (3, 1, 5)
            assert held(manager) == (0, 6, 4)
            spend(manager, 5)
        assert (outer.remaining, first.remaining) == (3, 1)
        spend(manager, 1)
        with pytest.raises(BudgetExceededError, match=r"a cap of \$6"):
            spend(manager, 0.1)
    assert outer.remaining == 3
    assert held(manager) == (6, 0, 4)


def test_without_it_nested_caps_stay_as_they_are(manager: BudgetManager) -> None:
    with manager.budget(cap=5) as outer, manager.budget(cap=4):
        assert outer.remaining == 5
        assert held(manager) == (0, 0, 10)


def test_many_agents_at_once_never_pass_what_is_around_them(manager: BudgetManager) -> None:
    entered: list[float] = []

    def work() -> None:
        for _ in range(10):
            try:
                with outer, manager.budget(cap=0.9, reserve=True):
                    for _ in range(3):
                        spend(manager, 0.3)
                    entered.append(0.9)
            except BudgetExceededError:
                pass

    outer = manager.budget(cap=4)
    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(entered) == 4
    assert (outer.spent, outer.held) == (3.6, 0)


def test_threads_that_enter_one_block_at_once_are_all_in_it_or_none(tmp_path: Path) -> None:
    entered: list[bool] = []
    with BudgetManager("tests", ledger=f"sqlite:///{tmp_path}/ledger.db", max_budget=10, wait=0) as manager:
        large = manager.budget(cap=15, reserve=True)

        def enter() -> None:
            together.wait()
            with contextlib.suppress(BudgetExceededError), large:
                entered.append(True)

        for _ in range(5):
            together = threading.Barrier(20)
            threads = [threading.Thread(target=enter) for _ in range(20)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        assert not entered
        manager.set_limits(None, 20)
        with large:
            assert held(manager) == (0, 15, 5)
        assert held(manager) == (0, 0, 20)


def test_a_block_that_is_entered_again_at_once_keeps_its_part(manager: BudgetManager) -> None:
    def steps() -> Iterator[None]:
        with block:
            yield

    block = manager.budget(cap=2, reserve=True)
    for _ in range(50):
        step = steps()
        next(step)
        del step  # which gives back in the background
        with block:
            background_worker.drain()
            assert held(manager) == (0, 2, 8)
        assert held(manager) == (0, 0, 10)


# -- shares


def test_a_share_is_of_the_tightest_limit_around(manager: BudgetManager) -> None:
    with manager.budget(share=0.25) as block:
        assert (block.cap, block.remaining) == (2.5, 2.5)
    spend(manager, 2)
    with manager.budget("alice", share=Decimal("0.5")) as block:
        assert block.cap == 2.5
    with manager.budget(cap=3), manager.budget("alice", share=1) as block:
        spend(manager, 1)
        assert (block.cap, block.spent) == (3, 1)
        with manager.budget(share=0.5) as inner:
            assert inner.cap == 1
            with pytest.raises(BudgetExceededError, match=r"a cap of \$1"):
                spend(manager, 1.5)


def test_a_share_alone_sets_nothing_aside_and_with_reserve_it_does(manager: BudgetManager) -> None:
    with manager.budget(share=0.2):
        assert held(manager) == (0, 0, 10)
    with manager.budget(share=0.2, reserve=True):
        assert held(manager) == (0, 2, 8)
        with manager.budget(share=0.5, reserve=True) as inner:
            assert inner.cap == 1
            spend(manager, 1)
    assert held(manager) == (1, 0, 9)


def test_shares_of_siblings_are_each_of_what_is_left_then(manager: BudgetManager) -> None:
    caps = []
    with manager.budget(cap=8) as outer:
        first, second = (manager.budget(share=0.5, reserve=True) for _ in range(2))
        with first:

            def other() -> None:
                with outer, second:
                    caps.extend([first.cap, second.cap])

            elsewhere(other)
    assert caps == [4, 2]


def test_a_share_of_nothing_is_a_clear_error() -> None:
    with BudgetManager("tests", ledger="memory://") as manager:
        with pytest.raises(ValueError, match=r"share=0.25 is of what the limits around .* there is none in USD"):
            manager.budget(share=0.25).__enter__()
        manager.set_limits(None, "60 calls/minute + $1 on gpt-5*")
        with pytest.raises(ValueError, match="none in USD"):
            manager.budget("alice", share=0.25).__enter__()


@pytest.mark.parametrize("share", [0, -0.1, 1.01, 25, float("nan"), float("inf"), True, "0.25", "25%", b"1"])
def test_a_share_that_is_none_is_refused(manager: BudgetManager, share: Any) -> None:
    for make in (manager.budget, manager.budgeted):
        with pytest.raises((ValueError, TypeError), match="share must be"):
            make(share=share)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"reserve": True}, "it has none"),
        ({"reserve": 1, "cap": 2}, "reserve must be True or False"),
        ({"reserve": True, "cap": "3 calls"}, "'3 calls'"),
        ({"reserve": True, "cap": "$1 + 3 calls"}, "'3 calls'"),
        ({"reserve": True, "cap": "$1 on gpt-5*"}, "for all models"),
        ({"share": 0.5, "cap": 2}, "there is one"),
        ({"share": 0.5, "cap": 2, "reserve": True}, "there is one"),
    ],
)
def test_what_does_not_go_together_is_told(manager: BudgetManager, arguments: dict[str, Any], told: str) -> None:
    for make in (manager.budget, manager.budgeted):
        with pytest.raises((ValueError, TypeError), match=told):
            make(**arguments)


@pytest.mark.parametrize("arguments", [{"reserve": True, "cap": 2}, {"share": 0.5}, {"share": 0.5, "reserve": True}])
def test_a_key_does_not_go_with_it(manager: BudgetManager, arguments: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="key="):
        manager.budget(key="job", **arguments)


# -- coroutines, decorators, generators


@pytest.mark.parametrize("ledger", ["memory://", "a folder", "sqlite"])
def test_coroutines_set_aside_on_every_kind_of_ledger(ledger: str, tmp_path: Path) -> None:
    place = {"a folder": str(tmp_path), "sqlite": f"sqlite:///{tmp_path}/ledger.db"}.get(ledger, ledger)
    with BudgetManager("tests", ledger=place, wait=0) as manager:
        manager.set_limits(None, 10)

        async def agent() -> float:
            async with manager.budget(cap=3, reserve=True) as block:
                async with manager.hold(cost=1) as call:
                    call.settle(cost=1)
                await asyncio.sleep(0)
                return block.spent

        async def main() -> list[Any]:
            return await asyncio.gather(*(agent() for _ in range(4)), return_exceptions=True)

        done = asyncio.run(main())
        assert sorted(map(str, done))[:3] == ["1.0"] * 3
        assert sum(isinstance(one, BudgetExceededError) for one in done) == 1
        assert held(manager) == (3, 0, 7)


def test_functions_of_every_kind_set_aside_while_they_run(manager: BudgetManager) -> None:
    during: list[tuple[float, float, float | None]] = []

    def look() -> None:
        spend(manager, 0.5)
        during.append(held(manager, "alice"))

    pay = manager.budgeted("alice", cap=2, reserve=True)

    @pay
    def plain() -> int:
        look()
        return 1

    @pay
    async def coroutine() -> int:
        look()
        return 2

    @pay
    def generator() -> Iterator[int]:
        sent = yield 3
        look()
        yield sent

    @pay
    async def async_generator() -> AsyncIterator[int]:
        yield 4
        look()
        yield 5

    async def all_of(steps: AsyncIterator[int]) -> list[int]:
        return [item async for item in steps]

    steps: Any = generator()
    assert (plain(), asyncio.run(coroutine()), next(steps), steps.send(7), list(steps)) == (1, 2, 3, 7, [])
    assert asyncio.run(all_of(async_generator())) == [4, 5]
    assert during == [(0.5, 1.5, 3), (1, 1.5, 2.5), (1.5, 1.5, 2), (2, 1.5, 1.5)]
    assert held(manager, "alice") == (2, 0, 3)


def test_a_shared_function_gets_its_part_at_each_call(manager: BudgetManager) -> None:
    @manager.budgeted(user=lambda who: who, share=0.5)
    def work(who: str) -> None:
        spend(manager, 2)

    work("alice")
    with pytest.raises(BudgetExceededError, match=r"a cap of \$1.5"):
        work("alice")


def test_a_forgotten_generator_gives_back_what_it_set_aside(manager: BudgetManager) -> None:
    def steps() -> Iterator[int]:
        with manager.budget(cap=2, reserve=True):
            yield 1

    made = steps()
    next(made)
    assert held(manager) == (0, 2, 8)
    del made
    gc.collect()
    background_worker.drain()
    assert held(manager) == (0, 0, 10)


def test_a_block_that_is_never_left_gives_it_back_when_it_is_forgotten(manager: BudgetManager) -> None:
    def enter() -> None:
        manager.budget(cap=2, reserve=True).__enter__()

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    del thread
    gc.collect()
    background_worker.drain()
    assert held(manager) == (0, 0, 10)


# -- other processes


def test_a_forked_child_spends_of_its_parents_part(tmp_path: Path) -> None:
    with BudgetManager("tests", ledger=tmp_path, wait=0) as manager:
        manager.set_limits(None, 3)
        block = manager.budget(cap=2, reserve=True)

        def child() -> str:
            spend(manager, 1.5)
            block.__exit__(None, None, None)
            return "through"

        with block:
            assert forked(child) == "through"
            assert held(manager) == (1.5, 0.5, 1)
            with pytest.raises(BudgetExceededError):
                spend(manager, 1)
            spend(manager, 0.5)
        assert held(manager) == (2, 0, 1)


def test_who_goes_on_elsewhere_spends_of_the_part_as_well(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BUDGETED_SECRET", "between us")
    with BudgetManager("tests", ledger=tmp_path, wait=0) as manager:
        manager.set_limits(None, 3)

        def go_on(carrier: Mapping[str, str]) -> None:
            with extract(carrier):
                spend(manager, 1)
                with pytest.raises(BudgetExceededError, match="a cap of"):
                    spend(manager, 2)

        with manager.budget(cap=2.5, reserve=True) as block:
            carrier = inject({})
            elsewhere(lambda: go_on(carrier))
            assert held(manager) == (1, 1.5, 0.5)
            spend(manager, 1.5)
            with pytest.raises(BudgetExceededError, match="a cap of"):
                spend(manager, 0.1)
        assert block.spent == 1.5
        assert held(manager) == (2.5, 0, 0.5)


def test_who_goes_on_elsewhere_enters_no_block_for_more_than_is_left_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BUDGETED_SECRET", "a secret of many letters")
    with BudgetManager("tests", ledger=tmp_path, max_budget=10, wait=0) as manager:
        carrier: Mapping[str, str] = {}

        def there() -> None:
            with extract(carrier):
                with manager.budget("bob", cap=2, reserve=True):
                    spend(manager, 1)
                with pytest.raises(BudgetExceededError, match=r"\$2.00 left of a cap of \$3"):
                    manager.budget("bob", cap=2.5, reserve=True).__enter__()

        with manager.budget("alice", cap=3, reserve=True):
            carrier = inject()
            elsewhere(there)
            assert held(manager) == (1, 2, 7)
            spend(manager, 2)
        assert held(manager) == (3, 0, 7)


def test_where_nothing_is_metered_nothing_is_set_aside(manager: BudgetManager) -> None:
    with unmetered(), manager.budget(cap=20, reserve=True):
        assert held(manager) == (0, 0, 10)
    assert held(manager) == (0, 0, 10)


def test_what_a_killed_process_had_set_aside_is_given_back(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from budgeted import BudgetManager\n"
        "manager = BudgetManager('tests', ledger=sys.argv[1])\n"
        "with manager.budget(cap=2, reserve=True):\n"
        "    with manager.hold(cost=0.5) as held: held.settle(cost=0.5)\n"
        "    print('in', flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with BudgetManager("tests", ledger=tmp_path) as manager:
        manager.set_limits(None, 10)
        command = [sys.executable, "-c", program, str(tmp_path)]
        with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == b"in\n"
            assert held(manager) == (0.5, 1.5, 8)
            os.kill(child.pid, signal.SIGKILL)
            child.wait()
        manager.ledger.sweep()
        assert held(manager) == (0.5, 0, 9.5)
        assert manager.uncertain() == []
