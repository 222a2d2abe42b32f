"""The OpenAPI document, made from the endpoints and their types."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec

from budgeted import __version__
from budgeted.ledger.http.connections import AGAIN, ONCE
from budgeted.ledger.http.verbs_as_json import ProblemBody
from budgeted.server.endpoints import ENDPOINTS, NAME, Endpoint

_REFERENCE = "#/components/schemas/{name}"
_PROJECT = {
    "name": "project",
    "in": "query",
    "description": "The namespace in the ledger",
    "schema": {"type": "string", "default": "default", **NAME},
}
BUDGETS, LITELLM, VERBS = "Budgets", "LiteLLM's client", "Ledger verbs"

_TAGS = [
    {"name": BUDGETS, "description": "For people and their scripts: limits, balances and reports in USD"},
    {"name": LITELLM, "description": "The protocol of LiteLLM's hosted budgets"},
    {"name": VERBS, "description": "For clients that hold and settle, with `ledger=` set to this server"},
]
_ONCE = [
    {
        "name": ONCE,
        "in": "header",
        "description": "Names the request: sent again under the same name, it is answered as before and not done again",
        "schema": {"type": "string"},
    },
    {
        "name": AGAIN,
        "in": "header",
        "description": "`true` where it may have been done already: refused with 409 if the server does not know",
        "schema": {"type": "string"},
    },
]
_PROBLEMS = {
    "400": "The request cannot be read",
    "401": "A token is missing or unknown",
    "402": "A limit has no room for the call",
    "403": "The token may only read",
    "404": "There is no such user",
    "409": "The ledger cannot do that, or the route is of older limits: compute it again",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "422": "The request does not make sense",
    "503": "The ledger cannot be reached",
}


def document() -> dict[str, object]:
    """The whole document, as OpenAPI 3.1 has it.

    Returns:
        What to write as JSON.
    """
    types = list({id(kind): kind for kind in _types(ENDPOINTS)}.values())
    schemas, components = msgspec.json.schema_components(types, ref_template=_REFERENCE)
    by_type = dict(zip(map(id, types), schemas, strict=True))
    paths: dict[str, dict[str, object]] = {}
    for endpoint in ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, by_type, components)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "budgeted",
            "summary": "Hard spending limits on LLM calls",
            "version": __version__,
        },
        "tags": _TAGS,
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": components,
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
        },
    }


def _types(endpoints: Iterable[Endpoint]) -> Iterable[object]:
    yield ProblemBody
    for endpoint in endpoints:
        yield endpoint.asks
        yield endpoint.answer


def _tag(endpoint: Endpoint) -> str:
    if endpoint.path.startswith("/v1/ledger/"):
        return VERBS
    return BUDGETS if endpoint.path.startswith("/v1/") else LITELLM


def _operation(
    endpoint: Endpoint, schemas: Mapping[int, Mapping[str, Any]], components: Mapping[str, Any]
) -> dict[str, object]:
    words = endpoint.path.strip("/").replace("v1/", "").replace("/", "_")
    operation: dict[str, object] = {
        "operationId": f"{endpoint.method.lower()}_{words}",
        "summary": endpoint.about,
        "tags": [_tag(endpoint)],
        "responses": {
            "200": {"description": "Done", "content": _json(schemas[id(endpoint.answer)])},
            **{
                status: {"description": text, "content": _json(schemas[id(ProblemBody)])}
                for status, text in _PROBLEMS.items()
            },
        },
    }
    parameters = [_PROJECT] if endpoint.project is None else []
    parameters = parameters if endpoint.repeatable else [*parameters, *_ONCE]
    asked = schemas[id(endpoint.asks)]
    if endpoint.has_body:
        operation["requestBody"] = {"required": True, "content": _json(asked)}
    else:
        fields = components[asked["$ref"].rpartition("/")[2]]["properties"]
        parameters += [{"name": name, "in": "query", "schema": schema} for name, schema in fields.items()]
    if parameters:
        operation["parameters"] = parameters
    return operation


def _json(schema: object) -> dict[str, object]:
    return {"application/json": {"schema": schema}}
