"""OpenAI's API, and every endpoint that speaks like it: completions, responses, embeddings, pictures and sound."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping

from budgeted.pricing import price_registry
from budgeted.wire.normalized_request import ANY, Request
from budgeted.wire.referenced_input import referenced
from budgeted.wire.request_formats import openai_images_and_audio, stream_usage_option, vertex_tier
from budgeted.wire.request_formats.billed_tools import MOST_SOURCES, fees_of, most_searches
from budgeted.wire.request_formats.http_request import Body, Format, HTTPRequest, unseen_at, with_body
from budgeted.wire.request_formats.parameter_coercion import count, is_structured, items, mapping, prompts, text, times

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

_CAPS = ("max_completion_tokens", "max_tokens")
"""What chat completions may call their output cap."""

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

_DEPLOYMENT = re.compile(r"/deployments/([^/]+)/")

_SERVER_TOOLS = (
    *("web_search", "x_search", "file_search", "collections_search", "code_interpreter", "code_execution"),
    *("computer", "mcp", "image_generation", "local_shell", "programmatic"),
)
_OWN_HOST = ("api.openai.com", "azure.com", "azure-api.net")


class OpenAI(Format):
    """Chat completions, responses, legacy completions and embeddings; images and sound are read apart."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        path = _path(http.path)
        if path is None:
            return unseen_at(http, _UNSEEN) or openai_images_and_audio.read(http)
        body = http.body
        request = Request(
            provider=http.provider,
            operation=_OPERATIONS[path],
            model=_model(http),
            body=body,
            tier=text(body.get("service_tier")),
            base_url=http.base_url,
            elsewhere=referenced(body),
        )
        if path == "/chat/completions":
            _read_chat(request, body)
            if request.cap is None and any(body.get(name) is not None for name in _CAPS):
                # One that makes no sense is written over, or left for the provider to refuse where another would be.
                [written] = self.cap_at(http, request)
                request.cappable = all(name == written or body.get(name) is None for name in _CAPS)
        elif path in _UNCAPPED:
            request.cappable = False
        elif path == "/responses":
            read_responses(request, body)
        elif path == "/completions":
            _read_completions(request, body)
        else:
            request.output = False
        return request

    told_by = (vertex_tier.HEADER,)

    def told(self, request: Request, headers: Mapping[str, str]) -> None:
        """Note the tier that a header asks Google's imitation for."""
        if request.provider == "google":
            vertex_tier.note(request, headers)

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:
        """Where a body has its output cap."""
        ends = _path(http.path)
        if ends != "/chat/completions":
            return ("max_tokens" if ends == "/completions" else "max_output_tokens",)
        # Newer models refuse the old name, and servers that imitate OpenAI often know no other.
        price = price_registry.find(request.model, request.provider or None, request.base_url)
        own = any(host in (request.base_url or "") for host in _OWN_HOST)
        newer = own or (price is not None and price.provider in ("openai", "azure"))
        return ("max_completion_tokens" if newer else "max_tokens",)

    def asking_usage(self, http: HTTPRequest, request: Request) -> tuple[HTTPRequest, bool]:
        """The same, asking for its stream to say what it used, and whether to hide from the caller what says it."""
        body = http.body
        if not body.get("stream") and request.provider != "openrouter":
            return http, False
        path = _path(http.path)
        changes: dict[str, object] = {}
        if request.provider == "openrouter" and path == "/chat/completions" and "usage" not in body:
            changes["usage"] = {"include": True}
        asking = None
        if body.get("stream") and path in ("/chat/completions", "/completions"):
            asking = stream_usage_option.asking(body, request.base_url or "")
            if asking is not None:
                changes[stream_usage_option.OPTION] = asking
        return with_body(http, **changes) if changes else http, asking is not None


class Groq(OpenAI):
    """Groq's, whose streams always say their usage, in the last chunk's ``x_groq``."""

    def read(self, http: HTTPRequest) -> Request | None:
        """The request as a call to meter, or None if it is not billed."""
        request = super().read(http)
        if request is not None:
            request.exact_bytes = False
            if str(http.body.get("model")).startswith(("groq/compound", "compound-beta")):
                request.elsewhere = "what the server-side tools of its system bring"
        return request

    def cap_at(self, http: HTTPRequest, request: Request) -> tuple[str, ...]:  # noqa: ARG002 - as its parent's
        """Where a body has its output cap."""
        return ("max_completion_tokens",)

    def asking_usage(self, http: HTTPRequest, request: Request) -> tuple[HTTPRequest, bool]:  # noqa: ARG002 - as above
        """The same as it is: it is told unasked."""
        return http, False


# Remembered, as every call asks for it.
@functools.lru_cache(maxsize=1024)
def _path(path: str) -> str | None:
    return next((end for end in _OPERATIONS if path.endswith(end)), None)


def _model(http: HTTPRequest) -> str:
    """The model that is asked for. Azure asks its deployment, whatever a body calls it: its name may be a model's."""
    named, deployed = str(http.body.get("model") or ""), deployment(http.path)
    if not named or not deployed or named == deployed:
        return named or deployed
    return named if price_registry.find(deployed, http.provider or None, http.base_url) is None else deployed


@functools.lru_cache(maxsize=1024)
def deployment(path: str) -> str:
    """The deployment that a path of Azure's names; "" if it names none.

    Args:
        path: of the request.
    """
    found = _DEPLOYMENT.search(path)
    return "" if found is None else found[1]


def _read_chat(request: Request, body: Body) -> None:
    _read_cap(request, body, *_CAPS)
    request.kinds = ANY
    for message in items(body.get("messages")):
        # By the class at once: a conversation may be long.
        if (message if message.__class__ is dict else mapping(message)).get("audio"):
            request.elsewhere = "the sound of an earlier answer"
    if not _READ_RARELY.isdisjoint(body):
        _read_options(request, body)
    if "-search-preview" in request.model or "-search-api" in request.model:
        request.searches = max(request.searches, 1)  # each answer searches, asked to or not
    if request.provider == "perplexity":
        request.searches = most_searches(request.model)
        request.tier = text(mapping(body.get("web_search_options")).get("search_context_size"))
    elif request.provider == "openrouter":
        if "@preset/" in request.model:
            request.elsewhere = "a preset"
        _read_plugins(request, body)


_READ_RARELY = frozenset({"n", "response_format", "web_search_options", "search_parameters", "models"})


def _read_options(request: Request, body: Body) -> None:
    """Read what few chats ask for: of most, no name of it is in the body."""
    request.n = times(body.get("n"))
    request.structured = is_structured(body.get("response_format"))
    if body.get("web_search_options") is not None:
        request.elsewhere = "a web search"
        request.searches = 1
    live = body.get("search_parameters")
    if live is not None and mapping(live).get("mode") != "off":
        request.elsewhere = "a live search"
        request.fees = (("live_search", count(mapping(live).get("max_search_results")) or MOST_SOURCES),)
    request.others = tuple(name for name in items(body.get("models")) if isinstance(name, str))


def _read_cap(request: Request, body: Body, *names: str) -> None:
    """Read the output cap. Of two, who knows one of the names alone takes that one: the larger one is what may be."""
    most: int | None = None
    for name in names:
        given = body.get(name)
        if given is not None:
            cap = count(given)
            if cap is None:
                return  # it makes no sense
            most = cap if most is None or cap > most else most
    request.cap = most


def _read_plugins(request: Request, body: Body) -> None:
    """Read whether OpenRouter itself is to search the web: it bills each result, and puts it into the input."""
    web = next((mapping(each) for each in items(body.get("plugins")) if mapping(each).get("id") == "web"), None)
    if web is None:
        return
    request.elsewhere = "a web search"
    request.searches = max(request.searches, times(mapping(web).get("max_results"), WEB_RESULTS))


def read_responses(request: Request, body: Body) -> None:
    """Read a request of the responses API.

    Args:
        request: what is read of it goes here.
        body: its JSON.
    """
    if body.get("background"):
        request.unseen = "a background response"
    _read_cap(request, body, "max_output_tokens")
    request.structured = is_structured(mapping(body.get("text")).get("format"))
    if request.provider == "openrouter":
        _read_plugins(request, body)
    for tool in items(body.get("tools")):
        kind = text(mapping(tool).get("type")) or ""
        if kind == "image_generation":
            request.unseen = "a picture that a tool draws"
        hosted = kind == "shell" and str(mapping(mapping(tool).get("environment")).get("type")).startswith("container")
        if hosted or kind.startswith(_SERVER_TOOLS):
            request.elsewhere = f"what the server-side tool {kind} brings"
        if kind.startswith(("web_search", "x_search")):
            request.searches += count(body.get("max_tool_calls")) or most_searches(request.model)
    request.fees = fees_of(body.get("tools"), count(body.get("max_tool_calls")))


def _read_completions(request: Request, body: Body) -> None:
    _read_cap(request, body, "max_tokens")
    request.n = max(times(body.get("n")), times(body.get("best_of"))) * prompts(body.get("prompt"))
