"""Tools: each call is held before it and charged after it, counted as one, and told by the tool's name."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any

import pytest

from budgeted import BudgetExceededError, BudgetManager, UnpricedModelError, budgeted, hold, register_tool
from budgeted.pricing import tool_prices
from budgeted.testing import SimulatedProvider


class HTTPError(Exception):
    """As HTTP clients raise them."""

    def __init__(self, status_code: int) -> None:
        self.status_code = status_code


@pytest.fixture
def manager(monkeypatch: pytest.MonkeyPatch) -> Iterator[BudgetManager]:
    monkeypatch.setattr(tool_prices, "_registered", {})
    register_tool("search", per_call="0.01")
    with BudgetManager("tools", ledger="memory://", max_budget=1) as made:
        yield made


def tools(manager: BudgetManager) -> dict[str, tuple[float, int, int]]:
    """What was spent on each tool and how often it was called, with its tokens."""
    manager.flush()
    rows = [row for row in manager.ledger.rollups() if (row.account, row.provider) == ("g", "tool")]
    return {row.model: (row.usd / 1e9, row.calls, row.input_tokens + row.output_tokens) for row in rows}


def reasons(manager: BudgetManager) -> list[tuple[str, str, float]]:
    return [(one.provider, one.model, one.cost) for one in manager.uncertain()]


# -- held by hand


def test_a_tools_price_is_held_before_and_charged_after(manager: BudgetManager) -> None:
    with manager.budget("alice", tags={"feature": "answers"}), manager.hold(tool="search") as held:
        assert manager.balance("alice").held == manager.balance().held == 0.01
        assert (held.model, held.max_output_tokens) == ("search", 0)
    assert tools(manager) == {"search": (0.01, 1, 0)}
    assert manager.balance("alice").spent == manager.balance("tag:feature=answers").spent == 0.01
    assert manager.report("provider")["tool"].spent == manager.report("model")["search"].spent == 0.01
    assert not manager.uncertain()


def test_a_coroutine_holds_it_as_well(manager: BudgetManager) -> None:
    async def search() -> None:
        async with manager.hold(tool="search"):
            await asyncio.sleep(0)
        async with manager.hold(tool="search") as held:
            held.settle(cost=0.02)

    asyncio.run(search())
    assert tools(manager) == {"search": (0.03, 2, 0)}


def test_another_cost_is_named_before_or_after(manager: BudgetManager) -> None:
    with manager.hold(tool="search", cost="0.02"):
        pass
    with manager.hold(tool="search") as held:
        held.settle(cost=0.5)
        held.settle(cost=0.7)
    with manager.hold(tool="none", cost=0) as held:
        held.settle()
    with manager.hold(tool="search") as held:
        held.release()
    assert tools(manager) == {"none": (0, 1, 0), "search": (0.52, 2, 0)}


def test_what_it_answers_is_no_bill(manager: BudgetManager) -> None:
    with manager.hold(tool="search") as held:
        held.settle({"cost": 499, "usage": {"prompt_tokens": 5, "completion_tokens": 6}, "model": "gpt-5"})
    with manager.hold(tool="search") as held:
        held.settle(HTTPError(503))
    assert tools(manager) == {"search": (0.01, 1, 0)}


def test_an_exception_gives_it_back_if_the_server_refused_and_is_uncertain_else(manager: BudgetManager) -> None:
    for error in (HTTPError(429), ConnectionRefusedError(), TimeoutError("late"), KeyError("result")):
        with pytest.raises(type(error)), manager.hold(tool="search"):
            raise error
    assert reasons(manager) == [("tool", "search", 0.01)] * 2
    assert manager.balance().held == 0
    manager.reconcile(manager.uncertain()[0].id, cost=0)
    assert tools(manager)["search"][0] == 0.01


def test_what_has_no_room_is_not_called(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$0.015")
    with manager.budget("alice", fallback="gpt-5-mini"):
        with manager.hold(tool="search"):
            pass
        with pytest.raises(BudgetExceededError) as refused, manager.hold(tool="search"):
            raise AssertionError
    assert (refused.value.model, refused.value.requested) == ("search", 0.01)
    assert refused.value.max_output_tokens is None
    assert tools(manager) == {"search": (0.01, 1, 0)}


def test_a_call_counts_as_a_tool_call_and_as_no_other(manager: BudgetManager) -> None:
    spent = {"2 tool calls": 2, "1 call": 1, "10 tokens": 0, "1 tool call on scrape": 1, "$0.05": 0.03}
    manager.set_limits("alice", *spent)
    with manager.budget("alice"):
        for tool in ("search", "scrape"):
            with manager.hold(tool=tool, cost=0.01):
                pass
        with pytest.raises(BudgetExceededError) as refused, manager.hold(tool="search"):
            raise AssertionError
        with manager.hold(cost=0.01) as held:
            held.settle(cost=0.01)
    assert (refused.value.limit, refused.value.unit, refused.value.requested) == ("2 tool calls", "tool calls", 1)
    assert {one.text: one.spent for one in manager.balances("alice")} == spent
    assert manager.report(by="tool")["scrape"].calls == 1


def test_no_model_is_asked_instead_of_a_tool_as_a_limit_nears_its_end(manager: BudgetManager) -> None:
    manager.set_limits("alice", "$0.015")
    with manager.budget("alice", fallback={0.1: "gpt-5-mini"}):
        for cost in (0.01, 0.005):
            with manager.hold(tool="search", cost=cost):
                pass
    assert tools(manager) == {"search": (0.015, 2, 0)}


# -- functions


def test_a_function_is_a_tool(manager: BudgetManager) -> None:
    @manager.budgeted(user=lambda question: question, tool="search", tags={"question": lambda question: question})
    def search(question: str) -> dict[str, float]:
        """Searches."""
        assert manager.balance(question).held == 0.01
        return {"cost": 499}

    assert search("alice") == {"cost": 499}
    assert search.__doc__ == "Searches."
    assert tools(manager) == {"search": (0.01, 1, 0)}
    assert manager.balance("alice").spent == manager.balance("tag:question=alice").spent == 0.01


def test_every_kind_of_function_is_a_tool(manager: BudgetManager) -> None:
    class Search:
        @budgeted(tool="search", manager=manager)
        def method(self) -> int:
            return 1

        @staticmethod
        @budgeted(tool="search", manager=manager)
        def plain() -> int:
            return 2

        @classmethod
        @budgeted(tool="search", manager=manager)
        async def coroutine(cls) -> int:
            return 3

        @budgeted(tool="search", manager=manager)
        def steps(self) -> Iterator[int]:
            got = yield 4
            yield got

        @budgeted(tool="search", manager=manager)
        async def steps_async(self) -> AsyncIterator[int]:
            got = yield 5
            yield got

        @budgeted(tool="search", manager=manager)
        def returned(self) -> Coroutine[Any, Any, int]:
            return asyncio.sleep(0, 6)

    async def every() -> list[int]:
        async with contextlib.aclosing(made.steps_async()) as later:
            return [await made.coroutine(), await anext(later), await later.asend(50), await made.returned()]

    made = Search()
    steps = made.steps()
    assert [made.method(), made.plain(), next(steps), steps.send(40), *asyncio.run(every())] == [
        1,
        2,
        4,
        40,
        3,
        5,
        50,
        6,
    ]
    steps.close()
    assert tools(manager)["search"][1] == 6
    assert not manager.uncertain()
    assert manager.balance().held == 0


def test_steps_that_are_left_early_or_forgotten_are_charged(manager: BudgetManager) -> None:
    @manager.budgeted(tool="search")
    def steps() -> Iterator[int]:
        yield from range(5)

    @manager.budgeted(tool="search")
    async def steps_async() -> AsyncIterator[int]:
        for number in range(5):
            yield number

    async def first() -> None:
        async with contextlib.aclosing(steps_async()) as left:
            await anext(left)

    for _ in steps():
        break
    list(itertools.islice(steps(), 2))
    asyncio.run(first())
    gc.collect()
    assert tools(manager) == {"search": (0.03, 3, 0)}
    assert not manager.uncertain()


def test_a_function_that_raises_is_charged_as_any_hold_is(manager: BudgetManager) -> None:
    @manager.budgeted(tool="search")
    def search(error: Exception) -> None:
        raise error

    @manager.budgeted(tool="search")
    async def later(error: Exception) -> None:
        raise error

    @manager.budgeted(tool="search")
    def steps(error: Exception) -> Iterator[int]:
        yield 1
        raise error

    for error in (HTTPError(500), ValueError("no result")):
        for run in (search, lambda error: asyncio.run(later(error)), lambda error: list(steps(error))):
            with pytest.raises(type(error)):
                run(error)
    assert reasons(manager) == [("tool", "search", 0.01)] * 3
    assert manager.balance().held == 0


def test_what_a_tool_calls_is_charged_besides(manager: BudgetManager) -> None:
    import openai

    register_tool("outer", per_call=0.1)
    with SimulatedProvider() as provider:
        client = openai.OpenAI(base_url=f"{provider.url}/v1", api_key="none", max_retries=0)

        def ask(model: str, text: str) -> Any:
            return client.chat.completions.create(
                model=model, max_completion_tokens=20, messages=[{"role": "user", "content": text}]
            )

        @manager.budgeted(tool="search")
        def search() -> None:
            ask("gpt-5-mini", "Which words shall I search for?")

        @manager.budgeted
        def answer(model: str, prompt: str) -> Any:
            with hold(tool="outer"):
                search()
            return ask(model, prompt)

        with manager.budget("alice"):
            answer("gpt-5-mini", "Hello!")
        billed = provider.billed_usd()
        assert len(provider.bill) == 2
    assert tools(manager) == {"outer": (0.1, 1, 0), "search": (0.01, 1, 0)}
    assert manager.balance("alice").spent == pytest.approx(0.11 + float(billed), abs=1e-9)
    assert manager.balance().held == 0
    assert not manager.uncertain()


def test_a_functions_own_call_of_a_model_is_not_taken_over_by_a_tool_inside(manager: BudgetManager) -> None:
    @manager.budgeted
    def answer(model: str, prompt: str) -> dict[str, Any]:
        with hold(tool="search"):
            pass
        return {"model": model, "usage": {"prompt_tokens": 1000, "completion_tokens": 100}}

    answer("gpt-4o-mini", "Hello!")
    assert tools(manager) == {"search": (0.01, 1, 0)}
    assert manager.balance().spent == pytest.approx(0.01 + 0.00021)
    assert not manager.uncertain()


# -- prices


def test_a_tool_without_a_price_is_refused_where_usd_are_limited() -> None:
    with BudgetManager("tools", ledger="memory://") as unlimited:
        with unlimited.hold(tool="unpriced"):
            pass
        assert tools(unlimited) == {"unpriced": (0, 1, 0)}
        with unlimited.budget(cap=1), pytest.raises(UnpricedModelError, match="the tool 'unpriced'"):
            unlimited.hold(tool="unpriced").__enter__()
        unlimited.set_limits("alice", "$1")

        @unlimited.budgeted("alice", tool="unpriced")
        def call() -> None: ...

        with pytest.raises(UnpricedModelError, match=r"register_tool\('unpriced', per_call=...\)"):
            call()
        unlimited.reconfigure(unpriced="free")
        call()
        assert tools(unlimited) == {"unpriced": (0, 2, 0)}


@pytest.mark.parametrize(
    ("price", "error"),
    [(-1, ValueError), (float("nan"), ValueError), ("plenty", ValueError), (None, TypeError), (True, TypeError)],
)
def test_a_price_that_makes_no_sense_is_refused(price: Any, error: type[Exception], manager: BudgetManager) -> None:
    with pytest.raises(error, match="per_call"):
        register_tool("search", per_call=price)
    with pytest.raises(error, match="cost") if price is not None else pytest.raises(AssertionError):
        manager.hold(tool="search", cost=price)
        raise AssertionError
    assert tool_prices.find("search") == 10_000_000


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 257, 5, b"search"])
def test_a_name_that_makes_no_sense_is_refused(name: Any, manager: BudgetManager) -> None:
    for take in (lambda: register_tool(name, per_call=1), lambda: manager.hold(tool=name)):
        with pytest.raises((ValueError, TypeError), match="tool"):
            take()
    with pytest.raises((ValueError, TypeError), match="tool"):
        manager.budgeted(tool=name)


@pytest.mark.parametrize(
    "more", [{"model": "gpt-5"}, {"input": "Hi"}, {"max_output_tokens": 5}, {"n": 2}, {"tier": "x"}]
)
def test_a_tool_is_no_model(more: dict[str, Any], manager: BudgetManager) -> None:
    with pytest.raises(TypeError, match=f"is a call of a tool, and {next(iter(more))} is for one of a model"):
        manager.hold(tool="search", **more)
    with pytest.raises(ValueError, match=r"is that of tools, which hold\(tool=\.\.\.\) names"):
        manager.hold("gpt-5", "Hi", provider="tool")
    with pytest.raises(TypeError, match="a tool has no tokens"), manager.hold(tool="search") as held:
        held.settle(usage={"input_tokens": 5})
    with pytest.raises(TypeError, match=r"ask\(\), which is a call of a model"):

        @manager.budgeted(tool="search")
        def ask(model: str, prompt: str) -> None: ...


def test_a_models_call_is_none_of_a_tool_whatever_its_caller_names_as_its_provider(manager: BudgetManager) -> None:
    @manager.budgeted
    def ask(model: str, prompt: str, custom_llm_provider: str) -> dict[str, Any]:
        return {"model": model, "usage": {"prompt_tokens": 10, "completion_tokens": 1}}

    ask("gpt-4o-mini", "Hi", "tool")
    assert tools(manager) == {}
    assert manager.balance().spent > 0


def test_a_file_states_prices_of_tools(manager: BudgetManager, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from budgeted.manager.stated_settings import stated

    monkeypatch.chdir(tmp_path)
    file = tmp_path / "budgeted.toml"
    file.write_text('[tools."search"]\nper_call = 5\n[tools.scrape]\nper_call = "0.002"\n', encoding="utf-8")
    stated({}).register_prices()
    assert tool_prices.registered() == {"search": 10_000_000, "scrape": 2_000_000}  # what code says wins
    for text, problem in (
        ("per_cal = 1", r"line 2, tools.scrape.per_cal: is not known; did you mean per_call\?"),
        ("per_call = -1", r"tools.scrape: per_call .*-1"),
        ("per_call = nan", r"tools.scrape: per_call .*nan"),
        ("", r"tools.scrape: per_call .*None"),
    ):
        file.write_text(f"[tools.scrape]\n{text}\n", encoding="utf-8")
        with pytest.raises(ValueError, match=problem):
            stated({}).register_prices()
    file.write_text("tools = 5", encoding="utf-8")
    with pytest.raises(ValueError, match=r'tools: must be a table, as in \[tools\."my-tool"\], got 5'):
        stated({}).register_prices()
