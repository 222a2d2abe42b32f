"""The OpenAI SDK, 2.x and 3.x, with its Azure client and every endpoint that speaks like OpenAI's."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

from budgeted.pricing import price_registry
from budgeted.providers import openai_images_and_audio, stream_usage_option
from budgeted.providers.billed_tools import MOST_SOURCES, fees_of, most_searches
from budgeted.providers.monkeypatching import Hook
from budgeted.providers.parameter_coercion import count, is_structured, items, mapping, prompts, text
from budgeted.providers.stainless_generated_sdks import Dialect, address, hooks, lineage
from budgeted.providers.unmeterable_requests import refuse_connection, refuse_unseen, refuse_unseen_at
from budgeted.wire.normalized_request import ANY, Request
from budgeted.wire.referenced_input import referenced

_OPERATIONS = {
    "/chat/completions": "chat",
    "/responses": "chat",
    "/responses/compact": "chat",
    "/decisions": "chat",
    "/completions": "text_completion",
    "/embeddings": "embeddings",
}
_UNCAPPED = ("/responses/compact", "/decisions")
"""Which of them know no output cap."""

_UNSEEN = {
    "/batches": "a batch that the provider runs",
    "/fine_tuning/jobs": "fine-tuning",
    "/resume": "what goes on at the provider",
    "/videos": "a video",
    "/videos/edits": "a video",
    "/videos/extensions": "a video",
    "/remix": "a video",
    "/runs": "a run of an assistant or an evaluation",
    "/submit_tool_outputs": "an assistant's run",
    "/graders/run": "a grader's run",
    "/realtime/calls": "what is said in a live session",
    "/realtime/sessions": "what is said in a live session",
    "/realtime/transcription_sessions": "what is said in a live session",
    "/client_secrets": "what is said in a live session",
    "/live/sessions": "what is said in a live session",
    "/accept": "what is said in a live session",
    "/fork": "what is said in a live session",
    "/agents/sessions": "an agent",
    "/events": "an agent",
    "/agents/automations": "an agent",
    "/chatkit/sessions": "an agent",
    "/invocations": "an agent",
    "/containers": "a container",
    "/search": "a search",
}
"""By the end of the path: what is billed, and not by the answer to the request that starts it."""

WEB_RESULTS = 5
"""Results that OpenRouter's web search brings if the request does not say how many."""

_SERVER_TOOLS = (
    *("web_search", "x_search", "file_search", "collections_search", "code_interpreter", "code_execution"),
    *("computer", "mcp", "image_generation", "local_shell", "programmatic"),
)
_OWN_HOST = ("api.openai.com", "azure.com", "azure-api.net")
_HOSTS = {
    "openrouter.ai/": "openrouter",
    "api.deepseek.com": "deepseek",
    "api.x.ai": "x-ai",
    "api.together.": "together",
    "api.groq.com": "groq",
    "api.mistral.ai": "mistral",
    "api.fireworks.ai": "fireworks",
    "api.perplexity.ai": "perplexity",
    "api.anthropic.com": "anthropic",
    "generativelanguage.googleapis.com": "google",
    "aiplatform.googleapis.com": "google",
    ".azure.com": "azure",
    ".amazonaws.com": "aws",
    "localhost:11434": "ollama",
    "127.0.0.1:11434": "ollama",
}
"""Whose prices apply, and whose name is reported, by a part of the address."""


class OpenAI(Dialect):
    """Chat completions, responses, legacy completions and embeddings; images and sound are read apart."""

    provider = "openai"

    def read(self, client: Any, url: str, body: Mapping[str, Any]) -> Request | None:
        """The request as a call to meter, or None if it is not billed by tokens.

        Raises:
            UnpricedModelError: it starts what is billed out of sight.
        """
        base_url = address(client)
        path = _path(url)
        if path is None:
            return _read_other(url, body, self._provider(client, base_url), base_url)
        request = Request(
            provider=self._provider(client, base_url),
            operation=_OPERATIONS[path],
            model=str(body.get("model") or ""),
            body=body,
            tier=text(body.get("service_tier")),
            base_url=base_url,
            elsewhere=referenced(body),
        )
        if path == "/chat/completions":
            _read_chat(request, body)
        elif path in _UNCAPPED:
            request.cappable = False
        elif path == "/responses":
            read_responses(request, body)
        elif path == "/completions":
            _read_completions(request, body)
        else:
            request.output = False
        return request

    def _provider(self, client: Any, base_url: str) -> str:
        if self.provider != "openai":
            return self.provider
        return "azure" if "Azure" in lineage(client) else _host(base_url)

    def cap_name(self, url: str, request: Request) -> str:
        """What a request's output cap is called."""
        path = _path(url)
        if path != "/chat/completions":
            return "max_tokens" if path == "/completions" else "max_output_tokens"
        # Newer models refuse the old name, and servers that imitate OpenAI often know no other.
        price = price_registry.find(request.model, request.provider, request.base_url)
        own = any(host in (request.base_url or "") for host in _OWN_HOST)
        newer = own or (price is not None and price.provider in ("openai", "azure"))
        return "max_completion_tokens" if newer else "max_tokens"

    def ask_usage(self, url: str, request: Request, body: Mapping[str, Any]) -> tuple[dict[str, Any], bool]:
        """What the body is to say for the answer to tell what it used, and whether to hide that from the caller."""
        path = _path(url)
        changes: dict[str, Any] = {}
        if request.provider == "openrouter" and path == "/chat/completions" and "usage" not in body:
            changes["usage"] = {"include": True}
        if not body.get("stream") or path not in ("/chat/completions", "/completions"):
            return changes, False
        asking = stream_usage_option.asking(body, request.base_url or "")
        if asking is not None:
            changes[stream_usage_option.OPTION] = asking
        return changes, asking is not None


# Remembered, as every call asks for both.
@functools.lru_cache(maxsize=1024)
def _path(url: str) -> str | None:
    return next((path for path in _OPERATIONS if url.endswith(path)), None)


@functools.lru_cache(maxsize=1024)
def _host(base_url: str) -> str:
    return next((name for host, name in _HOSTS.items() if host in base_url), "openai")


def _read_other(url: str, body: Mapping[str, Any], provider: str, base_url: str) -> Request | None:
    refuse_unseen_at(url, _UNSEEN)
    return openai_images_and_audio.read(url, body, provider, base_url)


def _read_chat(request: Request, body: Mapping[str, Any]) -> None:
    request.cap = count(body.get("max_completion_tokens")) or count(body.get("max_tokens"))
    request.n = count(body.get("n")) or 1
    request.structured = is_structured(body.get("response_format"))
    request.kinds = ANY
    if any(mapping(message).get("audio") for message in items(body.get("messages"))):
        request.elsewhere = "the sound of an earlier answer"
    if body.get("web_search_options") is not None:
        request.elsewhere = "a web search"
        request.searches = 1
    if "-search-preview" in request.model or "-search-api" in request.model:
        request.searches = max(request.searches, 1)  # each answer searches, asked to or not
    live = body.get("search_parameters")
    if live is not None and mapping(live).get("mode") != "off":
        request.elsewhere = "a live search"
        request.fees = (("live_search", count(mapping(live).get("max_search_results")) or MOST_SOURCES),)
    request.others = tuple(name for name in items(body.get("models")) if isinstance(name, str))
    if request.provider == "perplexity":
        request.searches = most_searches(request.model)
        request.tier = text(mapping(body.get("web_search_options")).get("search_context_size"))
    elif request.provider == "openrouter":
        if "@preset/" in request.model:
            request.elsewhere = "a preset"
        _read_plugins(request, body)


def _read_plugins(request: Request, body: Mapping[str, Any]) -> None:
    """Read whether OpenRouter itself is to search the web: it bills each result, and puts it into the input."""
    web = next((mapping(each) for each in items(body.get("plugins")) if mapping(each).get("id") == "web"), None)
    if web is None:
        return
    request.elsewhere = "a web search"
    request.searches = max(request.searches, count(mapping(web).get("max_results")) or WEB_RESULTS)


def read_responses(request: Request, body: Mapping[str, Any]) -> None:
    """Read a request of the responses API."""
    if body.get("background"):
        refuse_unseen("a background response")
    request.cap = count(body.get("max_output_tokens"))
    request.structured = is_structured(mapping(body.get("text")).get("format"))
    if request.provider == "openrouter":
        _read_plugins(request, body)
    for tool in items(body.get("tools")):
        kind = text(mapping(tool).get("type")) or ""
        if kind == "image_generation":
            refuse_unseen("a picture that a tool draws")
        hosted = kind == "shell" and str(mapping(mapping(tool).get("environment")).get("type")).startswith("container")
        if hosted or kind.startswith(_SERVER_TOOLS):
            request.elsewhere = f"what the server-side tool {kind} brings"
        if kind.startswith(("web_search", "x_search")):
            request.searches += count(body.get("max_tool_calls")) or most_searches(request.model)
    request.fees = fees_of(body.get("tools"), count(body.get("max_tool_calls")))


def _read_completions(request: Request, body: Mapping[str, Any]) -> None:
    request.cap = count(body.get("max_tokens"))
    request.n = max(count(body.get("n")) or 1, count(body.get("best_of")) or 1) * prompts(body.get("prompt"))


HOOKS = (
    *hooks("openai", OpenAI()),
    *(
        Hook(f"openai.resources.{module}", f"{kind}{name}.connect", refuse_connection)
        for module, name in (
            ("realtime.realtime", "Realtime"),
            ("beta.realtime.realtime", "Realtime"),
            ("realtime.translations.translations", "Translations"),
            ("live.live", "Live"),
            ("live.forks", "Forks"),
            ("live.sideband", "Sideband"),
            ("responses.responses", "Responses"),
            ("beta.responses.responses", "Responses"),
        )
        for kind in ("", "Async")
    ),
)
