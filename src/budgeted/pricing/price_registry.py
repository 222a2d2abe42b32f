"""The price of a model by its name: those that the application registers win over the bundled list."""

from __future__ import annotations

import fnmatch
import logging
import os
import threading
from decimal import Decimal
from typing import Final, NamedTuple, TypeAlias

from budgeted.money import PICO_PER_NANO, nano_usd, pico_per_token
from budgeted.pricing import max_output_tokens as longest
from budgeted.pricing.bundled_price_list import lookup, same_provider
from budgeted.pricing.model_price import Price
from budgeted.pricing.rate_schedule import Schedule
from budgeted.pricing.token_rates import Rates, rates_of
from budgeted.validation import check_count, shown

Amount: TypeAlias = float | str | Decimal
_log = logging.getLogger("budgeted")
_LONGEST_NAME: Final = 512
_LONGEST_URL: Final = 2048
_MOST_REMEMBERED: Final = 4096


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
        # Without the lock, as every call comes by: one look-up in a dict is whole, whatever other threads do.
        return _remembered[model, provider, base_url]
    except (KeyError, TypeError):  # a TypeError: not hashable, so not a str either
        return _find_and_remember(model, provider, base_url)


def _find_and_remember(model: str, provider: str | None, base_url: str | None) -> Price | None:
    for name, value in (("model", model), ("provider", provider), ("base_url", base_url)):
        if not isinstance(value, str) and (name == "model" or value is not None):
            raise TypeError(f"{name} must be a str, got {shown(value)}")
    if not 0 < len(model) <= _LONGEST_NAME or len(provider or "") + len(base_url or "") > _LONGEST_URL:
        return None  # and not remembered: such names would fill the memory
    # Searched under the lock as well: else what was found before a registration could be remembered after it.
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
