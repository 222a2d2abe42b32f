"""The list of our own above genai-prices: what each row adds, and that it adds something still."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from fnmatch import fnmatchcase

import pytest
from genai_prices.data_snapshot import get_snapshot
from known_prices import found, usd

from budgeted.pricing import bundled_price_list, own_price_list, price_registry
from budgeted.pricing.own_price_list import Row
from budgeted.pricing.price_entry import Entry
from budgeted.pricing.usage import Usage

pytestmark = pytest.mark.usefixtures("nothing_registered")

NOW = 1_795_608_000.0  # a Wednesday: 2026-11-25 12:00 UTC
MILLION = 1_000_000


def cost(model: str, provider: str, usage: Usage, at: float | str = NOW, base_url: str | None = None) -> Decimal:
    moment = dt.datetime.fromisoformat(at).timestamp() if isinstance(at, str) else at
    return usd(found(model, provider, base_url).cost(usage, moment))


# --- each row ---


NUMBERED = [pytest.param(row, id=f"{number} of {row.provider}") for number, row in enumerate(own_price_list.rows(), 1)]


def names_of(row: Row) -> list[str]:
    """The models that a row is for: those listed, and those that it names itself."""
    provider = next(each for each in get_snapshot().providers if each.id == row.provider)
    listed = [model.id for model in provider.models if any(fnmatchcase(model.id.lower(), one) for one in row.models)]
    named = [model.removesuffix("*") for model in row.models]
    return [*listed, *(name for name in named if name and not set("*?[") & set(name))]


def listed_by_genai_prices(row: Row, model: str, monkeypatch: pytest.MonkeyPatch) -> Entry | None:
    with monkeypatch.context() as patch:
        patch.setattr(own_price_list, "rows", tuple)
        return bundled_price_list.lookup(model, row.provider, None)


@pytest.mark.parametrize("row", NUMBERED)
def test_a_row_says_what_genai_prices_does_not(row: Row, monkeypatch: pytest.MonkeyPatch) -> None:
    names = names_of(row)
    assert names, "no model is meant by it: mend its patterns, or remove the row"
    for model in names:
        listed = listed_by_genai_prices(row, model, monkeypatch)
        for host in (*(pattern.replace("[a-z][a-z]", "us").replace("*", "us") for pattern in row.hosts), ""):
            if row.laid_over(listed, model, host) != listed:
                return
    pytest.fail("genai-prices says all of it now: remove the row")


@pytest.mark.parametrize("row", NUMBERED)
def test_a_row_has_a_source_and_a_date(row: Row) -> None:
    assert row.source.startswith("https://")
    assert dt.date.fromisoformat(f"{row.read}-01") >= dt.date(2026, 11, 1)


def test_every_word_of_a_row_is_one_that_the_list_knows() -> None:
    with pytest.raises(ValueError, match=r"a price knows input, output, .*, got 'inptu'"):
        own_price_list.dimensions({"inptu": 3})


# --- regions ---


@pytest.mark.parametrize(
    ("model", "provider", "base_url", "times"),
    [
        ("gpt-5.4", "openai", "https://us.api.openai.com/v1", "1.1"),
        ("gpt-5.5", "openai", "https://eu.api.openai.com/v1", "1.1"),
        ("gpt-6-sol", "openai", "https://jp.api.openai.com/v1", "1.1"),
        ("gpt-6-sol", "openai", "https://api.openai.com/v1", "1"),
        ("gpt-4o", "openai", "https://us.api.openai.com/v1", "1"),
        ("gpt-5.2", "openai", "https://eu.api.openai.com/v1", "1"),
        ("claude-opus-4-6", "google", "https://us-east5-aiplatform.googleapis.com/v1", "1.1"),
        ("claude-opus-5", "google", "https://aiplatform.us.rep.googleapis.com/v1", "1.1"),
        ("claude-haiku-4-5", "google", "https://aiplatform.eu.rep.googleapis.com/v1", "1.1"),
        ("claude-opus-4-6", "google", "https://aiplatform.googleapis.com/v1", "1"),
        ("claude-3-7-sonnet", "google", "https://us-east5-aiplatform.googleapis.com/v1", "1"),
        ("gemini-2.5-pro", "google", "https://us-east5-aiplatform.googleapis.com/v1", "1"),
        ("zai-org/GLM-5.3", "together", "https://us-api.together.ai/v1", "1.25"),
        ("zai-org/GLM-5.3", "together", "https://ca-api.together.ai/v1", "1.25"),
        ("zai-org/GLM-5.3", "together", "https://api.together.ai/v1", "1"),
    ],
)
def test_a_regions_host_has_a_price_of_its_own(model: str, provider: str, base_url: str, times: str) -> None:
    there, anywhere = found(model, provider, base_url), found(model, provider)
    usage = Usage(10_000, 1000, cached_input_tokens=4000)
    assert there.cost(usage, NOW) == anywhere.cost(usage, NOW) * Decimal(times)
    assert there.bound(10_000, NOW)[1] == anywhere.bound(10_000, NOW)[1] * Decimal(times)
    assert there.per_search == anywhere.per_search


def test_a_regions_host_and_a_tier_go_together() -> None:
    flex = Usage(1000, 100, service_tier="flex")
    assert cost("gpt-5.4", "openai", flex, base_url="https://us.api.openai.com/v1") == Decimal("0.0022")


def test_a_model_may_have_a_name_of_its_own_in_a_region() -> None:
    assert cost("accounts/fireworks/models/glm-5p3-us", "fireworks", Usage(1000, 100)) == Decimal("0.00276")


# --- tiers ---


@pytest.mark.parametrize(("tier", "times"), [("priority", "1.8"), ("flex", "0.5"), ("standard", "1")])
@pytest.mark.parametrize("model", ["gemini-2.5-flash", "gemini-3.5-flash", "gemini-4-argon"])
def test_gemini_has_tiers(model: str, tier: str, times: str) -> None:
    price = found(model, "google")
    usage, plain = Usage(1000, 100, service_tier=tier), Usage(1000, 100)
    assert price.cost(usage, NOW) == price.cost(plain, NOW) * Decimal(times)
    assert price.unknown(usage) == ""


def test_flex_of_groq_costs_what_the_standard_does() -> None:
    price = found("llama-3.1-8b-instant", "groq")
    usage = Usage(1000, 50, service_tier="flex")
    assert usd(price.cost(usage, NOW)) == Decimal("0.000054")
    assert price.unknown(usage) == ""


@pytest.mark.parametrize(
    ("model", "provider"), [("gpt-5.4", "azure"), ("amazon.nova-pro-v1:0", "aws"), ("claude-sonnet-4-5", "anthropic")]
)
def test_tiers_of_which_nobody_publishes_a_factor_stay_unknown(model: str, provider: str) -> None:
    assert found(model, provider).unknown(Usage(1, 1, service_tier="priority")) == "service tier 'priority'"


# --- hours and weekdays ---


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-11-25T02:00:00+00:00", "0.0000954"),
        ("2026-11-25T00:59:59+00:00", "0.0000477"),
        ("2026-11-25T01:00:00+00:00", "0.0000954"),
        ("2026-11-25T03:59:59+00:00", "0.0000954"),
        ("2026-11-25T04:00:00+00:00", "0.0000477"),
        ("2026-11-27T09:59:59+00:00", "0.0000954"),
        ("2026-11-27T10:00:00+00:00", "0.0000477"),
        ("2026-11-28T02:00:00+00:00", "0.0000477"),
        ("2026-11-29T08:00:00+00:00", "0.0000477"),
        ("2026-11-30T08:00:00+00:00", "0.0000954"),
    ],
)
def test_deepseek_has_peaks_on_the_hours_of_weekdays(at: str, expected: str) -> None:
    usage = Usage(1000, 50, cached_input_tokens=900)
    assert cost("deepseek-flash", "deepseek", usage, at) == Decimal(expected)


@pytest.mark.parametrize(
    ("at", "expected"),
    [
        ("2026-08-01T02:00:00+00:00", "0.000522"),
        ("2026-08-16T23:59:59+00:00", "0.000522"),
        ("2026-08-17T02:00:00+00:00", "0.001716"),
        ("2026-08-22T02:00:00+00:00", "0.001716"),
        ("2026-08-22T05:00:00+00:00", "0.000858"),
        ("2026-08-23T02:00:00+00:00", "0.000858"),
        ("2026-08-24T02:00:00+00:00", "0.001716"),
    ],
)
def test_peaks_began_at_a_date_and_left_weekends_at_another(at: str, expected: str) -> None:
    assert cost("deepseek-v4-pro", "deepseek", Usage(1000, 100), at) == Decimal(expected)


def test_a_call_is_held_at_the_peaks_price_at_any_hour() -> None:
    price = found("deepseek-v4-pro", "deepseek")
    saturday = dt.datetime(2026, 11, 28, 12, tzinfo=dt.UTC).timestamp()
    assert price.bound(1000, saturday) == (1_320_000, 3_960_000)


# --- searches and fees ---


@pytest.mark.parametrize(
    ("model", "size", "fee"),
    [
        ("sonar", "low", "0.005"),
        ("sonar", "medium", "0.008"),
        ("sonar", "high", "0.012"),
        ("sonar-pro", "low", "0.006"),
        ("sonar-reasoning-pro", "medium", "0.01"),
        ("sonar-pro", None, "0.014"),
    ],
)
def test_perplexity_bills_by_the_size_of_a_searchs_context(model: str, size: str | None, fee: str) -> None:
    assert cost(model, "perplexity", Usage(service_tier=size)) == Decimal(fee)


def test_perplexitys_research_bills_reasoning_searches_and_citations() -> None:
    usage = Usage(19, 42_000, reasoning_tokens=40_000, web_searches=18, fees=(("citation_tokens", 8000),))
    assert cost("sonar-deep-research", "perplexity", usage) == Decimal("0.242038")


@pytest.mark.parametrize(
    ("model", "provider", "usage", "expected"),
    [
        ("gpt-4o-search-preview", "openai", Usage(web_searches=1), "0.025"),
        ("gpt-4o-mini-search-preview", "openai", Usage(web_searches=1), "0.025"),
        ("gpt-4o-mini", "openai", Usage(web_searches=1), "0.01"),
        ("gpt-5-search-api", "openai", Usage(web_searches=1), "0.01"),
        ("o3-mini", "openai", Usage(fees=(("file_search", 2), ("code_session", 1))), "0.035"),
        ("gemini-2.5-flash", "google", Usage(fees=(("maps", 2),)), "0.05"),
        ("gemini-2.5-flash", "google", Usage(fees=(("maps", 1),), web_searches=1), "0.06"),
        ("grok-3", "x-ai", Usage(fees=(("live_search", 5),)), "0.125"),
        ("amazon.nova-pro-v1:0", "aws", Usage(fees=(("guardrail", 2),)), "0.0003"),
        ("tts-1", "openai", Usage(100), "0.0015"),
        ("tts-1", "openai", Usage(fees=(("character", 100),)), "0.0015"),
        ("gpt-transcribe", "openai", Usage(audio_ms=61_000), "0.004575"),
        ("voxtral-mini-2602", "mistral", Usage(audio_ms=203_000), "0.01015"),
        ("ft:gpt-4o-mini-2024-07-18:acme::abc", "openai", Usage(2000, 100, 1024), "0.0005664"),
        ("ft:gpt-4o-2024-08-06:acme::abc", "openai", Usage(1000, 0, 1000), "0.001875"),
        ("embed-v4.0", "cohere", Usage(1000, input_image_tokens=1000), "0.00047"),
        ("embed-v4.0", "cohere", Usage(1000), "0.00012"),
        ("rerank-v3.5", "cohere", Usage(), "0.002"),
        ("rerank-v4.0-pro", "cohere", Usage(), "0.0025"),
        ("gemini-2.5-pro", "google", Usage(1000, input_audio_tokens=1000), "0.00125"),
        ("gemini-2.5-flash-preview-tts", "google", Usage(10, 500, output_audio_tokens=500), "0.005005"),
        ("gpt-image-1", "openai", Usage(0, 1000, output_image_tokens=1000), "0.04"),
        ("gpt-4o-mini-tts", "openai", Usage(20, 500, output_audio_tokens=500), "0.006012"),
    ],
)
def test_what_genai_prices_cannot_say_is_priced(model: str, provider: str, usage: Usage, expected: str) -> None:
    assert cost(model, provider, usage) == Decimal(expected)
    assert found(model, provider).unknown(usage) == ""


def test_a_fee_makes_no_price_of_a_model_that_nobody_lists() -> None:
    assert price_registry.find("gpt-from-nowhere", "openai") is None
    assert price_registry.find("grok-from-nowhere", "x-ai") is None


# --- a router ---


@pytest.mark.parametrize("name", ["model-router", "azure/model-router", "azure_ai/model_router/mine"])
def test_a_routers_fee_is_beside_the_model_that_answers(name: str) -> None:
    router, nano = found(name, "azure"), found("gpt-5-nano-2025-08-07", "azure")
    usage = Usage(1000, 100, cached_input_tokens=0)
    assert router.router
    assert usd(router.answered_by(nano).cost(usage, NOW)) == Decimal("0.00023")
    cached = Usage(1000, 100, cached_input_tokens=1000)
    assert router.answered_by(nano).cost(cached, NOW) == nano.cost(cached, NOW) + 140_000
    assert nano.answered_by(router) is router
    assert nano.answered_by(nano) is nano


def test_a_router_is_held_at_the_dearest_that_it_may_route_to() -> None:
    router = found("model-router", "azure")
    dearest = found("claude-opus-4-1", "anthropic")
    assert router.bound(MILLION, NOW)[0] >= dearest.bound(MILLION, NOW, kinds=1)[0] + 140_000_000
    assert router.bound(MILLION, NOW)[1] == dearest.bound(MILLION, NOW)[1]
    assert router.max_output_tokens == 128_000


# --- OpenRouter's variants of a name ---


@pytest.mark.parametrize("variant", ["nitro", "floor", "exacto", "thinking", "extended"])
def test_a_variant_costs_what_its_model_does(variant: str) -> None:
    price, plain = found(f"openai/gpt-5:{variant}", "openrouter"), found("openai/gpt-5", "openrouter")
    assert price.cost(Usage(1000, 100), NOW) == plain.cost(Usage(1000, 100), NOW)
    assert price.max_output_tokens == plain.max_output_tokens
    assert found(f"openrouter/openai/gpt-5:{variant}").model == "openai/gpt-5"


def test_a_variant_that_is_free_stays_free() -> None:
    for name in ("meta-llama/llama-3.3-70b-instruct:free", "nobody/knows-it:free"):
        assert found(name, "openrouter").cost(Usage(MILLION, MILLION), NOW) == 0


@pytest.mark.parametrize("name", ["openai/gpt-5:online", "openai/gpt-5:nitro:online", "openai/gpt-5:online:nitro"])
def test_a_variant_that_searches_is_held_and_charged_with_its_results(name: str) -> None:
    price, plain = found(name, "openrouter"), found("openai/gpt-5", "openrouter")
    assert price.cost(Usage(1000, 100), NOW) == plain.cost(Usage(1000, 100), NOW) + 20_000_000
    assert price.bound(1000, NOW)[0] == plain.bound(1000, NOW)[0] + 20_000_000


def test_a_variant_that_nobody_has_is_not_priced() -> None:
    assert price_registry.find("openai/gpt-5:turbo", "openrouter") is None
    assert price_registry.find("nobody/knows-it:nitro", "openrouter") is None
