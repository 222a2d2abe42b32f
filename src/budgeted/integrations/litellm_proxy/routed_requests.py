"""What a call of the proxy may become: a request to any deployment of its model group, or of the group's fallbacks."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec

from budgeted.pricing import price_registry
from budgeted.providers.litellm import made_up, request_of
from budgeted.wire.api_endpoints import endpoint
from budgeted.wire.normalized_request import Request
from budgeted.wire.request_formats.http_request import HTTPRequest
from budgeted.wire.request_formats.parameter_coercion import items, mapping, text

_FUNCTIONS: Final = {
    "acompletion": "acompletion",
    "completion": "acompletion",
    "atext_completion": "atext_completion",
    "text_completion": "atext_completion",
    "aembedding": "aembedding",
    "embedding": "aembedding",
    "embeddings": "aembedding",
    "aresponses": "aresponses",
    "responses": "aresponses",
}
"""The function of LiteLLM's that a call becomes, by the proxy's names for its routes, the older ones among them."""

_PATHS: Final = {"anthropic_messages": "/v1/messages", "aanthropic_messages": "/v1/messages"}
"""Where a call is posted that is forwarded in its maker's own format."""

_OWN: Final = ("litellm_", "user_api_key")
_NOT_SENT: Final = frozenset({"metadata", "proxy_server_request", "secret_fields", "model_info"})
"""What LiteLLM keeps of a call beside what it was asked: by how the names begin, and by name."""

_MOST_GROUPS: Final = 50
"""Model groups that are looked at, however many fallbacks lead to one another."""


def request(call_type: str, data: Mapping[str, Any], router: object, team: str) -> Request | None:
    """What a call may become at the most.

    Args:
        call_type: the proxy's name for the route.
        data: what it was asked.
        router: LiteLLM's, which knows the deployments; None where there is none.
        team: whose own deployments count as well; "" for nobody's.

    Returns:
        The request, with those that may be sent ``instead``; None for what is not of this kind.
    """
    if not isinstance(data.get("model"), str) or not (call_type in _FUNCTIONS or call_type in _PATHS):
        return None
    requests: dict[tuple[str, str, str | None], Request] = {}
    for deployment in deployments(router, data, team):
        place: dict[str, object] = {name: deployment[name] for name in _PLACE if name in deployment}
        found = _sent(call_type, {**deployment, **data, **place})
        if found is not None:
            requests.setdefault((found.provider, found.model, found.base_url), found)
    return _routed([*requests.values()])


def _routed(requests: list[Request]) -> Request | None:
    """One request for several, of which those with a price count where there are any."""
    if not requests:
        return None
    priced = [one for one in requests if price_registry.find(one.model, one.provider or None, one.base_url)]
    instead = tuple(priced or requests)
    return msgspec.structs.replace(instead[0], instead=instead)


def _sent(call_type: str, given: Mapping[str, Any]) -> Request | None:
    if call_type in _FUNCTIONS:
        return request_of(_FUNCTIONS[call_type], given)
    base_url = text(given.get("api_base")) or text(given.get("base_url"))
    found = posted(_PATHS[call_type], given, base_url)
    if found is not None:
        found.exact_bytes = False  # for others than its maker's models it is put into other words
    return found


def posted(path: str, data: Mapping[str, Any], base_url: str | None = None, host: str = "") -> Request | None:
    """What is asked by a request that is forwarded in its maker's own format.

    Args:
        path: where it is posted.
        data: its body, with what LiteLLM keeps beside it.
        base_url: where it is sent; None if nobody knows.
        host: whose API it is.

    Returns:
        The request; None for what is not paid for, or not known.
    """
    place = endpoint(host, path)
    body = {
        name: value
        for name, value in data.items()
        if not name.startswith(_OWN)
        and name not in _NOT_SENT
        and isinstance(value, dict | list | str | int | float | bool | None)
    }
    for read_by in () if place is None else place.formats:
        found = read_by.read(HTTPRequest(path, body, "" if place is None else place.provider, base_url))
        if found is not None and found.model:
            return found
    return None


def deployments(router: object, data: Mapping[str, Any], team: str) -> Iterator[dict[str, Any]]:
    """The parameters of each deployment that may serve a call.

    Args:
        router: LiteLLM's, which knows the deployments; None where there is none.
        data: what was asked.
        team: whose own deployments count as well; "" for nobody's.

    Yields:
        What takes the place of the call's own parameters: the model, and where it is served.
    """
    asked = str(data["model"])
    # Several in one text are asked at once: the first one takes the hold, and each of the others holds for itself.
    waiting = [asked, *(one.strip() for one in asked.split(",") if "," in asked)]
    seen: set[str] = set()
    own = items(data.get("fallbacks"))
    while waiting and len(seen) < _MOST_GROUPS:
        group = waiting.pop(0)
        if group in seen:
            continue
        seen.add(group)
        waiting.extend(_fallbacks(router, group))
        for one in own:
            waiting.extend(_names_in(one, group))
        found = _of_group(router, group, team)
        if found is not None:
            yield from found
        elif "," not in group:
            yield {"model": group}


def _of_group(router: object, group: str, team: str) -> list[dict[str, Any]] | None:
    """The parameters of a group's deployments that cost anything; None where the router knows no such group."""
    listed: Any = getattr(router, "get_model_list", None)
    known = items(None if listed is None else listed(model_name=group, team_id=team or None))
    return list(_paid(known, group)) if known else None


def _paid(known: Sequence[Any], group: str) -> Iterator[dict[str, Any]]:
    for deployment in known:
        given = mapping(mapping(deployment).get("litellm_params"))
        model = text(given.get("model"))
        if model is None or made_up(given):
            continue
        # A deployment of a pattern, such as `openai/*`, serves the model that was asked for.
        if "*" in model:
            model = group if "/" in group else model.replace("*", group, 1)
        yield {
            **{name: value for name, value in given.items() if name in _TELLING and value is not None},
            "model": model,
        }


_PLACE: Final = ("model", "custom_llm_provider", "api_base", "base_url")
"""What of a deployment's parameters says where a call is sent, whatever the call itself says."""

_TELLING: Final = (*_PLACE, "max_tokens", "max_completion_tokens", "n", "service_tier", "thinking", "reasoning_effort")
"""What of them says what it costs."""


def _fallbacks(router: object, group: str) -> Iterator[str]:
    """The groups that LiteLLM falls back to from one, whatever has gone wrong."""
    for name in ("fallbacks", "context_window_fallbacks", "content_policy_fallbacks"):
        for one in items(getattr(router, name, None)):
            yield from _names_in(one, group)


def _names_in(fallback: object, group: str) -> Iterable[str]:
    """The groups in one entry of a list of fallbacks: a name, a call's parameters, or names by where they lead from."""
    if isinstance(fallback, str):
        return [fallback]
    found = mapping(fallback)
    if isinstance(found.get("model"), str):
        return [str(found["model"])]
    lead = [*items(found.get(group)), *items(found.get("*"))]
    return [str(mapping(one).get("model") or "") if isinstance(one, Mapping) else str(one) for one in lead]
