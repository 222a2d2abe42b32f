"""The Mistral SDK, with its clients for Azure and Google Cloud: chat, fill-in-the-middle, agents and embeddings."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from budgeted.call import Call
from budgeted.providers.metered import End, Sent, count, http_end, mapping, pair
from budgeted.request import Request

_CHAT = ("/chat/completions", "/fim/completions", "/agents/completions", ":rawPredict", ":streamRawPredict")
_EMBEDDINGS = "/embeddings"
_PROVIDERS = {"mistralai.azure.client": "azure", "mistralai.gcp.client": "google"}
_SAFE_PROMPT = " " * 512
"""Stands for the system prompt that ``safe_prompt`` adds."""


class _Sent(Sent):
    """One request, as the SDK has built it for HTTP."""

    body: dict[str, Any]
    http: Any

    def altered(self, call: Call) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """The arguments, whose HTTP request has the model and cap that were granted."""
        if not call.capped and call.request is self.request:
            return self.args, self.kwargs
        body = {**self.body, "model": call.request.model} if "model" in self.body else {**self.body}
        if call.capped:
            body["max_tokens"] = call.granted
        old = self.http
        headers = {name: value for name, value in old.headers.items() if name.lower() != "content-length"}
        http = type(old)(
            old.method, old.url, headers=headers, content=msgspec.json.encode(body), extensions=old.extensions
        )
        if len(self.args) > 1:
            return (self.args[0], http, *self.args[2:]), self.kwargs
        return self.args, {**self.kwargs, "request": http}

    def finish(self, call: Call, response: Any) -> End | None:
        """How the call ends with this HTTP response."""
        return http_end(call, response)


def _read(client: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> _Sent | None:
    http = args[1] if len(args) > 1 else kwargs.get("request")
    path = str(getattr(http, "url", "")).partition("?")[0].partition("#")[0]
    if http is None or http.method != "POST" or not path.endswith((*_CHAT, _EMBEDDINGS)):
        return None
    body = msgspec.json.decode(http.read())
    if not isinstance(body, dict):
        return None
    agent = body.get("agent_id")
    request = Request(
        provider=next((name for package, name in _PROVIDERS.items() if _is_of(client, package)), "mistral"),
        model=str(body.get("model") or agent or ""),
        body={**body, "safe_prompt": _SAFE_PROMPT} if body.get("safe_prompt") else body,
        base_url=str(http.url.copy_with(raw_path=b"/")),
        exact_bytes=False,
    )
    if path.endswith(_EMBEDDINGS):
        request.operation, request.output = "embeddings", False
    else:
        _read_chat(request, body)
    if agent:
        request.elsewhere = "an agent, whose instructions and tools are not in it"
    sent = _Sent(request, args, kwargs)
    sent.body, sent.http = body, http
    return sent


def _read_chat(request: Request, body: Mapping[str, Any]) -> None:
    request.cap = count(body.get("max_tokens"))
    request.n = count(body.get("n")) or 1
    request.structured = mapping(body.get("response_format")).get("type") in ("json_object", "json_schema")
    for tool in body.get("tools") or ():
        kind = mapping(tool).get("type", "function")
        if kind != "function":
            request.elsewhere = f"what the server-side tool {kind} brings"


def _is_of(client: Any, package: str) -> bool:
    return type(client).__module__.startswith(package)


HOOKS = tuple(
    hook
    for package in ("mistralai.client", *_PROVIDERS)
    for hook in pair(f"{package}.basesdk", "BaseSDK.do_request", "BaseSDK.do_request_async", _read)
)
