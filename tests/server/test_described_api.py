"""The description of the server's API: what it says of each endpoint is so, and says what everything means."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import jsonschema
import pytest
from scripts import http_examples
from serving import READER, Asking

from budgeted.ledger.http.verbs_as_json import VERBS
from budgeted.server import endpoints, openapi_document
from budgeted.server.endpoint import Endpoint

DOCUMENT: Any = json.loads(json.dumps(openapi_document.document()))
OPERATIONS = {
    operation["operationId"]: operation for methods in DOCUMENT["paths"].values() for operation in methods.values()
}


def references(node: Any) -> Iterator[str]:
    if isinstance(node, dict):
        if "$ref" in node:
            yield node["$ref"]
        node = list(node.values())
    if isinstance(node, list):
        for value in node:
            yield from references(value)


def resolved(reference: str) -> Any:
    """What a reference refers to."""
    node = DOCUMENT
    for name in reference.removeprefix("#/").split("/"):
        node = node[name]
    return node


def contents() -> Iterator[Any]:
    """Each schema of a body or an answer, with its example."""
    for name, operation in OPERATIONS.items():
        bodies = [operation["requestBody"]] if "requestBody" in operation else []
        for body in (*bodies, *(one for one in operation["responses"].values() if "$ref" not in one)):
            yield pytest.param(body["content"]["application/json"], id=f"{name}-{body.get('description', 'body')}")
    for status, problem in DOCUMENT["components"]["responses"].items():
        yield pytest.param(problem["content"]["application/json"], id=f"problem-{status}")


def is_valid(example: object, schema: Any) -> None:
    whole = {**schema, "components": DOCUMENT["components"]}
    jsonschema.Draft202012Validator.check_schema(whole)
    jsonschema.Draft202012Validator(whole).validate(example)


@pytest.mark.parametrize("content", list(contents()))
def test_each_example_of_a_body_and_of_an_answer_is_one(content: Any) -> None:
    if "example" in content:
        is_valid(content["example"], content["schema"])


def test_each_body_and_each_answer_that_says_anything_has_an_example() -> None:
    for name, operation in OPERATIONS.items():
        answer = operation["responses"]["200"]["content"]["application/json"]
        assert "example" in answer or answer["schema"] in ({"type": "null"}, {"type": "object"}), name
        if "requestBody" in operation:
            assert "example" in operation["requestBody"]["content"]["application/json"], name


def test_a_fresh_server_answers_each_example_as_the_description_says() -> None:
    """Where it does not any more, ``scripts/http_examples.py`` writes down what it answers now."""
    assert http_examples.answered() == openapi_document.answers()


def test_everything_that_is_sent_and_answered_is_described() -> None:
    for operation in OPERATIONS.values():
        for parameter in operation.get("parameters", ()):
            assert parameter["description"], (operation["operationId"], parameter["name"])
    for name, schema in DOCUMENT["components"]["schemas"].items():
        assert schema["description"], name
        tag = 1 if "enum" in schema.get("prefixItems", [{}])[0] else 0  # which tells apart what may stand there
        fields = schema.get("properties") or {one["title"]: one for one in schema.get("prefixItems", ())[tag:]}
        for field, one in fields.items():
            assert one.get("description"), (name, field)


def test_times_and_units_are_told() -> None:
    schemas = DOCUMENT["components"]["schemas"]
    assert {"type": "string", "format": "date-time"} in schemas["Balance"]["properties"]["resets_at"]["anyOf"]
    assert "USD" in schemas["Balance"]["description"]
    assert "USD" in schemas["CallInFlight"]["properties"]["held"]["description"]
    assert "`Balance.unit`" in schemas["WaitingCall"]["properties"]["unit"]["description"]
    assert "nano-USD" in schemas["Ask"]["properties"]["usd"]["description"]
    titles = [item["title"] for item in schemas["Used"]["prefixItems"]]
    assert titles == ["usd", "input_tokens", "output_tokens", "calls"]


def test_it_names_every_endpoint_once_and_resolves() -> None:
    assert DOCUMENT["openapi"] == "3.1.0"
    assert {f"/v1/ledger/{name}" for name in VERBS} <= DOCUMENT["paths"].keys()
    assert {"/get_budget", "/set_budget", "/v1/balances", "/v1/projects", "/health"} <= DOCUMENT["paths"].keys()
    assert len(OPERATIONS) == sum(len(methods) for methods in DOCUMENT["paths"].values())
    for reference in references(DOCUMENT):
        assert resolved(reference)
    assert DOCUMENT["components"]["schemas"]["SettleBody"]["required"] == ["id", "used", "at"]


def test_it_tells_who_an_endpoint_is_for() -> None:
    tags = {path: one["tags"] for path, methods in DOCUMENT["paths"].items() for one in methods.values()}
    assert tags["/v1/top-up"] == tags["/v1/accounts"] == ["Budgets"]
    assert tags["/v1/ledger/hold"] == ["Ledger verbs"]
    assert tags["/set_budget"] == ["LiteLLM's client"]
    assert tags["/health/live"] == ["Health"]
    assert {tag for found in tags.values() for tag in found} == {one["name"] for one in DOCUMENT["tags"]}


@pytest.mark.parametrize("endpoint", endpoints.BUDGETS, ids=lambda one: one.id)
def test_it_tells_which_token_an_endpoint_takes(ask: Asking, endpoint: Endpoint) -> None:
    answer = ask(
        endpoint.method,
        endpoint.path,
        openapi_document.sent(endpoint.example) if endpoint.has_body else None,
        token=READER,
        params=None if endpoint.has_body else openapi_document.sent(endpoint.example),
    )
    assert (answer.status_code == 403) == (OPERATIONS[endpoint.id]["security"] == [{"token": ["write"]}])
