"""LiteLLM's functions beside completions, embeddings and responses: refused where LiteLLM sends by itself.

What they bring is billed by units that LiteLLM does not report alike. Where they go through the OpenAI SDK, or through
LiteLLM's own completions, the call is metered there; its refusal then reaches the caller as it is, although LiteLLM
makes an error of its own of whatever goes wrong.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any

from budgeted.errors import BudgetError
from budgeted.payers.scope import current
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.providers.unmeterable_requests import refuse_unseen

_SENT_BY_ITSELF = {
    "rerank_api.main": {"rerank": "a reranking"},
    "ocr.main": {"ocr": "reading a document"},
    "search.main": {"search": "a search"},
    "images.main": {"image_edit": "a picture"},
    "videos.main": dict.fromkeys(("video_generation", "video_remix", "video_edit", "video_extension"), "a video"),
    "containers.main": {"create_container": "a container"},
    "vector_stores.main": {"search": "a search"},
    "rag.main": {"ingest": "an index of files"},
    "interactions.main": {"create": "an interaction"},
    "passthrough.main": {"llm_passthrough_route": "what is passed through"},
    "batches.main": {"create_batch": "a batch that the provider runs"},
    "fine_tuning.main": {"create_fine_tuning_job": "fine-tuning"},
    "evals.main": {"create_run": "an evaluation"},
    "responses.main": {"compact_responses": "what compacts a response"},
}
"""By the module and the function, which has a twin for coroutines: what is billed."""

_SENT_BY_SOME = {
    "images.main": {"image_generation": "a picture", "image_variation": "a picture"},
    "main": {"transcription": "a transcript", "speech": "speech"},
}
"""The same, of functions that go through the OpenAI SDK for some providers."""

_BY_SDK = ("openai", "litellm_proxy")
_SOUND_BY_SDK = ("azure", "groq", "fireworks_ai", "together_ai", "deepinfra", "hosted_vllm")

_BRIDGES = {
    "llms.anthropic.experimental_pass_through.messages.handler": ("anthropic_messages",),
    "llms.anthropic.pass_through.messages.handler": ("anthropic_messages",),
    "llms.anthropic.messages.native.handler": ("anthropic_messages",),
    "google_genai.main": (
        *("generate_content", "agenerate_content"),
        *("generate_content_stream", "agenerate_content_stream"),
    ),
}
"""Functions that become completions for the providers that do not speak so."""

_NATIVE_AND_FREE = ("token_counter", "tokenizer")
_SENDERS = ("anthropic_messages_handler", "generate_content_handler")
"""What sends for them where they do not: methods of LiteLLM's own HTTP handler."""


def _refuse(what: str) -> Callable[..., Any]:
    def wrapper(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if enabled() and kwargs.get("mock_response") is None:
            refuse_unseen(what)
        return wrapped(*args, **kwargs)

    return wrapper


def _refuse_unless_met_below(
    wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Any:
    """Refuse what LiteLLM's own HTTP handler sends, unless the hooks of the transport are known to meter it."""
    scope = current()
    if enabled() and kwargs.get("mock_response") is None and (scope is None or scope.paid_hosts is None):
        refuse_unseen("what LiteLLM sends by itself")
    return wrapped(*args, **kwargs)


def _refuse_native(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Refuse what newer versions send by their part that is written in Rust."""
    route = getattr(args[0] if args else kwargs.get("context"), "route", "")
    if enabled() and str(getattr(route, "value", route)) not in _NATIVE_AND_FREE:
        refuse_unseen("what LiteLLM sends by itself")
    return wrapped(*args, **kwargs)


def _refuse_some(what: str) -> Callable[..., Any]:
    def wrapper(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if enabled() and kwargs.get("mock_response") is None and not _by_sdk(wrapped.__name__, args, kwargs):
            refuse_unseen(what)
        return _tell_plainly(wrapped, instance, args, kwargs)

    return wrapper


def _by_sdk(name: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> bool:
    """Whether the OpenAI SDK sends for the provider."""
    place = 1 if "image_generation" in name else 0
    model = kwargs.get("model", args[place] if len(args) > place else None)
    given = (kwargs.get(key) for key in ("custom_llm_provider", "api_base"))
    try:
        provider = sys.modules["litellm"].get_llm_provider(model or "dall-e-2", *given)[1]
    except Exception:  # noqa: BLE001 - LiteLLM knows no such provider either, and says so
        return True
    return provider in _BY_SDK or ("image" not in name and provider in _SOUND_BY_SDK)


def _tell_plainly(wrapped: Callable[..., Any], instance: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    try:
        found = wrapped(*args, **kwargs)
    except Exception as error:
        _raise_refusal(error)
        raise
    return _told_plainly(found) if hasattr(found, "__await__") else found


async def _told_plainly(found: Any) -> Any:
    try:
        return await found
    except Exception as error:
        _raise_refusal(error)
        raise


def _raise_refusal(error: Exception) -> None:
    """Raise the refusal that an error of LiteLLM's was made of, if it was made of one."""
    found: BaseException | None = error
    for _ in range(10):
        if found is None or isinstance(found, BudgetError):
            break
        found = found.__cause__ or found.__context__
    if isinstance(found, BudgetError):
        raise found from None


def _twins(functions: Mapping[str, Mapping[str, str]], refuse: Callable[[str], Callable[..., Any]]) -> tuple[Hook, ...]:
    return tuple(
        Hook(f"litellm.{module}", f"{twin}{name}", refuse(what), inside="original_function", watched=False)
        for module, names in functions.items()
        for name, what in names.items()
        for twin in ("", "a")
    )


HOOKS = (
    *_twins(_SENT_BY_ITSELF, _refuse),
    *_twins(_SENT_BY_SOME, _refuse_some),
    *(
        Hook(f"litellm.{module}", name, _tell_plainly, inside="original_function", watched=False)
        for module, names in _BRIDGES.items()
        for name in names
    ),
    *(
        Hook(
            "litellm.llms.custom_httpx.llm_http_handler",
            f"BaseLLMHTTPHandler.{name}",
            _refuse_unless_met_below,
        )
        for name in _SENDERS
    ),
    Hook("litellm.rust_bridge.runtime", "_attempt_native", _refuse_native, watched=False),
    Hook("litellm.rust_bridge.runtime", "_aattempt_native", _refuse_native, watched=False),
)
