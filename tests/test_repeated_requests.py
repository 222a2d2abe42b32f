"""``repeat_limit``: the same request over and over in a block is told of, and refused."""

from __future__ import annotations

import io
import logging
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pydantic
import pytest

from budgeted import BudgetExceededError, BudgetManager, register_price
from budgeted.payers import repeated_requests
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_hash import hash_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budgeted.events import Event

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""


@pytest.fixture
def told() -> list[Event]:
    return []


@pytest.fixture
def manager(told: list[Event]) -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0, on_event=told.append) as made:
        yield made


def ask(manager: BudgetManager, input: object = "Hi", model: str = "cent") -> None:
    with manager.hold(model, input, 10) as held:
        held.settle(usage={"input_tokens": 5, "output_tokens": 1})


def events(told: list[Event]) -> list[Event]:
    from budgeted.telemetry import events

    assert events.finish()
    return told


# -- what is refused


def test_one_more_than_the_limit_is_refused(manager: BudgetManager) -> None:
    with manager.budget("alice", cap=5, repeat_limit=3) as block:
        for _ in range(3):
            ask(manager)
        with pytest.raises(
            BudgetExceededError, match=r"block 'alice' has had this very request for cent 3 times"
        ) as refused:
            ask(manager)
        ask(manager, "Something else")
        ask(manager, "Hi", "gpt-5-mini")
    error = refused.value
    assert (error.reason, error.limit, error.spent, error.account_kind) == ("repeated", "repeat_limit=3", 3, "block")
    assert error.retry_after is None
    assert (block.calls, block.refused) == (5, 1)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - its own
    assert (type(again), str(again), again.reason) == (BudgetExceededError, str(error), "repeated")


def test_an_outer_block_counts_calls_of_inner_ones(manager: BudgetManager) -> None:
    with manager.budget(repeat_limit=2):
        for _ in range(2):
            with manager.budget("alice", repeat_limit=5):
                ask(manager)
        with manager.budget("bob"), pytest.raises(BudgetExceededError, match="repeat_limit=2"):
            ask(manager)


def test_each_block_begins_to_count_anew(manager: BudgetManager) -> None:
    for _ in range(3):
        with manager.budget(repeat_limit=1):
            ask(manager)


def test_a_fallback_is_no_way_around(manager: BudgetManager) -> None:
    with manager.budget(repeat_limit=1, fallback="gpt-5-mini"):
        ask(manager)
        with pytest.raises(BudgetExceededError, match="repeat_limit="):
            ask(manager)


def test_what_was_not_sent_or_cost_nothing_is_not_counted(manager: BudgetManager) -> None:
    with manager.budget(cap=0.30, repeat_limit=2):
        with manager.hold("cent", "Hi", 10) as held:
            held.release()
        with manager.hold("cent", "Hi", 10) as held:
            for _ in range(3):
                with pytest.raises(BudgetExceededError, match="a cap of"):
                    ask(manager)
            held.release()
        ask(manager)
        with manager.hold("cent", "Hi", 1):
            pass


def test_threads_share_the_count_of_their_block(manager: BudgetManager) -> None:
    with manager.budget(repeat_limit=10) as block, ThreadPoolExecutor(4) as pool:
        done = [pool.submit(ask, manager) for _ in range(30)]
        refused = sum("repeat_limit" in str(one.exception()) for one in done)
    assert (block.calls, refused) == (10, 20)


@pytest.mark.parametrize("limit", [0, -1, True, 1.5, "3", float("nan")])
def test_a_limit_that_is_no_number_from_one_on_is_refused(manager: BudgetManager, limit: Any) -> None:
    for make in (manager.budget, manager.budgeted):
        with pytest.raises(ValueError, match="repeat_limit must be a number from 1"):
            make(repeat_limit=limit)


# -- what tells requests apart


def test_the_order_of_a_bodys_fields_makes_no_other_request(manager: BudgetManager) -> None:
    with manager.budget(repeat_limit=1):
        ask(manager, {"messages": [{"role": "user", "content": "Hi"}], "temperature": 1})
        with pytest.raises(BudgetExceededError, match="repeat_limit="):
            ask(manager, {"temperature": 1, "messages": [{"content": "Hi", "role": "user"}]})
        ask(manager, {"messages": [{"role": "user", "content": "Hi"}], "temperature": 0})


class Person(pydantic.BaseModel):
    name: str


class Sealed:
    __slots__ = ()


def tool() -> None: ...


@pytest.mark.parametrize(
    "part",
    [Person(name="Ann"), {"a", "b"}, b"bytes", "lone \ud800", tool, Sealed, (1, 2), 2**70, float("inf")],
    ids=lambda part: type(part).__name__,
)
def test_whatever_is_in_a_body_can_be_told_again(manager: BudgetManager, part: object) -> None:
    with manager.budget(repeat_limit=1):
        ask(manager, {"input": "Hi", "part": part})
        with pytest.raises(BudgetExceededError, match="repeat_limit="):
            ask(manager, {"input": "Hi", "part": part})
        ask(manager, {"input": "Hi", "part": "another"})


def test_what_can_be_read_only_once_is_never_the_same(manager: BudgetManager) -> None:
    looped: list[object] = []
    looped.append(looped)
    for part in (io.BytesIO(b"one"), iter("one"), looped, object.__new__):
        assert hash_of(Request("openai", "gpt-5-mini", {"input": "Hi", "part": part})) is None
    with manager.budget(repeat_limit=1):
        for _ in range(2):
            with manager.hold(cost=0.01) as held:
                held.settle(cost=0.01)


def test_a_million_requests_take_no_more_memory_than_some(
    manager: BudgetManager, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(repeated_requests, "MOST_REQUESTS", 5)
    with manager.budget(repeat_limit=1) as block:
        for number in range(20):
            ask(manager, str(number))
        with pytest.raises(BudgetExceededError, match="repeat_limit="):
            ask(manager, "19")
    assert block.repeats is not None
    assert len(block.repeats._made) == 5
    assert not block.repeats._open


# -- what is told


def test_each_repetition_is_an_event_and_each_request_one_line(
    manager: BudgetManager, told: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "budgeted"), manager.budget("alice", repeat_limit=1):
        for input in ("one", "two"):
            ask(manager, input)
            for _ in range(3):
                with pytest.raises(BudgetExceededError, match="repeat_limit="):
                    ask(manager, input)
    lines = [record.getMessage() for record in caplog.records if "same request" in record.getMessage()]
    text = (
        "budgeted: a call for cent is refused: repeat_limit=1 lets the same request through no more often; it may be a"
    )
    assert lines == [f"{text} loop (said once)"] * 2
    found = events(told)
    assert [event.kind for event in found] == ["repeated"] * 6
    assert (found[0].account, found[0].account_kind, found[0].reason, found[0].amount) == (
        "alice",
        "block",
        "refused",
        1,
    )


def test_a_block_that_only_warns_lets_it_through_and_tells(
    manager: BudgetManager, told: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    with manager.budget(repeat_limit=1, on_exceed="warn") as block:
        for _ in range(4):
            ask(manager)
    assert block.calls == 4
    assert [(event.kind, event.reason) for event in events(told)] == [("repeated", "warned")] * 3
    assert sum("same request" in record.getMessage() for record in caplog.records) == 1
