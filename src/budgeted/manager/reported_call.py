"""A call that was made elsewhere, as ``update_cost`` is told of it: a response, or a model with its texts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import msgspec

from budgeted.pricing import tiktoken_counting
from budgeted.pricing.tool_prices import provider_of_model
from budgeted.pricing.usage import Counts, Usage
from budgeted.validation import check_text, shown
from budgeted.wire import response_usage
from budgeted.wire.stream_usage import estimated

LOADING_SECONDS = 5.0
"""How long a method that counts text waits for a tokenizer that is being read from disk."""
ESTIMATED = "estimated from the text"


class Report(msgspec.Struct):
    """A call that was made elsewhere, as ``update_cost`` is told of it."""

    model: str
    usage: Counts
    provider: str = ""
    id: str | None = None
    reason: str = ""
    operation: str = "update_cost"


def read(response: object, model: str | None, input_text: str | None, output_text: str | None) -> Report | None:
    """Read what ``update_cost`` was given; None for a response that was paid for before.

    Raises:
        ValueError, TypeError: it does not say what the call used; the text says what to give instead.
    """
    if model is not None:
        check_text(model, "model")
    if model is not None and (input_text is not None or output_text is not None):
        given, counted_in = _estimate(input_text or "", model, "input_text")
        made, counted_out = _estimate(output_text or "", model, "output_text")
        return Report(model, Usage(given, made), reason="" if counted_in and counted_out else ESTIMATED)
    if response is None:
        msg = "update_cost needs a response, or a model with input_text and output_text"
        raise ValueError(msg)
    hidden = getattr(response, "_hidden_params", None)  # where LiteLLM notes how it came by a response
    notes = hidden if isinstance(hidden, Mapping) else {}
    if notes.get("cache_hit") is True and not hasattr(response, "data"):  # embeddings may be cached in part
        return None
    answer = response_usage.read(response)
    name = model or answer.model
    if answer.usage is None or name is None:
        msg = (
            f"the {type(response).__name__} given to update_cost does not say what it used; "
            f"give model=, input_text= and output_text= instead"
        )
        raise ValueError(msg)
    provider = provider_of_model(notes.get("custom_llm_provider"))
    name = name.encode("utf-8", "replace").decode()  # what was paid for is recorded, whatever it calls itself
    return Report(name, answer.usage, provider, answer.id)


def texts(messages: Iterable[object]) -> Iterable[str]:
    """The texts that messages hold."""
    for message in messages:
        content = message.get("content") if isinstance(message, Mapping) else getattr(message, "content", None)
        if isinstance(content, str):
            yield content
        elif isinstance(content, list):
            yield from (part["text"] for part in content if isinstance(part, Mapping) and "text" in part)


def count(text: str, model: str) -> int | None:
    """Tokens as the model's own tokenizer counts them, if it can be had without a download."""
    counted = tiktoken_counting.count(text, model)
    if counted is None and tiktoken_counting.wait_loaded(LOADING_SECONDS):
        counted = tiktoken_counting.count(text, model)
    return counted


def _estimate(text: object, model: str, what: str) -> tuple[int, bool]:
    """Tokens of a text, and whether they were counted rather than guessed."""
    if not isinstance(text, str):
        msg = f"{what} must be a string, got {shown(text)}"
        raise TypeError(msg)
    size = count(text, model)
    return (estimated(len(text.encode("utf-8", "surrogatepass"))), False) if size is None else (size, True)
