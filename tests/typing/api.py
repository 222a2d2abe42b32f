"""What users write, as type checkers see it. Nothing here runs: pyright reads it in strict mode."""

from __future__ import annotations

import datetime as dt
from collections.abc import AsyncIterator, Callable, Coroutine, Generator, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any, assert_type

from budgeted import (
    Balance,
    BudgetExceededError,
    BudgetManager,
    Limit,
    Price,
    Usage,
    bind,
    budget,
    budgeted,
    configure,
    extract,
    get_manager,
    hold,
    inject,
    instrument,
    register_price,
    register_tool,
    uninstrument,
)

# -- the decorator keeps types


@budgeted
def bare(a: int, *, b: str = "x") -> str:
    return b * a


@budgeted("alice", cap=0.5, on_exceed="raise", fallback=["gpt-5-mini"], wait=5)
def named(a: int, *, b: str = "x") -> str:
    return b * a


def payer(request: dict[str, str], **_: object) -> str:
    return request["user"]


@budgeted(user=payer)
async def coroutine(request: dict[str, str], *, limit: int = 5) -> list[int]:
    return [limit]


@budgeted(user=payer, tags={"feature": "search", "user": payer, "none": None, "number": 5})
def tagged(request: dict[str, str]) -> int:
    return len(request)


def tags_of(question: str) -> dict[str, str]:
    return {"question": question}


@budgeted(tool="search", tags=tags_of)
def tool(question: str) -> list[str]:
    return [question]


assert_type(tagged({}), int)
assert_type(tool(""), list[str])
register_tool("search", per_call=0.01)
hold(tool="search", tags={"feature": "search"}, cost="0.02")
configure(tags={"team": "x"}, metric_tags=["team"])


@budgeted(user="alice", cap=Decimal("0.5"))
def generator(a: int) -> Generator[int, str, bytes]:
    yield a
    return b""


@budgeted("alice", cap="$0.50")
async def async_generator(a: int) -> AsyncIterator[int]:
    yield a


class Agent:
    @budgeted
    def method(self, a: int) -> int:
        return a

    @staticmethod
    @budgeted("alice")
    def static(a: int) -> int:
        return a

    @classmethod
    @budgeted("alice")
    def of_class(cls, a: int) -> int:
        return a


assert_type(bare(1, b="y"), str)
assert_type(named(1, b="y"), str)
later: Coroutine[Any, Any, list[int]] = coroutine({"user": "alice"}, limit=2)
assert_type(generator(1), Generator[int, str, bytes])
assert_type(async_generator(1), AsyncIterator[int])
assert_type(Agent().method(1), int)
assert_type(Agent.static(1), int)
assert_type(Agent.of_class(1), int)

bare("1")  # pyright: ignore[reportArgumentType]
named(1, c=2)  # pyright: ignore[reportCallIssue]
Agent().method("1")  # pyright: ignore[reportArgumentType]

mine: Callable[[int], int] = bind(Agent.static)


# -- managers

manager = configure(max_budget=10, duration="daily", ledger="memory://", default_user_limits={"*": "$1/day"}, wait=5)
assert_type(manager, BudgetManager)
assert_type(get_manager(), BudgetManager)
configure("$10/day + 60 calls/minute")
configure(["$10/day", Limit("$100/month"), 5], ledger=Path("ledger"), timezone=dt.UTC, fallback="gpt-5-mini")
configure(max_usd=5)  # pyright: ignore[reportCallIssue]
configure(on_exceed="block")  # pyright: ignore[reportArgumentType]

BudgetManager("app", max_budget=Decimal(5), on_event=print, alerts=0.9, clock=lambda: 0.0)
BudgetManager(max_usd=5)  # pyright: ignore[reportArgumentType]
BudgetManager(unknown_users="maybe")  # pyright: ignore[reportArgumentType]

manager.set_limits(None, "$10/day", 5, Limit(5, "monthly"))
assert_type(manager.balance("alice"), Balance)
assert_type(manager.balances(None), list[Balance])
assert_type(manager.balance().remaining, float | None)
assert_type(manager.create_budget(10, "alice", "daily"), dict[str, Any])
assert_type(manager.get_current_cost("alice"), float)
assert_type(manager.get_users(), list[str])
manager.reconcile("id", cost=0.5)
manager.reconcile("id", usage=Usage(1, 2))
manager.report(5)  # pyright: ignore[reportArgumentType]
assert_type(manager.report("tag:feature", until="2026-01-31").total.spent, float)
assert_type(manager.report().to_csv(), str)

for name, row in manager.report("model", since="2026-01-01").items():
    assert_type(name, str)
    assert_type(row.spent, float)

for charge in manager.uncertain():
    assert_type(charge.users, tuple[str, ...])


# -- blocks and holds

with budget(cap="$0.50 + 20 calls", reserve=True, repeat_limit=3) as capped, budget(share=0.25) as part:
    assert_type(capped.balances[0].remaining, float)
    assert_type(part.cap, float | None)

with budget("alice", cap=0.5, key="nightly") as block:
    assert_type(block.spent, float)
    assert_type(block.remaining, float | None)
    assert_type(block.calls, int)

with budget("alice", reraise=True), manager.budget("alice", reraise=True):
    pass
with budget(5):  # pyright: ignore[reportArgumentType]
    pass

with hold("gpt-5", "hello", 500, user="alice", provider="openai") as held:
    assert_type(held.max_output_tokens, int)
    held.settle({"usage": {}})
    held.settle(usage=Usage(1, 2))
    held.settle(cost=0.5)
    held.add("text")
    held.release()


async def use() -> None:
    async with manager.budget("alice") as block, manager.hold(cost=0.5) as held:
        assert_type(block.held, float)
        assert_type(held.id, str)


def refused(error: BudgetExceededError) -> Iterator[object]:
    yield assert_type(error.account, str)
    yield assert_type(error.retry_after, float | None)
    yield assert_type(error.resets_at, dt.datetime | None)
    yield assert_type(error.remaining, float)


with extract(inject({"accept": "*/*"}), max_age=60) as payers:
    assert_type(payers.users, tuple[str, ...])


register_price("mine", input="0.10", output=Decimal("0.4"), max_output_tokens=100)
register_price(
    "mine",
    audio_input=1,
    tiers={"priority": 1.8, "flex": {"input": 1, "output": "4"}},
    steps={200_000: {"input": 2.5}},
    multiplier="1.1",
    valid_from=dt.date(2026, 12, 1),
)
assert_type(register_price("claude-*", multiplier=1.1, valid_from="2026-12-01"), Price | None)
assert_type(instrument().unmetered, tuple[str, ...])
assert_type(instrument().complete, bool)
uninstrument()
