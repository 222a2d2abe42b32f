"""``budget(reraise=True)``: a refusal that somebody swallowed inside the block is raised where the block ends."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import http.client
import threading
import weakref
from typing import TYPE_CHECKING

import pytest

from budgeted import (
    BudgetError,
    BudgetExceededError,
    BudgetManager,
    UnattributedCallError,
    UnpricedModelError,
    instrument,
)

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", max_budget=1, wait=0) as made:
        yield made


def call(manager: BudgetManager, usd: float) -> None:
    with manager.hold(cost=usd) as held:
        held.settle(cost=usd)


def swallow(manager: BudgetManager, usd: float = 2) -> None:
    """What a framework does that answers with the error's text."""
    with contextlib.suppress(BudgetError):
        call(manager, usd)


def test_a_swallowed_refusal_is_raised_where_the_block_ends(manager: BudgetManager) -> None:
    reached = False
    with pytest.raises(BudgetExceededError) as caught, manager.budget("alice", reraise=True) as block:
        swallow(manager)
        reached = True
    assert reached
    assert (caught.value.requested, block.refused) == (2, 1)
    assert "swallow" in [entry.name for entry in caught.traceback]  # it still shows where the call was made


def test_without_it_nothing_is_raised(manager: BudgetManager) -> None:
    with manager.budget("alice") as block:
        swallow(manager)
    assert block.refused == 1


def test_a_block_without_refusals_ends_as_any_other(manager: BudgetManager) -> None:
    with manager.budget("alice", reraise=True) as block:
        call(manager, 0.5)
    assert (block.spent, block.refused) == (0.5, 0)


def test_the_first_of_several_is_raised(manager: BudgetManager) -> None:
    with pytest.raises(BudgetExceededError) as caught, manager.budget("alice", reraise=True):
        swallow(manager, 3)
        swallow(manager, 4)
    assert caught.value.requested == 3


def test_a_refusal_that_reaches_the_end_by_itself_is_raised_once(manager: BudgetManager) -> None:
    with pytest.raises(BudgetExceededError) as caught, manager.budget("alice", reraise=True):
        call(manager, 2)
    assert caught.value.__context__ is None


def test_another_exception_on_its_way_is_left_alone(manager: BudgetManager) -> None:
    with pytest.raises(KeyError, match="other"), manager.budget("alice", reraise=True):
        swallow(manager)
        raise KeyError("other")


def test_each_block_around_raises_what_was_swallowed_inside_it(manager: BudgetManager) -> None:
    with pytest.raises(BudgetExceededError), manager.budget("team:search", reraise=True):
        with contextlib.suppress(BudgetExceededError), manager.budget("alice", reraise=True):
            swallow(manager)
        call(manager, 0.5)


def test_a_block_around_learns_of_a_refusal_in_one_that_does_not_raise(manager: BudgetManager) -> None:
    team, alice = manager.budget("team:search", reraise=True), manager.budget("alice", cap=0.1)
    with pytest.raises(BudgetExceededError), team, alice:
        swallow(manager, 0.2)


def test_a_refusal_in_a_thread_or_a_task_counts(manager: BudgetManager) -> None:
    with pytest.raises(BudgetExceededError), manager.budget("alice", reraise=True):
        thread = threading.Thread(target=swallow, args=(manager,))
        thread.start()
        thread.join()

    async def agent() -> None:
        async with manager.budget("alice", reraise=True):
            await asyncio.gather(asyncio.to_thread(swallow, manager), refused(), return_exceptions=True)

    async def refused() -> None:
        async with manager.hold(cost=2):
            pass

    with pytest.raises(BudgetExceededError):
        asyncio.run(agent())


def test_a_block_that_is_entered_again_begins_anew(manager: BudgetManager) -> None:
    block = manager.budget("alice", reraise=True)
    for _ in range(2):
        with pytest.raises(BudgetExceededError), block:
            swallow(manager)
        with block:
            call(manager, 0.25)
    with pytest.raises(KeyError), block:
        swallow(manager)
        raise KeyError
    with block:
        pass


def post(path: str, body: str) -> None:
    """Ask a real provider, which hears nothing of it, and have the refusal swallowed."""
    instrument()
    connection = http.client.HTTPConnection("api.openai.com", timeout=1)
    with contextlib.suppress(BudgetError):
        connection.request("POST", path, body, {"content-type": "application/json"})


def test_calls_that_are_refused_for_another_reason_count_as_well(manager: BudgetManager) -> None:
    with pytest.raises(UnpricedModelError, match="nobody-priced-this"), manager.budget("alice", reraise=True):
        post("/v1/chat/completions", '{"model": "nobody-priced-this", "messages": []}')
    for path, named in (("/v1/batches", "a batch"), ("/v1/unheard-of", "/v1/unheard-of")):
        with pytest.raises(UnpricedModelError, match=named), manager.budget("alice", reraise=True):
            post(path, "{}")
    strict = {"default_user_limits": 1, "unattributed": "deny"}
    other = BudgetManager("strict", ledger="memory://", **strict)  # type: ignore[arg-type]
    with other, pytest.raises(UnattributedCallError), other.budget(reraise=True):
        post("/v1/chat/completions", '{"model": "gpt-5-mini", "messages": []}')


def test_a_call_that_is_let_through_is_no_refusal() -> None:
    lenient = BudgetManager("tests", ledger="memory://", max_budget=1, on_exceed="warn")
    with lenient, lenient.budget("alice", reraise=True) as block:
        call(lenient, 2)
    assert block.calls == 1


def test_the_error_and_what_it_refers_to_do_not_outlive_the_block(manager: BudgetManager) -> None:
    block = manager.budget("alice", reraise=True)
    with pytest.raises(BudgetExceededError) as caught, block:
        swallow(manager)
    left = weakref.ref(block)
    del caught, block
    gc.collect()
    assert left() is None


def test_anything_but_a_choice_is_refused(manager: BudgetManager) -> None:
    with pytest.raises(TypeError, match="reraise must be True or False, got 'yes'"):
        manager.budget("alice", reraise="yes")  # type: ignore[arg-type]
