"""The bundled price list of genai-prices, compiled into integer rates.

genai-prices knows what models cost; asking it about each call would take a fifth of a millisecond and more.
So an entry of its list is compiled once, into integer rates for every service tier, date, time of day and size
of input. It is imported at the first look-up, because that takes a quarter of a second.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Final

from budgeted.money import pico_per_token
from budgeted.pricing import own_price_list
from budgeted.pricing.openrouter_variants import variants_of
from budgeted.pricing.price_entry import Entry
from budgeted.pricing.rate_schedule import DAY_SECONDS, Cycle, Schedule, Steps, dearest
from budgeted.pricing.token_rates import PAGE, Rates, rates_of

if TYPE_CHECKING:
    from genai_prices.types import ModelInfo, ModelPrice, Provider

_ALIASES: Final = {
    "aws.bedrock": "aws",
    "azure.ai.inference": "azure",
    "azure.ai.openai": "azure",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "bedrock": "aws",
    "fireworks_ai": "fireworks",
    "gcp.gemini": "google",
    "gcp.gen_ai": "google",
    "gcp.vertex_ai": "google",
    "gemini": "google",
    "mistral_ai": "mistral",
    "ollama_chat": "ollama",
    "together_ai": "together",
    "vertex_ai": "google",
    "x_ai": "x-ai",
    "xai": "x-ai",
}
"""Providers by the names that OpenTelemetry and LiteLLM have for them."""

_FREE: Final = "ollama"
_TIER_KEYS: Final = frozenset({"service_tier", "processing", "speed"})
_PAGES: Final = "input_document_kpages"
_ANNOTATED_PAGES: Final = "input_annotated_document_kpages"
_CHARACTERS: Final = "input_mchars"
_SOUND: Final = "input_audio_hours"
_PRICED: Final = frozenset({"input_mtok", _PAGES, _CHARACTERS, _SOUND})
_MAKERS: Final = ("openai", "anthropic", "google", "mistral", "cohere", "voyageai", "deepseek", "x-ai")
_BEDROCK_ID: Final = re.compile(r"([a-z]{2,6}(-gov)?\.)?[a-z0-9]+\.[a-z][^/]*", re.IGNORECASE)


def same_provider(provider: str) -> str:
    """Return how the price list spells a provider's name."""
    name = provider.strip().lower()
    return _ALIASES.get(name, name)


def lookup(model: str, provider: str | None, base_url: str | None) -> Entry | None:
    """Return the entry for a model, or None when neither list has a price for it.

    Where the call goes decides first (`base_url`), then the provider's name. A place and a provider that the list
    does not know, such as a gateway on localhost, leave it to the model's name, whose own prefix
    (`openai/gpt-5`, `bedrock/...`) is then taken as the provider. How loosely a provider's own list matches names is
    genai-prices' choice: `claude-sonnet-4-5-custom` is taken for claude-sonnet-4-5, and `gemini-1.5-flash-8b`
    for gemini-1.5-flash. What the list of our own says is laid over it.

    Raises:
        ValueError: the entry has a price that is no price.
    """
    if provider is not None and same_provider(provider) == _FREE:
        return Entry(_FREE, model, None, Schedule.always(rates_of({})), {})
    providers = _providers()
    named = _by_id(providers, provider) if provider else None
    place = _by_url(providers, base_url, named) if base_url else None
    if place is not None:
        return _offer(place, model, providers, base_url)
    if named is not None:
        found = _offer(named, model, providers, base_url)
        if found is not None or not base_url:
            return found
    return _by_name(providers, model, base_url, trusted=provider is None or provider == "litellm")


def models(provider: str | None = None) -> Iterator[str]:
    """Yield the names of the models that are listed: of one provider, if the list knows it, else of all."""
    providers = _providers()
    named = _by_id(providers, provider) if provider else None
    for each in providers if named is None else [named]:
        yield from (model.id for model in each.models)


def _providers() -> list[Provider]:
    from genai_prices.data_snapshot import get_snapshot

    return get_snapshot().providers


def _by_id(providers: list[Provider], name: str) -> Provider | None:
    from genai_prices.data_snapshot import find_provider_by_id

    return find_provider_by_id(providers, same_provider(name))


def _by_url(providers: list[Provider], base_url: str, preferred: Provider | None) -> Provider | None:
    several = [preferred, *providers] if preferred else providers
    return next((each for each in several if re.match(each.api_pattern, base_url)), None)


def _by_name(providers: list[Provider], model: str, base_url: str | None, *, trusted: bool) -> Entry | None:
    """Find the provider by the model's name alone; `trusted` if a prefix in it says where the call goes."""
    prefix, slash, rest = model.partition("/")
    if slash and trusted and same_provider(prefix) == _FREE:
        return lookup(rest, prefix, None)
    if slash and (provider := _by_id(providers, prefix)):
        return _offer(provider, model, providers, base_url)
    for provider in providers:
        if provider.model_match is not None and provider.model_match.is_match(model):
            if found := _offer(provider, model, providers, base_url):
                return found
            break
    if _BEDROCK_ID.fullmatch(model) and (bedrock := _by_id(providers, "aws")):
        return _offer(bedrock, model, providers, base_url)
    # What names a provider goes by leaves some of its own models out: an exact one is its own all the same.
    exact = model.lower()
    for name in _MAKERS:
        maker = _by_id(providers, name)
        if maker is not None and any(each.id == exact for each in maker.models):
            return _offer(maker, model, providers, base_url)
    return None


def _offer(provider: Provider, model: str, providers: list[Provider], base_url: str | None) -> Entry | None:
    """Return what a provider asks for a model: the listed entry with the rows of our own over it, if there is any."""
    names = list(_spellings(provider, model, providers))
    entry = _listed(provider, names, providers)
    if provider.id == "openrouter":
        entry = variants_of(entry, names, lambda name: _listed(provider, [name], providers))
    host = own_price_list.host_of(base_url)
    for row in own_price_list.rows_for(provider.id, [*names, entry.model] if entry is not None else names):
        entry = row.laid_over(entry, names[-1], host)
        if entry is not None and row.routes_to:
            entry = _routed(entry, row.routes_to)
    return entry


def _routed(router: Entry, models: Sequence[str]) -> Entry:
    """Return a router's entry with the dearest rates of the models that it may route to, and its own fee."""
    several = [found for model in models if (found := lookup(model, None, None)) is not None]
    fee = router.router_fee or 0
    highest = dearest([entry.standard for entry in several]).map(lambda rates: rates.plus_per_input_token(fee))
    windows = [entry.context_window for entry in several if entry.context_window is not None]
    return router._replace(standard=highest, context_window=router.context_window or max(windows, default=None))


def _listed(provider: Provider, names: Sequence[str], providers: list[Provider]) -> Entry | None:
    for name in names:
        found = provider.find_model(name, all_providers=providers)
        if found is not None:
            # As genai-prices has it: the variants of another provider's entry are not this provider's.
            own = any(found is each for each in provider.models)
            schedules = _compiled(found, variants=own)
            if schedules is None:
                return None
            standard = schedules.pop("")
            return Entry(provider.id, found.id, found.context_window, standard, schedules)
    return None


def _spellings(provider: Provider, model: str, providers: list[Provider]) -> Iterator[str]:
    """Yield a model's name as given, then without what LiteLLM, Gemini, Vertex and Bedrock write before it."""
    yield model
    prefix, slash, rest = model.partition("/")
    if not slash:
        return
    if prefix == "models" or _by_id(providers, prefix) is provider:
        yield rest
    if provider.id in {"aws", "google"}:
        yield model.rpartition("/")[2]


def _compiled(model: ModelInfo, *, variants: bool) -> dict[str, Schedule] | None:
    """Return a schedule for each service tier priced apart, "" being the standard one; None if tokens have no price.

    An entry that has no prices at all is free only if its name says so (`:free`): the list also leaves out
    prices that it cannot express, and a limit must not take those for nothing.
    """
    free = model.id.endswith(":free")
    conditional = model.prices if isinstance(model.prices, list) else []
    overrides = (model.price_variants or []) if variants else []
    known = [each.prices for each in conditional] if conditional else [model.prices]
    if not free and not any(_PRICED & vars(prices).keys() for prices in known):
        return None
    conditions = (*(each.constraint for each in conditional), *(each.constraint for each in overrides))
    constraints = [condition for condition in conditions if condition is not None]
    contexts: dict[str, dict[str, str]] = {"": {}}
    for variant in overrides:
        if len(variant.when) == 1 and variant.when.keys() <= _TIER_KEYS:
            key, name = next(iter(variant.when.items()))
            contexts.setdefault(name, {})[key] = name
    schedules = {name: _schedule(model, context, constraints) for name, context in contexts.items()}
    if any(_ANNOTATED_PAGES in vars(prices) for prices in known):
        schedules["annotated"] = _schedule(model, {}, constraints, _ANNOTATED_PAGES)
    return {name: each for name, each in schedules.items() if not name or each != schedules[""]}


def _schedule(
    model: ModelInfo, context: Mapping[str, str], constraints: Sequence[object], pages: str = _PAGES
) -> Schedule:
    """Ask the list for its prices at every moment at which one of the constraints begins or ends to hold."""
    dates, times = _boundaries(constraints)
    before = dates[0] - DAY_SECONDS if dates else 0
    cycles: list[Cycle] = []
    for midnight in (before, *dates):
        moments = (dt.datetime.fromtimestamp(midnight + second, dt.UTC) for second in (0, *times))
        steps = [_steps(model.get_prices(moment, context), pages) for moment in moments]
        changes = [index for index in range(1, len(steps)) if steps[index] != steps[index - 1]]
        cycles.append(
            Cycle(tuple(times[index - 1] for index in changes), (steps[0], *(steps[index] for index in changes)))
        )
    changes = [index for index in range(1, len(cycles)) if cycles[index] != cycles[index - 1]]
    return Schedule([dates[index - 1] for index in changes], [cycles[0], *(cycles[index] for index in changes)])


def _boundaries(constraints: Sequence[object]) -> tuple[list[int], list[int]]:
    """Return the dates (Unix seconds) and the times of day (seconds after midnight UTC) when constraints change."""
    from genai_prices.types import StartDateConstraint, TimeOfDateConstraint

    dates, times = set[int](), set[int]()
    for constraint in constraints:
        if isinstance(constraint, StartDateConstraint):
            start = dt.datetime.combine(constraint.start_date, dt.time(), dt.UTC)
            dates.add(int(start.timestamp()))
        elif isinstance(constraint, TimeOfDateConstraint):
            times |= {_second_of_day(constraint.start_time), _second_of_day(constraint.end_time)}
        else:
            raise ValueError(f"a price depends on {type(constraint).__name__}, which is not known here")  # noqa: TRY004
    return sorted(dates), sorted(times - {0})


def _second_of_day(time: dt.time) -> int:
    offset = time.utcoffset() or dt.timedelta()
    since = dt.timedelta(hours=time.hour, minutes=time.minute, seconds=time.second) - offset
    return int(since.total_seconds()) % DAY_SECONDS


def _steps(prices: ModelPrice, pages: str) -> Steps:
    from genai_prices.types import TieredPrices

    given = {name: value for name, value in vars(prices).items() if value is not None}
    tiered = [value for value in given.values() if isinstance(value, TieredPrices)]
    starts = sorted({tier.start for value in tiered for tier in value.tiers})
    return Steps(tuple(starts), tuple(_rates(given, size, pages) for size in (0, *(start + 1 for start in starts))))


def _rates(given: Mapping[str, object], input_tokens: int, pages: str) -> Rates:
    """Return the rates for one size of input. Of a model that reads pages, each is a call.

    Video, which no usage counts apart, is charged as images are. An entry with a price for output alone is not
    understood here, so it is not taken for one with free input.
    """
    from genai_prices.types import TieredPrices

    def price(*names: str) -> int | None:
        for name in names:
            value = given.get(name)
            if isinstance(value, TieredPrices):
                reached = [tier.price for tier in value.tiers if input_tokens > tier.start]
                value = reached[-1] if reached else value.base
            if value is not None:
                return pico_per_token(value, name)
        return None

    def per_thousand(*names: str) -> int | None:
        found = price(*names)
        return None if found is None else found * 1000  # pico_per_token divides by a million

    hour = price(_SOUND, "audio_hours")
    if "output_mtok" in given and "input_mtok" not in given:
        raise ValueError("the price list has a price for the output alone")
    rates = {
        "input": price("input_mtok", _CHARACTERS),
        "output": price("output_mtok"),
        "cached_input": price("cache_read_mtok"),
        "cache_write": price("cache_write_5m_mtok", "cache_write_mtok"),
        "cache_write_1h": price("cache_write_1h_mtok"),
        "reasoning": price("output_reasoning_mtok"),
        "input_audio": price("input_audio_mtok"),
        "cached_audio": price("cache_audio_read_mtok"),
        "output_audio": price("output_audio_mtok"),
        "input_image": price("input_image_mtok", "input_video_mtok"),
        "output_image": price("output_image_mtok", "output_video_mtok"),
        "per_search": per_thousand("web_searches_kcount"),
        "per_call": per_thousand("requests_kcount", pages, _PAGES),
        "per_hour": None if hour is None else hour * 1_000_000,
    }
    fees = {name: per_thousand(listed) for name, listed in _FEES_PER_THOUSAND.items()}
    fees |= {name: price(listed) for name, listed in _FEES_PER_MILLION.items()}
    annotated, page = fees["annotated_page"], fees[PAGE]
    if annotated is not None and page is not None:
        fees["annotated_page"] = annotated - page  # it is told as a page, too
    return rates_of(
        {name: rate for name, rate in rates.items() if rate is not None},
        {name: fee for name, fee in fees.items() if fee is not None},
    )


_FEES_PER_THOUSAND: Final = {
    "file_search": "storage_searches_kcount",
    PAGE: _PAGES,
    "annotated_page": _ANNOTATED_PAGES,
}
_FEES_PER_MILLION: Final = {
    "character": _CHARACTERS,
    "citation_tokens": "output_citation_mtok",
}
"""What is billed beside tokens, by the names that usage has for it, and as genai-prices names it."""
