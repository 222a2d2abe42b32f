"""Prices that the application registers: whole ones, and what of a listed one is otherwise."""

from __future__ import annotations

import datetime as dt
import doctest
import inspect
from decimal import Decimal
from typing import Any

import pytest
from known_prices import found, usd

import budgeted
from budgeted import register_price
from budgeted.pricing import price_registry, token_types
from budgeted.pricing.model_price import Price
from budgeted.pricing.usage import Usage

pytestmark = pytest.mark.usefixtures("nothing_registered")

NOW = 1_795_608_000.0  # 2026-11-25 12:00 UTC
MILLION = 1_000_000


def registered(model: str, **arguments: Any) -> Price:
    price = register_price(model, **arguments)
    assert price is not None
    return price


# --- whole prices ---


def test_a_registered_price_is_in_usd_per_million_tokens() -> None:
    price = registered(
        "mine",
        input=2,
        output="8",
        cached_input=0.5,
        cache_write=Decimal("2.5"),
        per_call="$0.001",
        max_output_tokens=4096,
    )
    usage = Usage(MILLION, MILLION, cached_input_tokens=400_000, cache_write_tokens=100_000)
    assert usd(price.cost(usage, NOW)) == Decimal("9.451")
    assert usd(price.bound(MILLION, NOW)[0]) == Decimal("2.501")
    assert price.max_output_tokens == 4096
    assert found("mine").cost(usage, NOW) == price.cost(usage, NOW)
    assert found("mine", "openai", "http://localhost:8000").cost(usage, NOW) == price.cost(usage, NOW)


def test_missing_prices_are_the_inputs() -> None:
    price = registered("mine", input=3, output=0)
    usage = Usage(1000, 0, cached_input_tokens=300, cache_write_tokens=300, cache_write_1h_tokens=100)
    assert price.cost(usage, NOW) == 3_000_000


def test_a_registered_price_wins_over_the_price_list_even_if_it_was_found_before() -> None:
    before = found("gpt-5", "openai")
    registered("gpt-5", input=100, output=100)
    after = found("gpt-5", "openai")
    assert after.cost(Usage(1000), NOW) == 100_000_000 > before.cost(Usage(1000), NOW)
    assert after.max_output_tokens == before.max_output_tokens == 128_000


def test_an_exact_name_wins_over_a_long_pattern_and_that_over_a_short_one() -> None:
    registered("llama-3.3-70b*", input=2, output=0)
    registered("*", input=1, output=0)
    registered("llama-3", input=3, output=0)
    costs = [found(name).cost(Usage(1), NOW) for name in ("other", "LLAMA-3.3-70B-fast", "llama-3")]
    assert costs == [1000, 2000, 3000]


def test_registering_again_replaces() -> None:
    registered("mine", input=1, output=1)
    registered("Mine", input=2, output=2)
    assert found("mine").cost(Usage(1), NOW) == 2000
    assert len(price_registry._registered) == 1


def test_a_price_may_be_for_one_provider_or_place_only() -> None:
    registered("mine", input=1, output=0)
    registered("mine", input=2, output=0, provider="xai")
    registered("mine", input=3, output=0, base_url="http://localhost:8000/v1")
    cases = [
        (None, None, 1000),
        ("openai", None, 1000),
        ("x-ai", None, 2000),
        ("openai", "http://localhost:8000/v1/", 3000),
        ("openai", "http://localhost:8000/v1/chat", 3000),
        ("openai", "http://localhost:8000/v10", 1000),
    ]
    for provider, base_url, cost in cases:
        assert found("mine", provider, base_url).cost(Usage(1), NOW) == cost
    assert found("mine", "x-ai").provider == "x-ai"


# --- every dimension ---


@pytest.mark.parametrize(
    ("argument", "usage", "kinds"),
    [
        ("cached_input", Usage(1000, cached_input_tokens=1000), 0),
        ("cache_write", Usage(1000, cache_write_tokens=1000), token_types.CACHE_WRITE),
        (
            "cache_write_1h",
            Usage(1000, cache_write_tokens=1000, cache_write_1h_tokens=1000),
            token_types.CACHE_WRITE_1H,
        ),
        ("audio_input", Usage(1000, input_audio_tokens=1000), token_types.AUDIO),
        (
            "cached_audio_input",
            Usage(1000, cached_input_tokens=1000, input_audio_tokens=1000, cached_audio_tokens=1000),
            token_types.AUDIO,
        ),
        ("image_input", Usage(1000, input_image_tokens=1000), token_types.IMAGE),
        ("audio_output", Usage(0, 1000, output_audio_tokens=1000), token_types.AUDIO_OUT),
        ("image_output", Usage(0, 1000, output_image_tokens=1000), token_types.IMAGE_OUT),
    ],
)
def test_each_kind_of_token_is_charged_and_held_at_its_own_price(argument: str, usage: Usage, kinds: int) -> None:
    price = registered("mine", input=1, output=2, **{"audio_input": 1, "cached_input": 1, argument: 50})
    assert usd(price.cost(usage, NOW)) == Decimal("0.05")
    assert price.unknown(usage) == ""
    fixed, per_token = price.bound(usage.input_tokens, NOW, kinds=kinds)
    assert fixed + per_token * usage.output_tokens // 1000 >= price.cost(usage, NOW)


def test_a_price_per_search_and_per_second() -> None:
    price = registered("mine", input=0, output=0, per_search="0.01", per_second="0.00003083")
    assert usd(price.per_search) == Decimal("0.01")
    assert usd(price.cost(Usage(web_searches=3), NOW)) == usd(price.beside_tokens(0, 3, NOW)) == Decimal("0.03")
    assert usd(price.cost(Usage(audio_ms=1_000_000), NOW)) == Decimal("0.03083")
    assert usd(price.beside_tokens(0, 0, NOW, audio_ms=1_000_000)) == Decimal("0.03083")
    assert price.by_time
    assert price.unknown(Usage(web_searches=3, audio_ms=5)) == ""


def test_the_smallest_price_per_second_is_rounded_once_and_up() -> None:
    price = registered("mine", per_second=1e-9)
    assert price.cost(Usage(audio_ms=1), NOW) == 1
    assert price.cost(Usage(audio_ms=3_600_000), NOW) == 3600


def test_a_tier_is_a_factor_or_prices_of_its_own() -> None:
    tiers = {"priority": 1.8, "flex": {"input": 1, "output": 4}, "batch": {"multiplier": 0.5, "per_call": 0.01}}
    price = registered("mine", input=2, output=8, cached_input=0.2, per_call=0.1, per_search=0.01, tiers=tiers)
    costs = {
        tier: usd(price.cost(Usage(MILLION, MILLION, 500_000, web_searches=1, service_tier=tier), NOW))
        for tier in (None, "default", "priority", "PRIORITY", "ON_DEMAND_PRIORITY", "flex", "batch")
    }
    assert costs[None] == costs["default"] == Decimal("9.21")
    # A search costs the same in every tier.
    assert costs["priority"] == Decimal("9.2") * Decimal("1.8") + Decimal("0.01")
    assert costs["priority"] == costs["PRIORITY"] == costs["ON_DEMAND_PRIORITY"]
    assert costs["flex"] == Decimal("4.71")
    assert costs["batch"] == Decimal("4.57")
    assert usd(price.bound(MILLION, NOW, "priority")[0]) == Decimal("3.78")
    assert price.bound(MILLION, NOW, "unheard-of") == price.bound(MILLION, NOW, "priority")
    assert price.unknown(Usage(service_tier="fast")) == "service tier 'fast'"


def test_a_multiplier_is_for_all_of_the_price() -> None:
    arguments: dict[str, Any] = {"input": 1, "output": 2, "per_call": 0.1, "per_search": 0.01, "per_second": 0.001}
    usage = Usage(MILLION, MILLION, web_searches=1, audio_ms=1000)
    plain = registered("mine", **arguments).cost(usage, NOW)
    assert registered("mine", **arguments, multiplier=1.1).cost(usage, NOW) * 10 == plain * 11
    assert registered("mine", **arguments, multiplier="0.5").cost(usage, NOW) * 2 == plain


def test_steps_apply_to_all_of_a_call_above_so_much_input() -> None:
    steps = {400_000: {"output": 30}, 200_000: {"input": 2.5, "output": 15, "cached_input": 0.25}}
    price = registered("mine", input=1.25, output=10, cached_input=0.125, steps=steps)
    costs = [usd(price.cost(Usage(size, 1000), NOW)) for size in (200_000, 200_001, 400_000, 400_001)]
    assert costs == [Decimal("0.26"), Decimal("0.5150025"), Decimal("1.015"), Decimal("1.0300025")]
    assert price.cost(Usage(300_000, 0, 300_000), NOW) == 75_000_000
    assert price.bound(200_000, NOW) == (250_000_000, 10_000_000)
    assert price.bound(200_001, NOW) == (500_002_500, 15_000_000)


@pytest.mark.parametrize(
    "date", ["2026-12-01", dt.date(2026, 12, 1), dt.datetime(2026, 12, 1, tzinfo=dt.UTC), "2026-12-01T01:00:00+01:00"]
)
def test_a_dated_price_leaves_what_was_before(date: Any) -> None:
    registered("mine", input=1, output=1)
    registered("mine", input=2, output=2, valid_from=date)
    start = dt.datetime(2026, 12, 1, tzinfo=dt.UTC).timestamp()
    price = found("mine")
    assert [price.cost(Usage(1000), at) for at in (start - 1, start)] == [1_000_000, 2_000_000]
    assert price.bound(1000, start - 7200)[0] == 1_000_000
    assert price.bound(1000, start - 1800)[0] == 2_000_000  # the call may last as long


def test_several_dates_follow_each_other_in_whatever_order_they_are_said() -> None:
    for year in (2028, 2027, 2029):
        registered("mine", input=year - 2026, output=0, valid_from=f"{year}-01-01")
    registered("mine", input=0.5, output=0)
    starts = [dt.datetime(year, 6, 1, tzinfo=dt.UTC).timestamp() for year in (2026, 2027, 2028, 2029, 2030)]
    assert [found("mine").cost(Usage(1000), at) for at in starts] == [
        500_000,
        1_000_000,
        2_000_000,
        3_000_000,
        3_000_000,
    ]


def test_a_dated_price_leaves_the_listed_one_before() -> None:
    registered("gpt-4o-mini", input=100, output=100, valid_from="2026-12-01")
    price = found("gpt-4o-mini", "openai")
    assert price.cost(Usage(1000, 100), NOW) == 210_000
    assert price.cost(Usage(1000, 100), NOW + 86_400 * 30) == 110_000_000


# --- what of a listed price is otherwise ---


def test_what_is_given_repairs_a_listed_price_and_the_rest_stays() -> None:
    before = found("gpt-4o-audio-preview", "openai")
    registered("gpt-4o-audio-preview", audio_input=40, audio_output=80)
    price = found("gpt-4o-audio-preview", "openai")
    usage = Usage(500, 300, input_audio_tokens=400, output_audio_tokens=250)
    assert usd(price.cost(usage, NOW)) == Decimal("0.03675")
    assert before.unknown(usage) == "audio tokens"
    assert price.unknown(usage) == ""
    assert price.cost(Usage(1000, 100), NOW) == before.cost(Usage(1000, 100), NOW)
    assert (price.provider, price.context_window) == (before.provider, before.context_window)


def test_a_multiplier_alone_changes_every_listed_price_that_a_pattern_is_for() -> None:
    names = [("claude-opus-5", "anthropic"), ("claude-haiku-4-5", "anthropic"), ("gpt-5", "openai")]
    usages = [
        Usage(1000, 100, 500, service_tier=tier, region=region)
        for tier in (None, "batch", "fast")
        for region in ("", "us")
    ]
    before = [[found(*name).cost(usage, NOW) for usage in usages] for name in names]
    assert register_price("claude-*", multiplier=1.1) is None
    after = [[found(*name).cost(usage, NOW) for usage in usages] for name in names]
    for was, now in zip(before[:2], after[:2], strict=True):
        assert [cost * 10 for cost in now] == [cost * 11 for cost in was]
    assert before[2] == after[2]
    assert found("claude-opus-5", "anthropic").unknown(usages[1]) == ""


def test_one_of_input_and_output_leaves_the_other_as_listed() -> None:
    registered("gpt-4o-mini", output=1)
    assert found("gpt-4o-mini", "openai").cost(Usage(1000, 1000), NOW) == 150_000 + 1_000_000
    registered("my-embeddings", input="0.02")
    assert found("my-embeddings").cost(Usage(MILLION), NOW) == 20_000_000


def test_a_repaired_price_has_the_listed_tiers_steps_and_searches() -> None:
    registered("gpt-5.4", cached_input=0.1)
    price = found("gpt-5.4", "openai")
    assert price.unknown(Usage(service_tier="priority", web_searches=1)) == ""
    assert price.cost(Usage(300_000), NOW) == 300_000 * 5000
    assert price.cost(Usage(1000, 0, 1000), NOW) == 100_000


def test_a_tier_or_a_step_is_added_to_a_listed_price() -> None:
    registered("gpt-5.4", provider="azure", tiers={"priority": 2}, steps={100_000: {"input": 9}})
    price = found("gpt-5.4", "azure")
    usage = Usage(1000, 100, service_tier="priority")
    assert price.unknown(usage) == ""
    assert price.cost(usage, NOW) == 2 * price.cost(Usage(1000, 100), NOW)
    assert price.cost(Usage(100_001), NOW) == 100_001 * 9000


def test_a_change_of_nothing_that_is_listed_is_no_price() -> None:
    assert register_price("nobody-lists-it", multiplier=1.1) is None
    assert price_registry.find("nobody-lists-it", "openai") is None


def test_a_change_lies_over_the_next_whole_price() -> None:
    registered("mine-*", input=1, output=2)
    registered("mine-fast", tiers={"priority": 3}, per_search=0.01)
    price = found("mine-fast")
    assert price.cost(Usage(1000, 1000, service_tier="priority"), NOW) == 9_000_000
    assert price.cost(Usage(1000, 1000, web_searches=1), NOW) == 13_000_000
    assert found("mine-slow").cost(Usage(1000), NOW) == 1_000_000


def test_the_most_exact_change_counts_alone() -> None:
    register_price("gpt-*", multiplier=3)
    registered("gpt-4o-mini", multiplier=2)
    assert found("gpt-4o-mini", "openai").cost(Usage(1000, 100), NOW) == 420_000
    assert found("gpt-4o", "openai").cost(Usage(1000), NOW) == 7_500_000


def test_only_a_price_for_the_very_name_holds_whatever_name_the_answer_gives() -> None:
    registered("claude-opus-5", multiplier=2)
    register_price("claude-haiku-*", multiplier=2)
    registered("mine-*", input=1, output=1)
    assert found("claude-opus-5", "anthropic").registered
    assert found("mine-9").registered
    assert not found("claude-haiku-4-5", "anthropic").registered


# --- names with a provider's prefix ---


@pytest.mark.parametrize(
    ("said", "model", "provider"),
    [
        ("my-model", "openai/my-model", None),
        ("my-model", "openai/my-model", "openai"),
        ("my-model", "OpenAI/My-Model", "litellm"),
        ("llama", "ollama/llama", None),
        ("llama", "ollama_chat/llama", "ollama"),
        ("openai/my-model", "openrouter/openai/my-model", None),
        ("my-model", "hosted_vllm/my-model", "litellm"),
        ("openai/my-model", "my-model", "openai"),
        ("xai/my-model", "my-model", "x-ai"),
        ("gemini/my-model", "models/my-model", "gcp.gemini"),
        ("my-*", "azure/my-model", None),
        ("openai/my-*", "my-model", "openai"),
    ],
)
def test_a_name_stands_for_the_model_with_and_without_its_providers_prefix(
    said: str, model: str, provider: str | None
) -> None:
    registered(said, input=7, output=0)
    assert found(model, provider).cost(Usage(1000), NOW) == 7_000_000


@pytest.mark.parametrize(
    ("said", "model", "provider"),
    [
        ("openai/my-model", "my-model", "anthropic"),
        ("openai/my-model", "my-model", None),
        ("openai/my-model", "azure/my-model", None),
        ("my-model", "my-model/large", None),
        ("model", "my-model", None),
    ],
)
def test_another_providers_model_is_another_one(said: str, model: str, provider: str | None) -> None:
    registered(said, input=7, output=0)
    assert price_registry.find(model, provider) is None


def test_the_very_name_wins_over_one_without_its_prefix_and_that_over_a_pattern() -> None:
    registered("openai/*", input=1, output=0)
    assert found("openai/my-model").cost(Usage(1000), NOW) == 1_000_000
    registered("my-model", input=2, output=0)
    assert found("openai/my-model").cost(Usage(1000), NOW) == 2_000_000
    registered("openai/my-model", input=3, output=0)
    assert found("openai/my-model").cost(Usage(1000), NOW) == 3_000_000
    assert found("my-model").cost(Usage(1000), NOW) == 2_000_000


def test_a_provider_may_be_told_by_the_prefix_or_by_another_name_for_it() -> None:
    registered("my-model", input=1, output=0, provider="azure")
    for model, provider in (("azure/my-model", None), ("my-model", "azure_openai"), ("my-model", "azure.ai.openai")):
        assert found(model, provider).cost(Usage(1000), NOW) == 1_000_000
    assert price_registry.find("my-model", "openai") is None


# --- what is documented ---


def test_the_documented_examples_are_true() -> None:
    finder, runner = doctest.DocTestFinder(recurse=False), doctest.DocTestRunner(verbose=False)
    for test in finder.find(register_price, "register_price", globs=vars(budgeted)):
        runner.run(test)
    assert runner.tries >= 5
    assert runner.failures == 0


def test_the_arguments_that_are_left_out_say_nothing_and_read_as_zero() -> None:
    parameters = inspect.signature(register_price).parameters
    assert [parameters[name].default for name in ("input", "output", "per_call")] == [0, 0, 0]
    assert all(
        each.default is None
        for name, each in parameters.items()
        if name not in ("model", "input", "output", "per_call")
    )
