"""Prices: as the price list has them, to the nano-dollar, and as the application registers them."""

from __future__ import annotations

import datetime as dt
import decimal
import functools
import math
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import genai_prices
import pytest
from genai_prices.data_snapshot import get_snapshot
from genai_prices.types import StartDateConstraint
from hypothesis import given
from hypothesis import strategies as st
from known_prices import found, usd

from budgeted.pricing import own_price_list, price_registry, token_types
from budgeted.pricing.usage import Usage

pytestmark = pytest.mark.usefixtures("nothing_registered")

NOW = 1_795_348_800.0  # 2026-11-22 12:00 UTC
MILLION = 1_000_000
EVERY_KIND = 63


@pytest.fixture
def nothing_of_our_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave only what genai-prices says."""
    monkeypatch.setattr(own_price_list, "rows", tuple)


# --- against the price list itself ---


def entries() -> list[tuple[str, str]]:
    return [(provider.id, model.id) for provider in get_snapshot().providers for model in provider.models]


def varied() -> list[tuple[str, str]]:
    """Entries whose prices depend on the date, the time, the service tier or the size of the input."""
    return [
        (provider.id, model.id)
        for provider in get_snapshot().providers
        for model in provider.models
        if model.price_variants or isinstance(model.prices, list) or "TieredPrices" in repr(model.prices)
    ]


@functools.cache
def moments() -> list[float]:
    """Moments just before and after some price starts or ends to apply, and times of day."""
    dates = {
        constraint.start_date
        for provider in get_snapshot().providers
        for model in provider.models
        for each in (model.prices if isinstance(model.prices, list) else [], model.price_variants or [])
        for constraint in [conditional.constraint for conditional in each]
        if isinstance(constraint, StartDateConstraint)
    }
    midnights = [dt.datetime.combine(date, dt.time(), dt.UTC).timestamp() for date in sorted(dates)]
    hours = [NOW + 1800 * half for half in range(48)]
    return [0.0, NOW, *hours, *(midnight + offset for midnight in midnights for offset in (-3600, -0.5, 0, 86_399.5))]


SIZES = st.sampled_from([0, 1, 1000, 128_000, 128_001, 200_000, 200_001, 272_000, 272_001, 2_000_000])
TIERS = st.sampled_from([None, "default", "auto", "standard_only", "priority", "flex", "fast", "batch", "scale", ""])


@st.composite
def usages(draw: st.DrawFn) -> Usage:
    """Draw usages in which no token is of two kinds that providers price apart, except cached audio."""

    def part(most: int) -> int:
        return draw(st.integers(0, most)) if draw(st.booleans()) else 0

    total, made = draw(SIZES), draw(st.sampled_from([0, 1, 7, 3000, 128_000]))
    cached = part(total)
    written = part(total - cached)
    audio = part(total - cached - written)
    image = part(total - cached - written - audio)
    cached_audio = part(cached)
    reasoning = part(made)
    spoken = part(made - reasoning)
    return Usage(
        total,
        made,
        cached_input_tokens=cached,
        cache_write_tokens=written,
        cache_write_1h_tokens=part(written),
        reasoning_tokens=reasoning,
        input_audio_tokens=audio + cached_audio,
        cached_audio_tokens=cached_audio,
        output_audio_tokens=spoken,
        input_image_tokens=image,
        output_image_tokens=part(made - reasoning - spoken),
        web_searches=draw(st.sampled_from([0, 0, 1, 30])),
        service_tier=draw(TIERS),
    )


def oracle(provider: str, model: str, usage: Usage, at: float) -> Decimal:
    """What genai-prices says, in nano-USD."""
    same: dict[str, Any] = {
        "input_tokens": usage.input_tokens,
        "output_tokens": usage.output_tokens,
        "cache_read_tokens": usage.cached_input_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "cache_write_1h_tokens": usage.cache_write_1h_tokens,
        "input_audio_tokens": usage.input_audio_tokens,
        "cache_audio_read_tokens": usage.cached_audio_tokens,
        "output_audio_tokens": usage.output_audio_tokens,
        "input_image_tokens": usage.input_image_tokens,
        "output_image_tokens": usage.output_image_tokens,
        "output_reasoning_tokens": usage.reasoning_tokens,
        "web_searches": usage.web_searches,
    }
    unknown = ("cache_image_read_tokens", "cache_audio_write_tokens", "cache_image_write_tokens", "input_video_tokens")
    tier = usage.service_tier
    with decimal.localcontext(prec=60):
        calculated = genai_prices.calc_price(
            genai_prices.Usage(**same, **dict.fromkeys(unknown, 0), output_video_tokens=0, output_citation_tokens=0),
            model,
            provider_id=provider,
            genai_request_timestamp=dt.datetime.fromtimestamp(at, dt.UTC),
            price_context={"service_tier": tier, "processing": tier, "speed": tier} if tier else None,
        )
        return calculated.total_price * 10**9


def assert_agrees(entry: tuple[str, str], usage: Usage, at: float) -> None:
    provider, model = entry
    price = price_registry.find(model, provider)
    if price is None or "omni" in model:  # whose images are priced as its video is
        return
    if price.per_call or is_by_other_units(entry):  # of which the oracle is told nothing
        return
    cost, exact = price.cost(usage, at), oracle(provider, model, usage, at)
    if price.unknown(usage):  # which the oracle takes for the standard tier, text, or nothing
        assert math.ceil(exact) <= cost
        return
    # A rate finer than 1e-12 USD per token, such as 0.08333333333333334 per million, is rounded up.
    finer = Decimal(usage.total_tokens) / 1000 if has_fine_rates(entry) else 0
    assert math.ceil(exact) <= cost <= math.ceil(exact + finer)


@functools.cache
def is_by_other_units(entry: tuple[str, str]) -> bool:
    """Whether an entry is priced by the character or by the hour, not by the token."""
    _, model = get_snapshot().find_provider_model(entry[1], None, entry[0], None)
    return "input MTok" not in f"{model.prices}"


@functools.cache
def has_fine_rates(entry: tuple[str, str]) -> bool:
    _, model = get_snapshot().find_provider_model(entry[1], None, entry[0], None)
    # What these print is rates such as `$0.5/input MTok` and `Decimal('0.5')`.
    return re.search(r"\d\.\d{7}", f"{model.prices} {model.price_variants}") is not None


@pytest.mark.usefixtures("nothing_of_our_own")
@given(st.sampled_from(entries()), usages(), st.sampled_from(moments()))
def test_costs_agree_with_the_price_list(entry: tuple[str, str], usage: Usage, at: float) -> None:
    assert_agrees(entry, usage, at)


@pytest.mark.usefixtures("nothing_of_our_own")
@given(st.sampled_from(varied()), usages(), st.sampled_from(moments()))
def test_costs_agree_where_prices_vary(entry: tuple[str, str], usage: Usage, at: float) -> None:
    assert_agrees(entry, usage, at)


def test_every_entry_with_a_price_per_token_is_found_where_the_price_list_finds_it() -> None:
    snapshot = get_snapshot()
    for provider, model in entries():
        try:
            place, entry = snapshot.find_provider_model(model, None, provider, None)
        except LookupError:  # an entry that only other names lead to
            continue
        price = price_registry.find(model, provider)
        if price is not None:
            assert (price.provider, price.model) == (place.id, entry.id)
        else:
            assert "input_mtok" not in repr(entry.prices)


def test_most_models_have_an_output_limit_or_a_context_window() -> None:
    unlimited = [price_registry.find(model, "openai") for provider, model in entries() if provider == "openai"]
    known = [price for price in unlimited if price is not None and price.max_output_tokens is not None]
    assert len(known) > 60


# --- bounds ---


@given(st.sampled_from(entries()), usages(), st.sampled_from(moments()), st.integers(0, 3600))
def test_no_call_costs_more_than_its_bound(entry: tuple[str, str], usage: Usage, at: float, later: int) -> None:
    price = price_registry.find(entry[1], entry[0])
    if price is not None:
        fixed, per_token = price.bound(usage.input_tokens, at, usage.service_tier, EVERY_KIND)
        output = -(-per_token * usage.output_tokens // 1000)
        assert price.cost(usage, at + later) <= fixed + output + usage.web_searches * price.per_search


@given(st.sampled_from(varied()), SIZES, SIZES, st.sampled_from(moments()), st.integers(0, EVERY_KIND), TIERS)
def test_more_input_never_has_a_lower_bound(
    entry: tuple[str, str], one: int, other: int, at: float, kinds: int, tier: str | None
) -> None:
    price = price_registry.find(entry[1], entry[0])
    if price is not None:
        low, high = sorted((one, other))
        assert price.bound(low, at, tier, kinds) <= price.bound(high, at, tier, kinds)
        assert price.bound(low, at, tier, kinds)[1] <= price.bound(high, at, tier, kinds | 48)[1]


def test_a_bound_is_the_fixed_part_and_the_rate_for_output() -> None:
    assert found("gpt-4o-mini", "openai").bound(1000, NOW) == (150_000, 600_000)


def test_a_bound_counts_an_input_tier_only_if_the_input_can_reach_it() -> None:
    price = found("claude-sonnet-4-5", "anthropic")
    assert price.bound(200_000, NOW) == (600_000_000, 15_000_000)
    assert price.bound(200_001, NOW) == (1_200_006_000, 22_500_000)


def test_a_bound_takes_the_dearest_time_of_day() -> None:
    price = found("deepseek-v4-pro", "deepseek")
    night = dt.datetime(2026, 11, 23, 20, tzinfo=dt.UTC).timestamp()
    peak = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC).timestamp()
    usage = Usage(1000, 1000)
    assert usd(price.cost(usage, night)) == Decimal("0.00264")
    assert usd(price.cost(usage, peak)) == Decimal("0.00528")
    assert price.bound(1000, night) == price.bound(1000, peak) == (1_320_000, 3_960_000)


def test_a_bound_sees_a_price_that_starts_within_the_hour() -> None:
    price = found("mistralai/mistral-large-4-0", "openrouter")
    start = dt.datetime(2026, 11, 3, tzinfo=dt.UTC).timestamp()
    assert price.bound(1000, start - 3601)[1] == 2_090_000
    assert price.bound(1000, start - 3600)[1] == 2_100_000
    assert price.cost(Usage(0, 1000), start - 1) == 2_090_000
    assert price.cost(Usage(0, 1000), start) == 2_100_000


def test_a_tier_is_priced_as_named() -> None:
    price = found("gpt-5", "openai")
    standard = (None, "", "auto", "default", "standard", "standard_only", "on_demand", "ON_DEMAND", "Default")
    tiers = (*standard, "priority", "PRIORITY", "ON_DEMAND_PRIORITY", "flex", "SERVICE_TIER_FLEX", "batch")
    usages = {tier: Usage(1000, 0, service_tier=tier) for tier in tiers}
    costs = {tier: price.cost(usage, NOW) for tier, usage in usages.items()}
    assert {costs[tier] for tier in standard} == {1_250_000}
    assert costs["priority"] == costs["PRIORITY"] == costs["ON_DEMAND_PRIORITY"] == 2_500_000
    assert costs["flex"] == costs["SERVICE_TIER_FLEX"] == costs["batch"] == 625_000
    assert {price.unknown(usage) for usage in usages.values()} == {""}
    assert price.bound(1000, NOW, "priority")[0] == 2_500_000
    assert price.bound(1000, NOW, "auto") == price.bound(1000, NOW)


@pytest.mark.parametrize("tier", ["turbo", "scale", "provisioned_throughput"])
def test_a_tier_without_a_price_is_the_dearest_and_named(tier: str) -> None:
    price = found("gpt-5", "openai")
    usage = Usage(1000, 100, service_tier=tier)
    assert price.cost(usage, NOW) == price.cost(Usage(1000, 100, service_tier="priority"), NOW)
    assert price.bound(1000, NOW, tier) == price.bound(1000, NOW, "priority")
    assert price.unknown(usage) == f"service tier '{tier}'"


def test_a_region_multiplies_tokens_and_not_searches() -> None:
    price = found("claude-opus-4-8", "anthropic")
    tokens, searches = Usage(1000, 100), Usage(web_searches=2)
    there = {"region": "us"}
    assert price.cost(Usage(1000, 100, **there), NOW) * 10 == price.cost(tokens, NOW) * 11
    assert price.cost(Usage(web_searches=2, **there), NOW) == price.cost(searches, NOW)
    fast = Usage(1000, 100, service_tier="fast")
    assert price.cost(Usage(1000, 100, service_tier="fast", **there), NOW) * 10 == price.cost(fast, NOW) * 11
    assert price.bound(1000, NOW, region="us")[1] * 10 == price.bound(1000, NOW)[1] * 11
    assert price.unknown(Usage(1000, 100, **there)) == price.unknown(Usage(1000, region="global")) == ""
    assert price.cost(Usage(1000, 100, region="not_available"), NOW) == price.cost(tokens, NOW)


def test_a_region_without_a_price_is_the_dearest_and_named() -> None:
    price = found("claude-opus-4-8", "anthropic")
    usage = Usage(1000, 100, region="mars")
    assert price.cost(usage, NOW) == price.cost(Usage(1000, 100, region="us"), NOW)
    assert price.bound(1000, NOW, region="mars") == price.bound(1000, NOW, region="us")
    assert price.unknown(usage) == "region 'mars'"
    older = found("claude-sonnet-4-5", "anthropic")
    assert older.unknown(Usage(1000, region="us")) == "region 'us'"


def test_tokens_of_sound_without_a_rate_have_the_dearest_and_are_named() -> None:
    price = found("gpt-4o-audio-preview", "openai")
    heard = Usage(1000, 0, input_audio_tokens=1000)
    assert price.cost(heard, NOW) == 10_000_000  # as its output
    assert price.bound(1000, NOW, kinds=token_types.AUDIO)[0] == 10_000_000
    assert price.by_kind
    assert price.unknown(heard) == price.unknown(Usage(0, 10, output_audio_tokens=10)) == "audio tokens"
    assert price.unknown(Usage(0, 10, output_image_tokens=10)) == "image tokens"
    assert price.unknown(Usage(1000, 0, input_image_tokens=1000)) == ""


def test_what_is_billed_beside_tokens_and_has_no_price_is_named() -> None:
    price = found("claude-sonnet-4-5", "anthropic")
    usage = Usage(10, 10, fees=(("maps", 3), ("code_session", 1), ("page", 0)), audio_ms=500)
    assert price.unknown(usage) == "sound by its length, 3 maps, 1 code session"
    assert price.cost(usage, NOW) == price.cost(Usage(10, 10), NOW)
    assert found("mistral-large-2512", "mistral").unknown(Usage(web_searches=2)) == "2 searches"
    both = Usage(10, 10, service_tier="turbo", region="mars")
    assert price.unknown(both) == "service tier 'turbo', region 'mars'"


def test_a_free_model_knows_every_tier_region_and_kind_of_token() -> None:
    price = found("llama3.2", "ollama")
    assert price.unknown(Usage(9, 9, input_audio_tokens=9, output_image_tokens=9, service_tier="x", region="y")) == ""


def test_fees_and_sound_are_charged_and_held() -> None:
    gpt = found("gpt-4.1", "openai")
    tools = (("file_search", 2), ("code_session", 1))
    assert usd(gpt.cost(Usage(fees=tools), NOW)) == usd(gpt.beside_tokens(0, 0, NOW, fees=tools)) == Decimal("0.035")
    whisper = found("whisper-1", "openai")
    assert whisper.by_time
    assert usd(whisper.cost(Usage(audio_ms=9000), NOW)) == Decimal("0.0009")
    assert usd(whisper.beside_tokens(0, 0, NOW, audio_ms=9000)) == Decimal("0.0009")
    assert usd(found("whisper-large-v3", "groq").cost(Usage(audio_ms=36_000), NOW)) == Decimal("0.00111")


def test_tokens_beside_sound_are_charged_too() -> None:
    voxtral = found("voxtral-small-2507", "mistral")
    assert usd(voxtral.cost(Usage(5, 20, audio_ms=30_000), NOW)) == Decimal("0.0020085")


def test_anthropic_writes_a_cache_when_asked_and_others_when_they_like() -> None:
    claude = found("claude-haiku-4-5", "anthropic")
    plain, five_minutes, hour = (
        claude.bound(MILLION, NOW, None, kinds)[0] for kinds in (0, token_types.CACHE_WRITE, token_types.CACHE_WRITE_1H)
    )
    assert [usd(each) for each in (plain, five_minutes, hour)] == [1, Decimal("1.25"), 2]
    elsewhere = found("global.anthropic.claude-haiku-4-5-20251001-v1:0", "aws")
    assert usd(elsewhere.bound(MILLION, NOW)[0]) == Decimal("1.25")


def test_audio_and_images_are_in_the_bound_if_there_may_be_any() -> None:
    price = found("gpt-audio", "openai")
    text = price.bound(1000, NOW)
    heard = price.bound(1000, NOW, None, token_types.AUDIO)
    spoken = price.bound(1000, NOW, None, token_types.AUDIO_OUT)
    assert heard[0] > text[0]
    assert heard[1] == text[1]
    assert spoken[0] == text[0]
    assert spoken[1] > text[1]


def test_pages_that_are_read_are_calls_and_dearer_with_annotations() -> None:
    """Mistral's OCR is billed by the page; its price has risen more than once."""
    ocr = found("mistral-ocr-2512", "mistral")
    assert ocr.flat
    assert usd(ocr.cost(Usage(), NOW) + ocr.beside_tokens(9, 0, NOW)) == Decimal("0.02")
    annotated = ocr.cost(Usage(service_tier="annotated"), NOW) + ocr.beside_tokens(9, 0, NOW, "annotated")
    assert usd(annotated) == Decimal("0.03")
    pages = Usage(fees=(("page", 3), ("annotated_page", 3)))
    assert [usd(ocr.cost(each, NOW)) for each in (Usage(fees=(("page", 3),)), pages)] == [
        Decimal("0.006"),
        Decimal("0.009"),
    ]
    assert ocr.unknown(pages) == ""
    none = ocr.cost(Usage(service_tier="annotated"), NOW) + ocr.beside_tokens(-1, 0, NOW, "annotated")
    assert none == 0


def test_calls_and_searches_have_prices_of_their_own() -> None:
    assert usd(found("sonar-pro", "perplexity").bound(0, NOW)[0]) == Decimal("0.014")
    claude = found("claude-sonnet-4-5", "anthropic")
    assert usd(claude.per_search) == Decimal("0.01")
    assert claude.cost(Usage(web_searches=3), NOW) == 3 * claude.per_search


def test_a_cost_is_rounded_up_once() -> None:
    price_registry.register_price("tiny", input="0.0001", output="0.0001")
    assert found("tiny").cost(Usage(1, 0), NOW) == 1
    assert found("tiny").cost(Usage(1, 1), NOW) == 1
    assert found("tiny").cost(Usage(5, 6), NOW) == 2


# --- finding ---


@pytest.mark.parametrize(
    ("model", "provider", "base_url", "expected"),
    [
        ("gpt-5", "openai", None, ("openai", "gpt-5")),
        ("gpt-5", None, None, ("openai", "gpt-5")),
        ("GPT-5", "OpenAI", None, ("openai", "gpt-5")),
        ("openai/gpt-5", None, None, ("openai", "gpt-5")),
        ("openai/gpt-5", "openai", None, ("openai", "gpt-5")),
        ("gpt-5", "openai", "https://api.openai.com/v1/", ("openai", "gpt-5")),
        ("gpt-5", "openai", "http://localhost:8000/v1", ("openai", "gpt-5")),
        ("claude-sonnet-4-5", "openai", "http://localhost:8000/v1", ("anthropic", "claude-sonnet-4-5")),
        ("anthropic/claude-sonnet-4-5", "openai", "http://localhost:8000", ("anthropic", "claude-sonnet-4-5")),
        ("openai/gpt-5", "openai", "https://openrouter.ai/api/v1", ("openrouter", "openai/gpt-5")),
        ("openrouter/openai/gpt-5", "litellm", None, ("openrouter", "openai/gpt-5")),
        ("gpt-5", "azure", None, ("azure", "gpt-5")),
        ("azure/gpt-5", None, None, ("azure", "gpt-5")),
        ("gpt-5", "openai", "https://acme.openai.azure.com/openai/v1", ("azure", "gpt-5")),
        ("models/gemini-2.5-pro", "google", None, ("google", "gemini-2.5-pro")),
        ("gemini/gemini-2.5-pro", None, None, ("google", "gemini-2.5-pro")),
        ("gemini-2.5-pro", "gcp.vertex_ai", None, ("google", "gemini-2.5-pro")),
        ("grok-4.5", "xai", None, ("x-ai", "grok-4.5")),
        ("grok-4.5", "x_ai", None, ("x-ai", "grok-4.5")),
        ("mistral-small-latest", "mistral_ai", None, ("mistral", "mistral-small-latest")),
        ("openai/gpt-oss-120b", "groq", None, ("groq", "openai/gpt-oss-120b")),
    ],
)
def test_a_model_is_found_by_where_the_call_goes_and_what_it_is_called(
    model: str, provider: str | None, base_url: str | None, expected: tuple[str, str]
) -> None:
    price = found(model, provider, base_url)
    assert (price.provider, price.model) == expected


@pytest.mark.parametrize(
    "model",
    [
        "anthropic.claude-sonnet-4-5-20250929-v1:0",
        "us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock/converse/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
        "bedrock/us-east-1/anthropic.claude-sonnet-4-5-20250929-v1:0",
        "arn:aws:bedrock:us-east-1:123456789012:inference-profile/us.anthropic.claude-sonnet-4-5-20250929-v1:0",
    ],
)
@pytest.mark.parametrize("provider", ["aws", "aws.bedrock"])
def test_bedrock_models_are_found_by_all_their_names(model: str, provider: str) -> None:
    price = found(model, provider)
    assert (price.provider, price.model) == ("aws", "regional.anthropic.claude-sonnet-4-5-20250929-v1:0")
    assert price.max_output_tokens == 64_000


@pytest.mark.parametrize(("model", "provider"), [("text-embedding-3-small", "openai"), ("voyage-3", "voyageai")])
def test_a_maker_is_known_by_the_exact_names_of_its_models(model: str, provider: str) -> None:
    price = price_registry.find(model)
    assert price is not None
    assert price.provider == provider


def test_bedrock_models_are_found_without_a_provider() -> None:
    assert found("us.anthropic.claude-sonnet-4-5-20250929-v1:0").provider == "aws"
    assert found("amazon.nova-pro-v1:0").provider == "aws"


@pytest.mark.parametrize(
    ("model", "provider", "base_url"),
    [
        ("my-own-model", None, None),
        ("claude-sonnet-4-5", "openai", None),
        ("gpt-5", "openai", "https://api.groq.com/openai/v1"),
        ("my-deployment", "azure", None),
        ("llama3.2", "openai", "http://localhost:11434/v1"),
        ("ollama/llama3.2", "openai", None),
        ("gpt-live-1", "openai", None),
        ("openrouter/auto", "openrouter", None),
        ("gpt-4o", "github-copilot", None),
    ],
)
def test_what_nobody_prices_per_token_is_not_found(model: str, provider: str | None, base_url: str | None) -> None:
    assert price_registry.find(model, provider, base_url) is None


@pytest.mark.parametrize(
    ("model", "provider"), [("llama3.2", "ollama"), ("ollama/llama3.2", None), ("gpt-oss:20b", "ollama")]
)
def test_ollama_is_free(model: str, provider: str | None) -> None:
    price = found(model, provider)
    assert price.provider == "ollama"
    assert price.bound(MILLION, NOW) == (0, 0)
    assert price.cost(Usage(MILLION, MILLION), NOW) == 0


def test_a_loose_match_is_the_price_lists_own_choice() -> None:
    assert found("claude-sonnet-4-5-custom", "anthropic").model == "claude-sonnet-4-5"
    assert found("claude-sonnet-4-5-custom", "anthropic").max_output_tokens == 64_000


HOSTILE = st.one_of(
    st.text(st.characters(exclude_categories=())),
    st.from_regex(r"(gpt|claude|gemini|o1|us\.anthropic|models|ollama|@cf)[-./:*?\[\]()+\\]{0,8}.{0,8}"),
    st.sampled_from(
        ["", " ", "*", "[", "/", "//", "(?:" * 50, "a" * 10_000, "gpt-5\0", "gpt-5\n", "ft:", "\ud800", "gpt-" * 100]
    ),
)


@given(HOSTILE, st.none() | HOSTILE, st.none() | HOSTILE)
def test_any_text_is_a_name_that_may_be_unknown(model: str, provider: str | None, base_url: str | None) -> None:
    price = price_registry.find(model, provider, base_url)
    assert price is None or price.cost(Usage(1, 1), NOW) >= 0


@pytest.mark.parametrize("wrong", [None, 5, b"gpt-5", ["gpt-5"], {}, True])
def test_what_is_no_text_is_no_name(wrong: Any) -> None:
    with pytest.raises(TypeError, match="model must be a str, got"):
        price_registry.find(wrong)


def test_a_provider_that_is_no_text_is_refused() -> None:
    with pytest.raises(TypeError, match="base_url must be a str, got 5"):
        price_registry.find("gpt-5", "openai", 5)  # type: ignore[arg-type]


def test_a_found_price_is_remembered() -> None:
    assert price_registry.find("gpt-5", "openai") is price_registry.find("gpt-5", "openai")


def test_invented_names_do_not_fill_the_memory() -> None:
    price_registry.register_price("invented-*", input=1, output=1)
    for number in range(10_000):
        price_registry.find(f"invented-{number}")
    price_registry.find("x" * 100_000)
    assert len(price_registry._remembered) <= 4096
    assert all(len(model) <= 512 for model, _, _ in price_registry._remembered)


# --- threads and imports ---


def test_threads_may_find_and_register_at_once() -> None:
    """What is registered last is what every thread finds afterwards."""
    failures: list[BaseException] = []
    rounds = 200

    def look() -> Iterator[None]:
        for number in range(rounds):
            found("gpt-5", "openai")
            found(f"mine-{number % 5}")
            yield

    def run() -> None:
        try:
            for _ in look():
                pass
        except BaseException as failure:  # noqa: BLE001
            failures.append(failure)

    price_registry.register_price("mine-*", input=1, output=1)
    threads = [threading.Thread(target=run) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(rounds):
        price_registry.register_price("mine-*", input=number, output=1)
    for thread in threads:
        thread.join()
    assert failures == []
    assert found("mine-1").cost(Usage(1), NOW) == (rounds - 1) * 1000


LAZY = """
import os, sys
from budgeted.pricing import price_registry as prices
assert not {"genai_prices", "pydantic", "tiktoken"} & set(sys.modules)
prices.preload()
if hasattr(os, "fork"):
    child = os.fork()
    if child == 0:
        os._exit(0 if prices.find("gpt-5", "openai") else 1)
    assert os.waitpid(child, 0)[1] == 0
assert prices.find("gpt-5", "openai")
"""


def test_the_price_list_is_imported_late_and_a_fork_meanwhile_is_harmless() -> None:
    done = subprocess.run([sys.executable, "-c", LAZY], check=False, timeout=120)
    assert done.returncode == 0
