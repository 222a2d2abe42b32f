"""What a server answers to the example of each of its endpoints, and to mistakes: written down for its description.

Run it after a change of an endpoint, of its example, or of what it answers; a test tells when.
"""

# ruff: noqa: INP001

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
from starlette.testclient import TestClient

from budgeted.ledger.http.request_bodies import HoldBody, PostBody, SettleBody
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.spending_records import Used
from budgeted.server import ServerSettings, create_app, endpoints, health
from budgeted.server.endpoint import Endpoint
from budgeted.server.openapi_document import sent
from budgeted.server.request_types import LimitsOf
from budgeted.server.verb_examples import ASK, NOON, ROUTE
from budgeted.telemetry import activity_records
from budgeted.telemetry.activity_records import Record, Turned

FILE = Path(__file__).parents[1] / "src" / "budgeted" / "server" / "example_answers.json"
ADDRESS = "http://127.0.0.1:8787"
TOKEN, READER = "3f1c", "77aa"

BEFORE: Sequence[tuple[str, str, msgspec.Struct]] = (
    ("PUT", "/v1/limits", LimitsOf(["$100/month"])),
    ("PUT", "/v1/limits", LimitsOf(["$5/day"], "alice")),
    ("POST", "/v1/ledger/post", PostBody("worker1.1", ROUTE, Used(2_958_000_000, 300_000, 258_300), NOON - 7_200)),
    ("POST", "/v1/ledger/hold", HoldBody("worker1.2", ROUTE, ASK, NOON - 60)),
    ("POST", "/v1/ledger/hold", HoldBody("worker1.3", ROUTE, ASK, NOON - 600)),
    ("POST", "/v1/ledger/settle", SettleBody("worker1.3", Used(42_000_000, 1_600, 4_000), NOON - 540, "timed out")),
)
"""What has happened in the project that the examples are of."""

LIMIT = "alice", "user", "$5/day", "usd", "gpt-5"
TURNED = Record(
    at=NOON,
    day=ROUTE.day,
    refused=1,
    refusals=(Turned(NOON - 300, *LIMIT, 2.4, 2.0, "spent"),),
    waiting=(Turned(NOON - 20, *LIMIT, 2.2, 1.958, "spent", asks=True),),
)
"""What a process tells of its calls that were refused or wait."""


@contextmanager
def served() -> Iterator[TestClient]:
    """A fresh server, in which that has happened, and somebody who may write."""
    ledger = MemoryLedger()
    settings = ServerSettings(ledger=ledger, tokens=(TOKEN,), read_tokens=(READER,), max_body=10_000)
    app = create_app(settings, clock=lambda: float(NOON))
    with TestClient(app, ADDRESS, headers={"authorization": f"Bearer {TOKEN}"}) as client:
        for method, path, body in BEFORE:
            done = client.request(method, path, json=msgspec.to_builtins(body))
            assert done.status_code == 200, done.text  # noqa: S101
        activity_records.publish(ledger, "worker1", TURNED)
        yield client


def asked(client: TestClient, endpoint: Endpoint) -> Any:
    """The answer to an endpoint's example.

    Args:
        client: who asks.
        endpoint: which one.
    """
    how = "json" if endpoint.has_body else "params"
    return client.request(endpoint.method, endpoint.path, **{how: sent(endpoint.example)})


def answered() -> dict[str, Any]:
    """All answers by operation, and those to mistakes by status."""
    found: dict[str, Any] = {}
    for endpoint in endpoints.ENDPOINTS:
        with served() as client:
            answer = asked(client, endpoint)
            assert answer.status_code == 200, (endpoint.id, answer.text)  # noqa: S101
            found[endpoint.id] = _without_records(answer.json())
    with served() as client:
        for path in health.PATHS:
            found[f"get_{path.strip('/').replace('/', '_')}"] = client.get(path).json()
        found["problems"] = {str(answer.status_code): answer.json() for answer in _mistakes(client)}
    found["post_ledger_opening"] = "8d0f5c7be1a94e26"  # at random
    return found


def _mistakes(client: TestClient) -> Iterator[Any]:
    """One of each kind that somebody who asks can make."""
    yield client.put("/v1/limits", content="{", headers={"content-type": "application/json"})
    yield client.get("/v1/status", headers={"authorization": ""})
    yield client.post("/v1/ledger/hold", json=msgspec.to_builtins(HoldBody("worker1.9", ROUTE, TOO_MUCH, NOON)))
    yield client.put("/v1/limits", json={"limits": ["$9/day"]}, headers={"authorization": f"Bearer {READER}"})
    yield client.delete("/v1/accounts", params={"user": "bob"})
    yield client.post("/v1/reset", json={}, headers={"idempotency-key": "k1", "idempotency-repeat": "true"})
    yield client.put("/v1/limits", json={"limits": ["$9/day" * 10_000]})
    yield client.put("/v1/limits", content="{}", headers={"content-type": "text/plain"})
    yield client.put("/v1/limits", json={"limits": ["$9/fortnight"]})


TOO_MUCH = msgspec.structs.replace(ASK, usd=4_000_000_000)


def _without_records(answer: Any) -> Any:
    """What is told without what processes tell of themselves: that is packed, by each platform as it likes."""
    if isinstance(answer, dict) and "accounts" in answer and "rows" in answer:
        answer["accounts"] = [one for one in answer["accounts"] if not one[0].startswith("d:")]
    return answer


if __name__ == "__main__":
    FILE.write_text(json.dumps(answered(), indent=1) + "\n", encoding="utf-8", newline="\n")
