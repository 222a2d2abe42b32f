"""The OpenAPI document, made from the endpoints and their types."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from importlib import resources
from typing import Any

import msgspec

from budgeted import __version__
from budgeted.ledger.http.connections import AGAIN, ONCE
from budgeted.ledger.http.verbs_as_json import ProblemBody
from budgeted.server import endpoints, health
from budgeted.server.endpoint import Endpoint
from budgeted.server.health import Health
from budgeted.server.openapi_schemas import Schema, described, schemas_of
from budgeted.server.request_types import NAME

BUDGETS, LITELLM, VERBS, HEALTH = "Budgets", "LiteLLM's client", "Ledger verbs", "Health"

_TAGS = [
    {"name": BUDGETS, "description": "For people and their scripts: limits, balances and reports in USD"},
    {"name": LITELLM, "description": "The protocol of LiteLLM's hosted budgets; amounts in USD"},
    {
        "name": VERBS,
        "description": "For clients that hold and settle, with `ledger=` set to this server; amounts in nano-USD "
        "(1e-9 USD), times in unix seconds",
    },
    {"name": HEALTH, "description": "For load balancers and whoever watches: nobody needs a token"},
]
_ABOUT = (
    "A token is sent as `Authorization: Bearer TOKEN`: one of `BUDGETED_TOKEN` may do everything, one of "
    "`BUDGETED_READ_TOKEN` may look. A server without tokens serves its own machine alone. Each project has limits and "
    "balances of its own. Whatever goes wrong is told as JSON, with a status from 400 on."
)
_PROJECT = {
    "name": "project",
    "in": "query",
    "description": "The namespace in the ledger",
    "schema": {"type": "string", "default": "default", **NAME},
}
_ONCE = [
    {
        "name": ONCE,
        "in": "header",
        "description": "Names the request: sent again under the same name, it is answered as before and not done again",
        "schema": {"type": "string", "maxLength": 256},
    },
    {
        "name": AGAIN,
        "in": "header",
        "description": "`true` where it may have been done already: refused with 409 if the server does not know",
        "schema": {"type": "string"},
    },
]
PROBLEMS = {
    "400": "The request cannot be read",
    "401": "A token is missing or unknown",
    "402": "A limit has no room for the call",
    "403": "The token may only read, or the request comes from elsewhere",
    "404": "There is no such user",
    "409": "The ledger cannot do that, or the route is of older limits: compute it again",
    "413": "The body is too large",
    "415": "The body is not JSON",
    "422": "The request does not make sense",
    "500": "The ledger is damaged, or the server failed",
    "503": "The ledger cannot be reached",
}
"""What each status from 400 on means."""


def document() -> dict[str, object]:
    """The whole document, as OpenAPI 3.1 has it.

    Returns:
        What to write as JSON.
    """
    schemas, components = schemas_of(_types(endpoints.ENDPOINTS))
    paths: dict[str, dict[str, object]] = {}
    for endpoint in endpoints.ENDPOINTS:
        paths.setdefault(endpoint.path, {})[endpoint.method.lower()] = _operation(endpoint, schemas, components)
    for path, title in health.PATHS.items():
        paths[path] = {"get": _open(path, title, schemas[id(Health)])}
    paths["/openapi.json"] = {"get": _open("/openapi.json", "This description", {"type": "object"})}
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "budgeted",
            "summary": "Hard spending limits on LLM calls",
            "description": _ABOUT,
            "version": __version__,
        },
        "tags": _TAGS,
        "paths": paths,
        "security": [{"token": []}],
        "components": {
            "schemas": components,
            "responses": {status: _problem(status, schemas[id(ProblemBody)]) for status in PROBLEMS},
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "description": _ABOUT.partition(". A")[0]}
            },
        },
    }


@functools.cache
def answers() -> dict[str, Any]:
    """What a server has answered to each endpoint's example, and to mistakes, by operation and by status.

    ``scripts/http_examples.py`` writes them.
    """
    text = (resources.files("budgeted.server") / "example_answers.json").read_bytes()
    found: dict[str, Any] = msgspec.json.decode(text)
    return found


def sent(asked: msgspec.Struct) -> dict[str, Any]:
    """What is asked, without what would be assumed anyway.

    Args:
        asked: an endpoint's example.
    """
    told: dict[str, Any] = msgspec.to_builtins(asked)
    fields = msgspec.structs.fields(asked)
    return {one.encode_name: told[one.encode_name] for one in fields if getattr(asked, one.name) != one.default}


def _types(known: Iterable[Endpoint]) -> Iterable[object]:
    yield ProblemBody
    yield Health
    for endpoint in known:
        yield endpoint.asks
        yield endpoint.answer


def tag(endpoint: Endpoint) -> str:
    """For whom an endpoint is."""
    if endpoint.path.startswith("/v1/ledger/"):
        return VERBS
    return BUDGETS if endpoint.path.startswith("/v1/") else LITELLM


def _operation(endpoint: Endpoint, schemas: Mapping[int, Schema], components: Mapping[str, Schema]) -> Schema:
    who = "write" if endpoint.changes else "read"
    operation: Schema = {
        "operationId": endpoint.id,
        "summary": endpoint.title,
        "description": f"{endpoint.about} Takes a token that may {who}.".strip(),
        "tags": [tag(endpoint)],
        "security": [{"token": [who]}],
        "responses": {
            "200": {"description": "Done", "content": _json(schemas[id(endpoint.answer)], answers().get(endpoint.id))},
            **{status: {"$ref": f"#/components/responses/{status}"} for status in _statuses(endpoint)},
        },
    }
    parameters: list[Schema] = [_PROJECT] if endpoint.project is None and endpoint.of_server is None else []
    parameters += [] if endpoint.repeatable else _ONCE
    asked = schemas[id(endpoint.asks)]
    if endpoint.has_body:
        operation["requestBody"] = {"required": True, "content": _json(asked, sent(endpoint.example))}
    else:
        parameters += _of_query(endpoint, components[asked["$ref"].rpartition("/")[2]]["properties"])
    if parameters:
        operation["parameters"] = parameters
    return operation


def _of_query(endpoint: Endpoint, fields: Mapping[str, Schema]) -> Iterable[Schema]:
    example = sent(endpoint.example)
    for name, schema in fields.items():
        told = {"description": described(endpoint.asks)[1][name], "schema": schema}
        yield {"name": name, "in": "query", **told, **({"example": example[name]} if name in example else {})}


def _statuses(endpoint: Endpoint) -> list[str]:
    """The statuses from 400 on that an endpoint may answer with."""
    never = set() if endpoint.has_body else {"413", "415"}
    never |= set() if endpoint.path == "/v1/ledger/hold" else {"402"}
    never |= set() if endpoint.unknown_user else {"404"}
    return [status for status in PROBLEMS if status not in never]


def _problem(status: str, schema: Schema) -> Schema:
    return {"description": PROBLEMS[status], "content": _json(schema, answers().get("problems", {}).get(status))}


def _open(path: str, title: str, schema: Schema) -> Schema:
    """What everybody may ask."""
    name = f"get_{path.strip('/').replace('/', '_').replace('.', '_')}"
    answered = {"200": {"description": "Done", "content": _json(schema, answers().get(name))}}
    if path in health.PATHS and path != health.LIVE:
        answered["503"] = {"description": "The ledger cannot be reached", "content": _json(schema, None)}
    answered["400"] = {"$ref": "#/components/responses/400"}
    return {"operationId": name, "summary": title, "tags": [HEALTH], "security": [], "responses": answered}


def _json(schema: Schema, example: object) -> Schema:
    return {"application/json": {"schema": schema, **({} if example is None else {"example": example})}}
