"""The OpenAI SDK, 2.x and 3.x, with its Azure client and every endpoint that speaks like OpenAI's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from budgeted import prices
from budgeted.call import Call, Request
from budgeted.providers.metered import count, text
from budgeted.providers.stainless import hooks

_OPERATIONS = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}
_SERVER_TOOLS = ("web_search", "file_search", "code_interpreter", "computer", "mcp", "image_generation", "local_shell")
_OWN_HOST = ("api.openai.com", "azure.com", "azure-api.net")


class OpenAI:
    """Chat completions, responses, legacy completions and embeddings."""

    provider = "openai"

    def read(self, client: Any, url: str, body: Mapping[str, Any]) -> Request | None:
        """The request as a call to meter, or None if it is not billed by tokens."""
        path = _path(url)
        if path is None:
            return None
        base_url = str(client.base_url)
        request = Request(
            provider="azure" if "Azure" in type(client).__name__ else self.provider,
            operation=_OPERATIONS[path],
            model=str(body.get("model") or ""),
            body=body,
            tier=text(body.get("service_tier")),
            base_url=base_url,
        )
        if path == "/chat/completions":
            _read_chat(request, body)
        elif path == "/responses":
            _read_responses(request, body)
        elif path == "/completions":
            _read_completions(request, body)
        else:
            request.output = False
        return request

    def alter(self, url: str, request: Request, body: dict[str, Any], call: Call) -> tuple[dict[str, Any], bool]:
        """The body with the model and cap that were granted, and whether the usage asked for is to be hidden."""
        if body.get("model") != request.model:
            body["model"] = request.model
        path = _path(url)
        if call.capped:
            body[_cap_name(request, path)] = call.granted
        hide = False
        if body.get("stream") and path in ("/chat/completions", "/completions"):
            asked = body.get("stream_options") or {}
            hide = not asked.get("include_usage")
            body["stream_options"] = {**asked, "include_usage": True}
        return body, hide


def _path(url: str) -> str | None:
    return next((path for path in _OPERATIONS if url.endswith(path)), None)


def _read_chat(request: Request, body: Mapping[str, Any]) -> None:
    request.cap = count(body.get("max_completion_tokens")) or count(body.get("max_tokens"))
    request.n = count(body.get("n")) or 1
    request.structured = _is_structured(body.get("response_format"))
    if "audio" in (body.get("modalities") or ()):
        request.kinds |= prices.AUDIO_OUT
    request.kinds |= prices.AUDIO if _holds_audio(body.get("messages")) else 0
    if body.get("web_search_options") is not None:
        request.elsewhere = "a web search"
    if any(isinstance(message, Mapping) and message.get("audio") for message in body.get("messages") or ()):
        request.elsewhere = "the sound of an earlier answer"


def _read_responses(request: Request, body: Mapping[str, Any]) -> None:
    request.cap = count(body.get("max_output_tokens"))
    text = body.get("text")
    request.structured = _is_structured(text.get("format") if isinstance(text, Mapping) else None)
    for name in ("previous_response_id", "conversation", "prompt"):
        if body.get(name):
            request.elsewhere = name
    for tool in body.get("tools") or ():
        kind = tool.get("type", "") if isinstance(tool, Mapping) else ""
        if kind.startswith(_SERVER_TOOLS):
            request.elsewhere = f"what the server-side tool {kind} brings"


def _read_completions(request: Request, body: Mapping[str, Any]) -> None:
    request.cap = count(body.get("max_tokens"))
    prompt = body.get("prompt")
    prompts = len(prompt) if isinstance(prompt, list) and prompt and not isinstance(prompt[0], int) else 1
    request.n = max(count(body.get("n")) or 1, count(body.get("best_of")) or 1) * prompts


def _cap_name(request: Request, path: str | None) -> str:
    if path != "/chat/completions":
        return "max_tokens" if path == "/completions" else "max_output_tokens"
    # Newer models refuse the old name, and servers that imitate OpenAI often know no other.
    price = prices.find(request.model, request.provider, request.base_url)
    own = any(host in (request.base_url or "") for host in _OWN_HOST)
    return (
        "max_completion_tokens"
        if own or (price is not None and price.provider in ("openai", "azure"))
        else "max_tokens"
    )


def _is_structured(wanted: Any) -> bool:
    return isinstance(wanted, Mapping) and wanted.get("type") in ("json_schema", "json_object")


def _holds_audio(messages: Any) -> bool:
    return any(
        isinstance(part, Mapping) and part.get("type") == "input_audio"
        for message in messages or ()
        if isinstance(message, Mapping) and isinstance(message.get("content"), list)
        for part in message["content"]
    )


HOOKS = hooks("openai", OpenAI())
