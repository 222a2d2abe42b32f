"""The price of a model by its name: those that the application registers win over the bundled list."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterable, Mapping
from datetime import date
from decimal import Decimal
from typing import Final, TypeAlias

from budgeted.fork_locks import ForkLocks
from budgeted.pricing import max_output_tokens as longest
from budgeted.pricing import price_arguments
from budgeted.pricing.bundled_price_list import lookup, same_provider
from budgeted.pricing.model_price import Price
from budgeted.pricing.price_dimensions import Dimensions
from budgeted.pricing.price_entry import Entry
from budgeted.pricing.registered_price import Registration, covering, directory, entry_of
from budgeted.system.forks import at_fork
from budgeted.validation import check_count, shown

Amount: TypeAlias = price_arguments.Amount
_log = logging.getLogger("budgeted")
_LONGEST_NAME: Final = 512
_LONGEST_URL: Final = 2048
_MOST_REMEMBERED: Final = 4096
_LONGEST_WAIT_TO_FORK: Final = 5.0  # seconds


_registered: dict[tuple[str, str | None, str | None, int | None], Registration] = {}
_remembered: dict[tuple[str, str | None, str | None], Price | None] = {}
_lock = threading.RLock()


_taken_for_fork = ForkLocks()


def _before_fork() -> None:
    # No child may inherit the lock taken, nor the price list half imported, by a thread that it has not got.
    _taken_for_fork.take(_lock, _LONGEST_WAIT_TO_FORK)


def _after_fork_in_child() -> None:
    global _lock  # noqa: PLW0603
    _taken_for_fork.forget()
    _lock = threading.RLock()


at_fork(before=_before_fork, after_in_parent=_taken_for_fork.give_back, after_in_child=_after_fork_in_child)


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
    groups = covering(_registered.values(), model, provider, base_url)
    if not groups:
        entry = _listed(model, provider, base_url)
        return None if entry is None else _price(entry, model)
    entry = entry_of(groups, model, lambda: _listed(model, provider, base_url))
    if entry is None:
        return None
    winner = groups[0][0]
    # What a pattern only changes is found again by the name that an answer gives.
    return _price(entry, model, registered=winner.dimensions.whole or not winner.is_pattern)


def _listed(model: str, provider: str | None, base_url: str | None) -> Entry | None:
    if not model.isprintable():
        return None
    try:
        return lookup(model, provider, base_url)
    except Exception:  # noqa: BLE001  # whatever is wrong in the list, the model has no price then, and the call is refused
        _log.exception("budgeted: the price list has no usable price for %s", shown(model))
        return None


def _price(entry: Entry, model: str, *, registered: bool = False) -> Price:
    most = longest.find(model) or longest.find(entry.model) or entry.context_window
    return Price(entry, max_output_tokens=most, registered=registered)


class _NotGiven(Decimal):
    """The 0 that an argument has by default, which says nothing of a listed price."""


_NOT_GIVEN: Final = _NotGiven(0)


def register_price(
    model: str,
    *,
    input: Amount = _NOT_GIVEN,
    output: Amount = _NOT_GIVEN,
    cached_input: Amount | None = None,
    cache_write: Amount | None = None,
    cache_write_1h: Amount | None = None,
    audio_input: Amount | None = None,
    cached_audio_input: Amount | None = None,
    audio_output: Amount | None = None,
    image_input: Amount | None = None,
    image_output: Amount | None = None,
    per_call: Amount = _NOT_GIVEN,
    per_search: Amount | None = None,
    per_second: Amount | None = None,
    tiers: Mapping[str, Amount | Mapping[str, Amount]] | None = None,
    multiplier: Amount | None = None,
    steps: Mapping[int, Mapping[str, Amount]] | None = None,
    valid_from: date | str | None = None,
    max_output_tokens: int | None = None,
    provider: str | None = None,
    base_url: str | None = None,
) -> Price | None:
    """Say what a model costs, or what of its listed price is otherwise. It wins over the bundled price list.

    With both ``input`` and ``output`` it is the whole price: nothing of a listed one is left. Else what is given is
    laid over the listed price of each model that the name stands for, and the rest stays as listed; of a model that is
    not listed, tokens without a price are free. The most exact name counts: the name itself, then the name without a
    provider's prefix (``my-model`` for ``openai/my-model``, and the other way round), then the longest pattern. The
    same name, provider, address and date again replace what was registered.

    Args:
        model: its name, in any case of letters, or a glob such as "my-*".
        input: USD per million input tokens: a number or text, 0 if it is free.
        output: USD per million output tokens.
        cached_input: USD per million tokens read from a cache. None means the input's price.
        cache_write: USD per million tokens written to a cache, for five minutes where that has a price of its own.
            None means the input's price.
        cache_write_1h: USD per million tokens written to a cache for an hour. None means the price of ``cache_write``.
        audio_input: USD per million input tokens that are sound. None means that nobody knows: a call with such
            tokens is charged at the dearest rate that is known, or all that it held, and listed as uncertain.
        cached_audio_input: USD per million tokens of sound read from a cache. None means the price of ``audio_input``.
        audio_output: USD per million output tokens that are sound. None is as for ``audio_input``.
        image_input: USD per million input tokens that are images or video. None means the input's price.
        image_output: USD per million output tokens that are images or video. None is as for ``audio_input``.
        per_call: USD for each call, picture, page or reranking.
        per_search: USD for each search that the provider makes. None means that nobody knows.
        per_second: USD for each second of sound that is billed by its length. None means that nobody knows.
        tiers: for service tiers by name, what the standard price of tokens, calls and sound is multiplied by
            (``{"priority": 1.8}``), or prices of their own by the names of these arguments
            (``{"flex": {"input": 1, "output": 4}}``). A tier that is not named is one that nobody knows.
        multiplier: what all of the price is multiplied by: 1.1 for a tenth more, 0.8 for a discount of a fifth. What
            a provider states as its cost (OpenRouter, Perplexity, xAI) is charged as stated.
        steps: by how many input tokens have to be exceeded, the prices per million tokens that all of the call has
            then, by the names of these arguments: ``{200_000: {"input": 2.5, "output": 15}}``.
        valid_from: when this begins to hold; before, the price stays what it was. A date, a date with a time, or
            either as ISO text; in UTC where it says no other offset. None means always.
        max_output_tokens: the most that one answer can have. None means what is known about the name, if anything.
        provider: only for calls to this provider, as genai-prices names it.
        base_url: only for calls to addresses that begin so.

    Returns:
        The price for that very name; None if what is given only changes prices, and there is none by that name, as
        for most patterns.

    Raises:
        TypeError: a name is not a str, or a price not an amount; or nothing is said.
        ValueError: a name is empty or too long, or a price negative, not finite or absurd; a tier is one that no
            provider has; or a price per second is said of a model that is known not to hear or speak.

    Example:
        >>> register_price("llama-3.3-70b", input="0.10", output="0.40", base_url="http://localhost:8000")
        <Price of 'llama-3.3-70b' at 'any provider'>
        >>> register_price("gpt-4o-audio-preview", audio_input=40, audio_output=80)
        <Price of 'gpt-4o-audio-preview' at 'openai'>
        >>> register_price("claude-*", multiplier=1.1, base_url="https://gateway.example.com")
        >>> register_price("my-model", input=1, output=4, tiers={"priority": 1.8}, valid_from="2026-12-01")
        <Price of 'my-model' at 'any provider'>
        >>> register_price("my-transcripts", per_second=0.0001)
        <Price of 'my-transcripts' at 'any provider'>
    """
    _check_text("model", model, _LONGEST_NAME)
    if provider is not None:
        provider = same_provider(_check_text("provider", provider, _LONGEST_NAME))
    if base_url is not None:
        base_url = directory(_check_text("base_url", base_url, _LONGEST_URL))
    if max_output_tokens is not None:
        check_count(max_output_tokens, "max_output_tokens", 1)
    always = {"input": input, "output": output, "per_call": per_call}
    amounts: dict[str, object] = {
        "cached_input": cached_input,
        "cache_write": cache_write,
        "cache_write_1h": cache_write_1h,
        "audio_input": audio_input,
        "cached_audio_input": cached_audio_input,
        "audio_output": audio_output,
        "image_input": image_input,
        "image_output": image_output,
        "per_search": per_search,
        "per_second": per_second,
    }
    given = price_arguments.needed({name: amount for name, amount in always.items() if amount is not _NOT_GIVEN})
    said = Dimensions(
        given={**given, **price_arguments.rates(amounts)},
        tiers={} if tiers is None else price_arguments.tiers(tiers),
        multiplier=None if multiplier is None else price_arguments.factor(multiplier, "multiplier"),
        steps=() if steps is None else price_arguments.steps(steps),
        valid_from=None if valid_from is None else price_arguments.moment(valid_from),
        max_output_tokens=max_output_tokens,
    )
    if not said.says_anything:
        raise TypeError(
            f"register_price({shown(model)}) says no price: give input=... and output=..., or multiplier=..."
        )
    name = model.strip().lower()
    registration = Registration(name, provider, base_url, said.valid_from, said)
    if per_second is not None:
        _check_sound(registration, per_second)
    with _lock:
        _registered[registration[:4]] = registration
        _remembered.clear()
        return _search(model, provider, base_url)


def registered() -> tuple[Registration, ...]:
    """What the application has registered so far; it pickles."""
    return tuple(_registered.values())


def registration_of(model: str, provider: str | None = None, base_url: str | None = None) -> Registration | None:
    """Return the most exact of the registrations that make a model's price; None if it is the list's alone."""
    groups = covering(registered(), model, provider, base_url)
    return groups[0][0] if groups else None


def take_over(prices: Iterable[Registration]) -> None:
    """Register what another process has registered, instead of what is here for the same models."""
    with _lock:
        _registered.update({one[:4]: one for one in prices})
        _remembered.clear()


_SOUND: Final = ("audio", "live", "realtime", "sonic", "speech", "transcri", "tts", "voice", "voxtral", "whisper")
"""What names of models have in them that hear or speak."""


def _check_sound(registration: Registration, per_second: object) -> None:
    """Refuse a price by the second of a model that is listed as one of text, whose answers tell no seconds."""
    if registration.is_pattern or any(word in registration.model for word in _SOUND):
        return
    listed = _listed(registration.model, registration.provider, registration.base_url)
    if listed is not None and not any(rates.hears for rates in listed.standard.levels()):
        raise ValueError(
            f"per_second is for sound that is billed by its length, and {shown(registration.model)} is listed without "
            f"sound, got {shown(per_second)}; give input=... and output=... in USD per million tokens"
        )


def _check_text(what: str, value: object, longest: int) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{what} must be a str, got {shown(value)}")
    if not value.strip() or len(value) > longest:
        raise ValueError(f"{what} must have 1 to {longest} characters, got {shown(value)}")
    return value


def preload() -> None:
    """Load the price list in the background, so that the first call does not wait a quarter of a second for it."""
    threading.Thread(target=_find_and_remember, args=("gpt-4o", "openai", None), daemon=True).start()
