"""DSPy's own engine is metered, one charge for each attempt that it sends."""

from __future__ import annotations

import asyncio
import gc
from typing import TYPE_CHECKING, Any

import dspy
import pytest
from paying import MESSAGES

import budgeted
from budgeted.testing import Reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from paying import Paying

    from budgeted.testing import SimulatedProvider

pytestmark = [
    pytest.mark.sdk,
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning",
        "ignore:unclosed",
        "ignore:Pydantic serializer",
        "ignore:Item:UserWarning",
        "ignore:Exception ignored in:pytest.PytestUnraisableExceptionWarning",
    ),
]


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    """What it leaves open, such as an event loop of its own, is collected here, where that is no error."""
    yield
    gc.collect()


def lm(provider: SimulatedProvider, model: str = "openai/gpt-5-mini", **options: Any) -> Any:
    url = provider.anthropic_url if model.startswith("anthropic") else provider.openai_url
    options = {"max_tokens": 20_000, "temperature": 1.0, "cache": False, "num_retries": 0, **options}
    return dspy.LM(model, api_base=url, api_key="any", **options)


@pytest.mark.parametrize("model", ["openai/gpt-5-mini", "anthropic/claude-haiku-4-5"])
def test_a_call_is_one_exact_charge(model: str, payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(input_tokens=50, cached_tokens=10)
    with payer.block() as block:
        assert lm(provider, model)("Hello there")
        assert lm(provider, model)(messages=MESSAGES)
    payer.agrees(calls=2)
    assert block.calls == 2


def test_a_coroutine_is_one_exact_charge(payer: Paying, provider: SimulatedProvider) -> None:
    async def main() -> None:
        with payer.block() as block:
            assert await lm(provider).acall("Hello there")
        assert block.calls == 1

    asyncio.run(main())
    payer.agrees()


def test_each_candidate_is_a_charge(payer: Paying, provider: SimulatedProvider) -> None:
    with payer.block() as block:
        assert len(lm(provider)("Hello there", n=3)) == 3
    payer.agrees(calls=3)
    assert block.calls == 3


def test_a_program_is_charged_for_its_calls(payer: Paying, provider: SimulatedProvider) -> None:
    provider.reply(text="[[ ## answer ## ]]\nRome\n\n[[ ## completed ## ]]")
    with payer.block(), dspy.context(lm=lm(provider)):
        assert dspy.Predict("question -> answer")(question="Which city?").answer == "Rome"
    payer.agrees()


def test_an_answer_from_the_cache_costs_nothing(payer: Paying, provider: SimulatedProvider) -> None:
    model = lm(provider, cache=True)
    with payer.block() as block:
        for _ in range(3):
            model("A question that no other test asks", rollout_id=provider.url)
    payer.agrees()
    assert block.calls == 1


@pytest.mark.parametrize("call", ["plain", "async"])
def test_a_refusal_reaches_the_caller_as_it_is(
    call: str, paying: Callable[..., Paying], provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.001")
    with payer.block(), pytest.raises(budgeted.BudgetExceededError):
        if call == "plain":
            lm(provider)("Hello there")
        else:
            asyncio.run(lm(provider).acall("Hello there"))
    assert provider.requests == []


def test_a_model_that_answers_with_pictures_is_held_at_their_price(payer: Paying, provider: SimulatedProvider) -> None:
    ask = lm(provider, "gemini/gemini-2.5-flash-image", max_tokens=1000)
    with payer.block(cap=0.02), pytest.raises(budgeted.BudgetExceededError):
        ask("Hello there")
    assert not provider.bill


def test_a_request_without_a_cap_gets_one_where_money_is_short(
    paying: Callable[..., Paying], provider: SimulatedProvider
) -> None:
    payer = paying(max_budget="0.10")
    with payer.block() as block:
        lm(provider, max_tokens=None)("Hello there")
    assert provider.requests[0].body["max_completion_tokens"] < 128_000
    assert block.clamped == 1
    payer.agrees()


def test_what_the_provider_refuses_costs_nothing_and_what_broke_is_uncertain(
    payer: Paying, provider: SimulatedProvider
) -> None:
    provider.queue(Reply(status=500), Reply(drop=True))
    with payer.block():
        for _ in range(2):
            with pytest.raises(dspy.utils.exceptions.LMError):
                lm(provider)("Hello there")
    payer.guessed(calls=1)


def test_what_dspy_leaves_to_litellm_is_one_charge(payer: Paying, provider: SimulatedProvider) -> None:
    with payer.block() as block:
        assert lm(provider, engine="litellm")("Hello there")
    payer.agrees()
    assert block.calls == 1
