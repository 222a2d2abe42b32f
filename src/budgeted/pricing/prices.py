"""What a call costs, and at most could cost: prices from the bundled list, and those that the application registers."""

from __future__ import annotations

import fnmatch
import logging
import os
import threading
from collections.abc import Mapping
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from budgeted.money import PICO_PER_NANO, nano_usd, pico_per_token
from budgeted.pricing import max_output_tokens as longest
from budgeted.pricing.bundled_prices import lookup, same_provider
from budgeted.pricing.rates import (
    AUDIO,
    AUDIO_OUT,
    CACHE_WRITE,
    CACHE_WRITE_1H,
    EVERY_KIND,
    IMAGE,
    IMAGE_OUT,
    Rates,
    Schedule,
    rates_of,
)
from budgeted.pricing.usage import Counts
from budgeted.validation import check_count, shown

__all__ = [
    "AUDIO",
    "AUDIO_OUT",
    "CACHE_WRITE",
    "CACHE_WRITE_1H",
    "IMAGE",
    "IMAGE_OUT",
    "Price",
    "alike",
    "find",
    "preload",
    "register_price",
]

Amount: TypeAlias = float | str | Decimal

_log = logging.getLogger("budgeted")
_LONGEST_NAME: Final = 512
_LONGEST_URL: Final = 2048
_MOST_REMEMBERED: Final = 4096

PER_RESULT: Final = 4_000_000_000
"""Pico-USD that OpenRouter bills for each result of a search of its own.

https://openrouter.ai/docs/guides/features/plugins/web-search
"""


class Price:
    """What one model of one provider costs. `find` and `register_price` make them.

    Attributes:
        provider: as genai-prices names it; "" for a price registered for any provider.
        model: as the price list names it, or as asked for if the price is a registered one.
        max_output_tokens: the most tokens that one answer can have, or None if nobody knows.
        context_window: in tokens, or None if nobody knows.
        per_call: the most that one call costs beside its tokens, in nano-USD.
        per_search: the most that one web search by the provider costs, in nano-USD.
        flat: True if calls have a price and tokens have none, so that what a call costs is known without them.
        stated: True if the provider's answers state what they cost.
        registered: True if `register_price` made it: it holds whatever name the answer gives the model.
    """

    __slots__ = (
        "_answers",
        "_flat",
        "_only",
        "_per_result",
        "_standard",
        "_tiers",
        "_unasked",
        "by_kind",
        "context_window",
        "flat",
        "max_output_tokens",
        "model",
        "per_call",
        "per_search",
        "provider",
        "registered",
        "stated",
    )

    def __init__(
        self,
        provider: str,
        model: str,
        standard: Schedule,
        tiers: Mapping[str, Schedule] | None = None,
        *,
        max_output_tokens: int | None = None,
        context_window: int | None = None,
        registered: bool = False,
    ) -> None:
        """`tiers` holds the service tiers priced apart from the standard one, by name."""
        self.provider = provider
        self.model = model
        self.max_output_tokens = max_output_tokens
        self.context_window = context_window
        self.registered = registered
        self._standard = standard
        self._tiers = dict(tiers or {})
        # Anthropic writes a cache only when asked to; elsewhere it may just happen.
        self._unasked = 0 if provider == "anthropic" else CACHE_WRITE
        self._only = standard.only
        # The highest rates for input and output, and the price per call, of a plain request whose price never changes.
        self._flat = None if self._only is None else (*self._only.highest(self._unasked), self._only.per_call)
        levels = [rates for schedule in (standard, *self._tiers.values()) for rates in schedule.levels()]
        self.per_search = -(-max(rates.per_search for rates in levels) // PICO_PER_NANO)
        self.per_call = -(-max(rates.per_call for rates in levels) // PICO_PER_NANO)
        # Whether sound, pictures or what goes into a cache may cost more than text.
        self.by_kind = any(rates.highest(EVERY_KIND) != rates.highest(self._unasked) for rates in levels)
        self.flat = self.per_call > 0 and all(max(rates.highest(EVERY_KIND)) == 0 for rates in levels)
        self.stated = provider in ("openrouter", "perplexity")
        self._per_result = PER_RESULT if provider == "openrouter" else 0
        self._answers = provider == "google" and gemini_bills_answers(model)

    def __repr__(self) -> str:
        return f"<Price of {self.model!r} at {self.provider or 'any provider'!r}>"

    def cost(self, usage: Counts, at: float) -> int:
        """Return what a call cost.

        Args:
            usage: what it used. Its `service_tier` picks the rates; a tier that has no price of its own
                ("default", "auto", any unknown name) has the standard ones.
            at: when it was made, in Unix seconds.

        Returns:
            nano-USD, rounded up once.
        """
        rates = self._only
        if rates is None or usage.service_tier is not None:
            rates = self._schedule(usage.service_tier).rates(at, usage.input_tokens)
        return rates.cost(usage)

    def bound(self, input_tokens: int, at: float, tier: str | None = None, kinds: int = 0) -> tuple[int, int]:
        """Return the most that a call can cost, over sizes of input, times of day, and dates of the next hour.

        Args:
            input_tokens: at most this much input.
            at: when the call starts, in Unix seconds.
            tier: the service tier that the request names. None, "auto" and unknown names are the standard one.
            kinds: which dearer tokens it may use, as bits: `CACHE_WRITE`, `CACHE_WRITE_1H` (the request asks for
                a cache), `AUDIO`, `IMAGE` (it has such input), `AUDIO_OUT`, `IMAGE_OUT` (it may be answered so).

        Returns:
            What is fixed, in nano-USD, with the price per call; and pico-USD per output token. Searches are not
            in it: `beside_tokens` is for those.
        """
        if self._flat is not None and tier is None and not kinds:
            given, made, each = self._flat
        else:
            rates = self._schedule(tier).ceiling(at, input_tokens)
            given, made = rates.highest(kinds | self._unasked)
            each = rates.per_call
        return -(-(input_tokens * given + each) // PICO_PER_NANO), made

    def beside_tokens(self, calls: int, searches: int, at: float, tier: str | None = None) -> int:
        """Return what further calls and searches cost at most beside their tokens, in nano-USD."""
        rates = self._schedule(tier).ceiling(at, 0)
        if self._answers:
            searches = min(searches, 1)
        each = rates.per_search or self._per_result
        return -(-(calls * rates.per_call + searches * each) // PICO_PER_NANO)

    def charges_as(self, other: Price) -> bool:
        """Whether it charges what another price does, for answers that are as long at most."""
        mine = (self.max_output_tokens, self.context_window, self._unasked, self._standard, self._tiers)
        return mine == (other.max_output_tokens, other.context_window, other._unasked, other._standard, other._tiers)

    def _schedule(self, tier: str | None) -> Schedule:
        if tier is None:
            return self._standard
        found = self._tiers.get(tier)
        return found if found is not None else self._tiers.get(tier.lower(), self._standard)


class _Registration(NamedTuple):
    """A price of the application's own, and what it is for."""

    model: str
    provider: str | None
    base_url: str | None
    rates: Rates
    max_output_tokens: int | None

    @property
    def is_pattern(self) -> bool:
        return any(sign in self.model for sign in "*?[")

    @property
    def weight(self) -> tuple[bool, int, int, bool]:
        """Exact names first, then long patterns, then those meant for one place or provider."""
        return not self.is_pattern, len(self.model), len(self.base_url or ""), self.provider is not None

    def covers(self, model: str, provider: str | None, base_url: str | None) -> bool:
        if self.provider is not None and (provider is None or same_provider(provider) != self.provider):
            return False
        if self.base_url is not None and not _directory(base_url or "").startswith(self.base_url):
            return False
        names = {model.lower(), model.lower().removeprefix("models/")}
        return self.model in names or (self.is_pattern and any(fnmatch.fnmatchcase(name, self.model) for name in names))

    def price(self, model: str) -> Price:
        most = self.max_output_tokens
        return Price(
            self.provider or "",
            model,
            Schedule.always(self.rates),
            max_output_tokens=longest.find(model) if most is None else most,
            registered=True,
        )


_registered: dict[tuple[str, str | None, str | None], _Registration] = {}
_remembered: dict[tuple[str, str | None, str | None], Price | None] = {}
_lock = threading.RLock()

if hasattr(os, "register_at_fork"):
    # No child may inherit the lock taken, nor the price list half imported, by a thread that it has not got.
    os.register_at_fork(before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release)


def find(model: str, provider: str | None = None, base_url: str | None = None) -> Price | None:
    """Return the price of a model, or None if nobody knows it.

    Registered prices win: an exact name, then the longest pattern. Then comes the bundled price list, by where the
    call goes, by the provider's name, and by the model's name if neither is known to the list. Ollama is free.
    Names are matched as loosely as genai-prices does: `claude-sonnet-4-5-custom` has the price of claude-sonnet-4-5.

    Args:
        model: the name, as the request has it, of any content. `openai/gpt-5`, `models/gemini-...` and Bedrock's
            regional names are understood.
        provider: as genai-prices names it ("x-ai", "aws", "google"), or as OpenTelemetry or LiteLLM do.
        base_url: where the call goes.

    Raises:
        TypeError: one of them is not a str.

    Example:
        >>> find("gpt-4o-mini", "openai").cost(Usage(1000, 100), at=1_800_000_000)
        210000
    """
    try:
        return _remembered[model, provider, base_url]
    except (KeyError, TypeError):  # a TypeError: not hashable, so not a str either
        return _find_and_remember(model, provider, base_url)


def alike(one: Price | None, other: Price | None) -> bool:
    """Whether a call costs the same at both prices, whatever it uses; as if neither is known."""
    return one is other or (one is not None and other is not None and one.charges_as(other))


def _find_and_remember(model: str, provider: str | None, base_url: str | None) -> Price | None:
    for name, value in (("model", model), ("provider", provider), ("base_url", base_url)):
        if not isinstance(value, str) and (name == "model" or value is not None):
            raise TypeError(f"{name} must be a str, got {shown(value)}")
    if not 0 < len(model) <= _LONGEST_NAME or len(provider or "") + len(base_url or "") > _LONGEST_URL:
        return None  # and not remembered: such names would fill the memory
    with _lock:
        price = _search(model, provider, base_url)
        if len(_remembered) >= _MOST_REMEMBERED:
            _remembered.clear()
        _remembered[model, provider, base_url] = price
    return price


def _search(model: str, provider: str | None, base_url: str | None) -> Price | None:
    covering = [each for each in _registered.values() if each.covers(model, provider, base_url)]
    if covering:
        return max(covering, key=lambda each: each.weight).price(model)
    if not model.isprintable():
        return None
    try:
        listed = lookup(model, provider, base_url)
    except Exception:  # noqa: BLE001  # whatever is wrong in the list, the model has no price then, and the call is refused
        _log.exception("budgeted: the price list has no usable price for %s", shown(model))
        return None
    if listed is None:
        return None
    limit = longest.find(model) or longest.find(listed.model) or listed.context_window
    return Price(
        listed.provider,
        listed.model,
        listed.standard,
        listed.tiers,
        max_output_tokens=limit,
        context_window=listed.context_window,
    )


def register_price(
    model: str,
    *,
    input: Amount,
    output: Amount,
    cached_input: Amount | None = None,
    cache_write: Amount | None = None,
    per_call: Amount = 0,
    max_output_tokens: int | None = None,
    provider: str | None = None,
    base_url: str | None = None,
) -> Price:
    """Say what a model costs. It wins over the bundled price list, and replaces what was registered for the same.

    Args:
        model: its name, in any case of letters, or a glob such as "my-*". An exact name wins over a glob, and
            a long glob over a short one.
        input: USD per million input tokens: a number or text, 0 if it is free.
        output: USD per million output tokens.
        cached_input: USD per million tokens read from a cache. None means the input's price.
        cache_write: USD per million tokens written to a cache. None means the input's price.
        per_call: USD for each call.
        max_output_tokens: the most that one answer can have. None means what is known about the name, if anything.
        provider: only for calls to this provider, as genai-prices names it.
        base_url: only for calls to addresses that begin so.

    Raises:
        TypeError: a name is not a str, or a price not an amount.
        ValueError: a name is empty or too long, or a price negative, not finite or absurd.

    Example:
        >>> register_price("llama-3.3-70b", input="0.10", output="0.40", base_url="http://localhost:8000")
        <Price of 'llama-3.3-70b' at 'any provider'>
    """
    _check_text("model", model, _LONGEST_NAME)
    if provider is not None:
        provider = same_provider(_check_text("provider", provider, _LONGEST_NAME))
    if base_url is not None:
        base_url = _directory(_check_text("base_url", base_url, _LONGEST_URL))
    if max_output_tokens is not None:
        check_count(max_output_tokens, "max_output_tokens", 1)
    rates = rates_of(
        input=pico_per_token(input, "input"),
        output=pico_per_token(output, "output"),
        cached_input=None if cached_input is None else pico_per_token(cached_input, "cached_input"),
        cache_write=None if cache_write is None else pico_per_token(cache_write, "cache_write"),
        per_call=nano_usd(per_call, "per_call") * PICO_PER_NANO,
    )
    registration = _Registration(model.strip().lower(), provider, base_url, rates, max_output_tokens)
    with _lock:
        _registered[registration[:3]] = registration
        _remembered.clear()
    return registration.price(model)


def _check_text(what: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, got {shown(value)}")
    if not value.strip() or len(value) > longest:
        raise ValueError(f"{what} must have 1 to {longest} characters, got {shown(value)}")
    return value


def _directory(url: str) -> str:
    """End a URL with one slash, so that one is the beginning of another only at a boundary."""
    return url.strip().rstrip("/") + "/"


def preload() -> None:
    """Load the price list in the background, so that the first call does not wait a quarter of a second for it."""
    threading.Thread(target=_find_and_remember, args=("gpt-4o", "openai", None), daemon=True).start()


def gemini_bills_answers(model: str) -> bool:
    """Whether a grounded answer is billed as one search; the models since the third are billed for each search.

    https://ai.google.dev/gemini-api/docs/pricing
    """
    return model.startswith(("gemini-1", "gemini-2"))
