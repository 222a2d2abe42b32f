"""Caps of blocks in calls, tokens and USD, for some models only, per period, and shared with children."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Any
from wsgiref.util import setup_testing_defaults

import openai
import pytest
from forking import forked

from budgeted import BudgetExceededError, BudgetManager, Limit, budget, extract, inject, register_price
from budgeted.integrations.wsgi import BudgetMiddleware
from budgeted.testing import SimulatedProvider

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from wsgiref.types import StartResponse, WSGIEnvironment

    from clocks import Clock

register_price("cent", input=10_000, output=10_000, max_output_tokens=100)
"""A cent per token."""

ASK: dict[str, Any] = {
    "model": "gpt-5-mini",
    "messages": [{"role": "user", "content": "Hi"}],
    "max_completion_tokens": 50,
}


@pytest.fixture
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("tests", ledger="memory://", wait=0) as made:
        yield made


@pytest.fixture(scope="module")
def provider() -> Iterator[SimulatedProvider]:
    with SimulatedProvider() as made:
        yield made


def call(manager: BudgetManager, output: int = 10, model: str = "cent") -> None:
    """A call of an empty prompt, of which 5 tokens of input are billed and so many of output."""
    with manager.hold(model, "", output) as held:
        held.settle(usage={"input_tokens": 5, "output_tokens": output})


# -- units


def test_a_cap_in_calls_lets_so_many_through(manager: BudgetManager) -> None:
    with manager.budget("alice", cap="3 calls") as block:
        for _ in range(3):
            call(manager)
        with pytest.raises(BudgetExceededError, match=r"a cap of 3 calls") as refused:
            call(manager)
    error = refused.value
    assert (error.account_kind, error.unit, error.spent, error.remaining, error.reason) == (
        "block",
        "calls",
        3,
        0,
        "spent",
    )
    assert (block.calls, block.refused, block.cap, block.remaining, block.spent) == (3, 1, None, None, 0.45)
    assert manager.balance("alice").spent == 0.45


def test_a_cap_in_tokens_counts_input_and_output(manager: BudgetManager) -> None:
    with manager.budget(cap="300 tokens") as block:
        call(manager, 90)
        call(manager, 90)
        with pytest.raises(BudgetExceededError, match="300 tokens"):
            call(manager, 95)
        call(manager, 60)
    (balance,) = block.balances
    assert (balance.limit, balance.spent, balance.held, balance.remaining, balance.unit) == (300, 255, 0, 45, "tokens")


def test_tokens_of_input_and_of_output_are_counted_apart(manager: BudgetManager) -> None:
    with manager.budget(cap="40 input tokens + 1k output tokens") as block:
        call(manager, 90)
        with pytest.raises(BudgetExceededError, match=r"a cap of 1,000 output tokens, .* 911 output tokens") as refused:
            call(manager, 911)
        assert refused.value.unit == "output tokens"
        for _ in range(4):
            call(manager, 10)
        with pytest.raises(BudgetExceededError, match="a cap of 40 input tokens"):
            call(manager, 10)
    assert [(one.spent, one.remaining) for one in block.balances] == [(25, 15), (130, 870)]


def test_calls_of_tools_are_counted_apart(manager: BudgetManager) -> None:
    def use() -> None:
        with manager.hold(tool="web_search", cost=0) as held:
            held.settle(cost=0)

    with manager.budget(cap="2 tool calls + 1 call + 100 tokens") as block:
        use()
        use()
        with pytest.raises(BudgetExceededError, match="a cap of 2 tool calls") as refused:
            use()
        call(manager)
    assert refused.value.unit == "tool calls"
    assert [one.spent for one in block.balances] == [2, 1, 15]


def test_every_limit_of_a_cap_must_have_room(manager: BudgetManager) -> None:
    with manager.budget(cap="2 calls + $0.50") as block:
        call(manager)
        assert [(one.text, one.spent, one.remaining) for one in block.balances] == [
            ("2 calls", 1, 1),
            ("$0.50", 0.15, 0.35),
        ]
        with pytest.raises(BudgetExceededError, match=r"\$0\.50"):
            call(manager, 50)
        call(manager, 1)
        with pytest.raises(BudgetExceededError, match="2 calls"):
            call(manager, 1)
    assert (block.cap, block.remaining) == (0.5, pytest.approx(0.29))


def test_a_cap_for_some_models_counts_only_these(manager: BudgetManager) -> None:
    register_price("free-of-cap", input=10_000, output=10_000, max_output_tokens=100)
    with manager.budget(cap="1 call on cent* + $1 on cent") as block:
        call(manager)
        for _ in range(3):
            call(manager, 90, "free-of-cap")
        with pytest.raises(BudgetExceededError, match=r"1 call on cent\*"):
            call(manager, 1)
    assert [one.spent for one in block.balances] == [1, 0.15]
    assert (block.cap, block.remaining) == (1, 0.85)


def test_a_cap_in_usd_for_some_models_asks_for_no_price_of_others(manager: BudgetManager) -> None:
    with manager.budget(cap="$1 on cent"), manager.hold("nobody-priced-it", "Hi", 10) as held:
        held.settle(usage={"input_tokens": 5, "output_tokens": 1})
    with pytest.raises(BudgetExceededError), manager.budget(cap="2 calls + 5 tokens"):
        call(manager, 1, "nobody-priced-it")


def test_a_hold_that_is_given_back_is_no_call(manager: BudgetManager) -> None:
    with manager.budget(cap="1 call") as block:
        with manager.hold("cent", "", 10) as held:
            assert [one.held for one in block.balances] == [1]
            held.release()
        with manager.hold("cent", "", 10) as held:
            held.settle(usage={"input_tokens": 5, "output_tokens": 1})
    assert [one.spent for one in block.balances] == [1]


def test_output_is_cut_to_what_a_cap_in_tokens_has_left(manager: BudgetManager, provider: SimulatedProvider) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="any")
    asked = {"model": ASK["model"], "messages": ASK["messages"]}
    with manager.budget(cap="40k tokens") as block, client:
        client.chat.completions.create(**asked)
    assert block.clamped == 1
    assert 0 < block.balances[0].spent < 40_000


def test_late_answers_and_estimates_count_as_one_call(manager: BudgetManager) -> None:
    with manager.budget(cap="100 tokens + 5 calls") as block:
        with manager.hold("cent", "", 50) as held:
            pass
        estimated = [one.spent for one in block.balances]
        held.settle(usage={"input_tokens": 5, "output_tokens": 2})
    assert estimated[0] > 7
    assert [one.spent for one in block.balances] == [7, 1]


def test_a_cap_that_only_warns_counts_on(manager: BudgetManager) -> None:
    with manager.budget(cap="1 call", on_exceed="warn") as block:
        call(manager)
        call(manager)
    assert [(one.spent, one.remaining) for one in block.balances] == [(2, 0)]


def test_threads_pass_a_cap_in_calls_together_no_further_than_it_goes(manager: BudgetManager) -> None:
    def work() -> None:
        for _ in range(10):
            try:
                with block.payer.front.hold("cent", "", 1) as held:  # type: ignore[attr-defined]
                    held.settle(usage={"input_tokens": 5, "output_tokens": 1})
            except BudgetExceededError:
                pass

    with manager.budget(cap="25 calls") as block:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert (block.calls, block.refused) == (25, 15)


# -- where caps are given


def test_nested_caps_each_count(manager: BudgetManager) -> None:
    with manager.budget(cap="3 calls") as outer:
        with manager.budget(cap="1 call"):
            call(manager)
            with pytest.raises(BudgetExceededError, match="a cap of 1 call"):
                call(manager)
        call(manager)
        call(manager)
        with pytest.raises(BudgetExceededError, match="a cap of 3 calls"):
            call(manager)
    assert outer.calls == 3


def test_a_decorator_caps_each_call_of_its_function(manager: BudgetManager) -> None:
    @manager.budgeted("alice", cap="2 calls")
    def work(times: int) -> None:
        for _ in range(times):
            call(manager)

    work(2)
    work(2)
    with pytest.raises(BudgetExceededError, match="2 calls"):
        work(3)


def test_sdks_streams_and_coroutines_keep_to_a_cap_in_calls(
    manager: BudgetManager, provider: SimulatedProvider
) -> None:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="any")
    with manager.budget(cap="2 calls") as block, client:
        for _ in client.chat.completions.create(**ASK, stream=True):
            pass
        client.chat.completions.create(**ASK)
        with pytest.raises(BudgetExceededError):
            client.chat.completions.create(**ASK, stream=True)

    async def work() -> int:
        async with (
            manager.budget(cap="2 calls") as inside,
            openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any") as own,
        ):
            asked = [own.chat.completions.create(**ASK) for _ in range(4)]
            done = await asyncio.gather(*asked, return_exceptions=True)
        assert sum(isinstance(one, BudgetExceededError) for one in done) == 2
        return inside.calls

    assert (block.calls, asyncio.run(work())) == (2, 2)


@pytest.mark.parametrize("cap", [["$1", "2 calls"], [Limit("2 calls"), Limit(1)], Limit("2 calls"), ("2 calls",)])
def test_limits_are_a_cap_as_they_are(manager: BudgetManager, cap: Any) -> None:
    with manager.budget(cap=cap) as block:
        call(manager)
    assert "2 calls" in [one.text for one in block.balances]


@pytest.mark.parametrize(
    "cap",
    [
        "3 apples",
        "-2 calls",
        "1.5 calls",
        "$5 calls",
        "",
        [],
        [1],
        [Limit("2 calls"), 1],
        "1 call + 2 calls",
        b"5",
        True,
    ],
)
def test_what_is_no_cap_is_told(manager: BudgetManager, cap: Any) -> None:
    with pytest.raises((ValueError, TypeError), match="cap"):
        manager.budget(cap=cap)
    with pytest.raises((ValueError, TypeError), match="cap"):
        manager.budgeted(cap=cap)


def test_a_cap_shows_its_limits_in_a_notebook(manager: BudgetManager) -> None:
    block = manager.budget("alice", cap="$0.50 + 20 calls")
    assert "20 calls" in block._repr_html_()
    assert "cap='$0.50 + 20 calls'" in repr(block)


def test_a_middleware_caps_each_request(manager: BudgetManager) -> None:
    def application(environ: WSGIEnvironment, start_response: StartResponse) -> list[bytes]:
        for _ in range(int(environ["PATH_INFO"].strip("/"))):
            call(manager)
        start_response("200 OK", [])
        return [b""]

    def asked(calls: int) -> str:
        environ: WSGIEnvironment = {"PATH_INFO": f"/{calls}", "HTTP_X_USER": "alice"}
        setup_testing_defaults(environ)
        told: list[str] = []
        b"".join(paid(environ, lambda status, headers, error=None: told.append(status) or bytes))
        return told[-1]

    paid = BudgetMiddleware(application, user="x-user", cap="2 calls", manager=manager)
    assert [asked(2)[:3], asked(3)[:3], asked(1)[:3]] == ["200", "402", "200"]
    with pytest.raises(ValueError, match="has a period"):
        BudgetMiddleware(application, user="x-user", cap="2 calls/hour", manager=manager)


# -- with a key


def test_a_period_in_a_cap_needs_a_key(manager: BudgetManager) -> None:
    with pytest.raises(ValueError, match=r"'\$1/day' has a period.*key="):
        manager.budget(cap="$1/day")
    with pytest.raises(ValueError, match=r"key="):
        manager.budgeted(cap="5 calls/hour")


def test_a_restarted_job_goes_on_with_what_is_left_in_every_unit(tmp_path: Path) -> None:
    for used in (1, 2):
        with (
            BudgetManager("tests", ledger=tmp_path, wait=0) as manager,
            manager.budget(cap="2 calls + $1", key="job") as block,
        ):
            call(manager)
            assert [one.spent for one in block.balances] == [used, pytest.approx(used * 0.15)]
    with BudgetManager("tests", ledger=tmp_path, wait=0) as manager, manager.budget(cap="2 calls + $1", key="job"):
        refusal = pytest.raises(BudgetExceededError, match="a cap of 2 calls")
        with refusal:
            call(manager)


def test_a_keyed_cap_begins_anew_with_its_period(clock: Clock) -> None:
    manager = BudgetManager("tests", ledger="memory://", wait=0, clock=clock)
    with manager, manager.budget(cap="$0.40/day + 3 calls", key="job") as block:
        call(manager)
        with pytest.raises(BudgetExceededError, match=r"a cap of \$0\.40/day") as refused:
            call(manager)
        assert refused.value.resets_at is not None
        clock.now += 86_400
        call(manager)
        assert [(one.spent, one.remaining) for one in block.balances] == [(0.15, 0.25), (2, 1)]


def test_a_keyed_cap_looks_back_or_keeps_what_is_left(clock: Clock) -> None:
    manager = BudgetManager("tests", ledger="memory://", wait=0, clock=clock)
    cap = "4 calls/rolling 2 days + $1/day, keep up to $0.50"
    with manager, manager.budget(cap=cap, key="job") as block:
        call(manager)
        call(manager)
        assert [one.remaining for one in block.balances] == [2, 0.7]
        clock.now += 86_400
        call(manager)
        call(manager)
        assert [(one.text, one.remaining) for one in block.balances] == [
            ("4 calls/rolling 2 days", 0),
            ("$1/day, keep up to $0.50", 1.2),
        ]
        with pytest.raises(BudgetExceededError, match="a cap of 4 calls/rolling 2 days"):
            call(manager)
        clock.now += 86_400
        call(manager)
        assert block.balances[0].remaining == 1


def test_threads_leave_the_figures_of_a_keyed_cap_with_periods_as_they_are(tmp_path: Path) -> None:
    def work() -> None:
        together.wait()
        with contextlib.suppress(BudgetExceededError):
            call(manager, output=1)

    with BudgetManager("tests", ledger=f"sqlite:///{tmp_path}/ledger.db", wait=0) as manager:
        for number in range(10):
            with manager.budget(cap="5 calls/day", key=f"job {number}") as block:
                together = threading.Barrier(20)
                threads = [threading.Thread(target=work) for _ in range(20)]
                for thread in threads:
                    thread.start()
                for thread in threads:
                    thread.join()
                assert [(one.spent, one.remaining) for one in block.balances] == [(5, 0)]


def test_another_cap_under_the_same_key_counts_from_what_was_spent(manager: BudgetManager) -> None:
    with manager.budget(cap=1, key="job"):
        call(manager)
    with manager.budget(cap="2 calls + $0.50", key="job") as block:
        call(manager)
        assert [one.spent for one in block.balances] == [2, 0.30]
        with pytest.raises(BudgetExceededError):
            call(manager)


# -- other processes


def test_a_forked_child_and_its_parent_spend_a_cap_in_calls_together(tmp_path: Path) -> None:
    with BudgetManager("tests", ledger=tmp_path, wait=0) as manager, manager.budget(cap="3 calls + $10") as block:
        call(manager)

        def child() -> str:
            call(manager)
            return "through"

        assert forked(child) == "through"
        call(manager)
        with pytest.raises(BudgetExceededError, match="a cap of"):
            call(manager)
        assert [one.remaining for one in block.balances] == [0, pytest.approx(10 - 0.45)]


def test_a_cap_in_any_unit_goes_along_with_a_message(tmp_path: Path) -> None:
    with BudgetManager("tests", ledger=tmp_path, wait=0) as manager:
        with manager.budget("alice", cap="2 calls"):
            call(manager)
            carrier = inject({})
        with extract(carrier):
            call(manager)
            with pytest.raises(BudgetExceededError, match="a cap of"):
                call(manager)


def test_a_cap_in_calls_also_limits_module_level_blocks(manager: BudgetManager) -> None:
    with budget("alice", cap="1 call", manager=manager):
        call(manager)
        with pytest.raises(BudgetExceededError):
            call(manager)
