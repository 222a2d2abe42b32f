"""What is asked of providers beside what is paid for: for all, of whoever runs the gateway, or billed out of sight."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest
from gateways import OF_AWS, every_upstream_of, gateway

from budgeted import BudgetManager
from budgeted.gateway.known_providers import KNOWN
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider, unmetered

CLAUDE = {"anthropic-version": "2023-06-01"}

FOR_ALL = (
    *("GET /v1/models", "HEAD /v1/models", "GET /v1/models/gpt-4o", "GET /v1beta/models", "GET /api/tags"),
    *("GET /openrouter/models", "GET /groq/openai/v1/models", "GET /azure/openai/v1/models", "GET /corp/v1/models"),
    *("GET /v1beta1/publishers/google/models", "POST /v1/messages/count_tokens", "POST /v1/responses/input_tokens"),
    *("POST /v1beta/models/gemini-2.5-flash:countTokens", "POST /model/amazon.nova-pro-v1%3A0/count-tokens"),
    *("POST /v1/tokenize", "POST /v1/moderations"),
    "POST /v1/projects/p/locations/global/publishers/anthropic/models/count-tokens:rawPredict",
)

OF_THE_OWNER = (
    *("GET /v1/files", "POST /v1/files", "DELETE /v1/files/f", "GET /v1/files/f/content", "POST /v1/uploads"),
    *("GET /v1/batches", "GET /v1/batches/b", "POST /v1/batches/b/cancel", "GET /v1/fine_tuning/jobs"),
    *("GET /v1/responses/r", "DELETE /v1/responses/r", "POST /v1/responses/r/cancel", "GET /v1/chat/completions"),
    *("GET /v1/conversations/c", "POST /v1/threads", "GET /v1/threads/t/messages", "POST /v1/threads/t/messages"),
    *("GET /v1/vector_stores", "POST /v1/vector_stores", "POST /v1/assistants", "DELETE /v1/models/ft:gpt-4o:a::b"),
    *("GET /v1/organization/costs", "GET /v1/videos/v/content", "GET /v1/models/a/predictions"),
    *("GET /v1/messages/batches", "GET /v1/messages/batches/b/results", "DELETE /v1/messages/batches/b"),
    *("GET /v1beta/files", "POST /upload/v1/files", "GET /v1beta/cachedContents", "GET /v1beta/operations/o"),
    *("GET /v1/projects/p/locations/us-central1/models", "GET /async-invoke", "GET /openai/deployments/d/files"),
    *("GET /mistral/v1/files", "POST /mistral/v1/agents", "GET /cohere/v1/datasets", "DELETE /ollama/api/delete"),
    *("GET /openrouter/credits", "GET /openrouter/key", "GET /corp/v1/whatever", "GET /corp"),
)

BILLED_OUT_OF_SIGHT = (
    *("POST /v1/batches", "POST /v1/fine_tuning/jobs", "POST /v1/videos", "POST /v1/containers"),
    *("POST /v1/realtime/client_secrets", "POST /v1/realtime/sessions", "POST /v1/realtime/calls"),
    *("POST /v1/threads/t/runs", "POST /v1/vector_stores/v/search", "POST /v1/evals/e/runs"),
    *("POST /v1/messages/batches", "POST /v1/sessions/s/events"),
    *("POST /v1beta/models/gemini-2.5-flash:batchGenerateContent", "POST /v1beta/models/veo-3:predictLongRunning"),
    *("POST /v1/cachedContents", "POST /v1/auth_tokens", "PATCH /v1beta/models/g:generateWhatever"),
    *("POST /async-invoke", "POST /guardrail/g/version/1/apply", "POST /model/m/invoke-with-bidirectional-stream"),
    *("POST /mistral/v1/batch/jobs", "POST /mistral/v1/moderations", "POST /mistral/v1/audio/speech"),
    *("POST /cohere/v1/embed-jobs", "POST /cohere/v2/parse", "POST /ollama/api/pull", "POST /azure/openai/v1/batches"),
    *("POST /v1/unheard/of", "PUT /v1/unheard/of", "PATCH /corp/unheard", "POST /openrouter/unheard"),
    *(
        f"POST /v1/projects/p/locations/us-central1/{kind}"
        for kind in ("batchPredictionJobs", "customJobs", "endpoints")
    ),
    "POST /azure/openai/deployments/d/video/generations/jobs",
)

WRITTEN_OTHERWISE = (
    *("POST /v1beta/models/gemini-2.5-flash%3AgenerateContent", "POST /v1/threads/t%2Fruns", "POST /v1/files/f%2Fruns"),
    *("POST /v1/vector_stores/v%2Fsearch", "POST /v1/models/m%2Fchat%2Fcompletions"),
    *("POST /v1beta/models/gemini-2.5-pro%3AgenerateContent%3F:embedContent", "POST /v1/chat%2Fcompletions"),
)

BY_POST_ALONE = (
    *("GET /v1/embeddings", "GET /v1/images/generations", "GET /v1/messages", "HEAD /v1/audio/speech"),
    *("GET /v1beta/models/gemini-2.5-flash:streamGenerateContent", "GET /model/m/converse", "GET /v2/rerank"),
    *("GET /v1beta/models/gemini-2.5-flash%3AgenerateContent", "GET /v1/realtime"),
    *("GET /api/generate", "GET /v1/projects/p/locations/l/publishers/x/models/m:predict"),
)


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider) -> Iterator[None]:
    provider.reset()
    with unmetered():
        yield


@pytest.fixture(scope="module")
def owned(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[httpx2.Client]:
    """Asks a gateway that has a key of its own for every provider."""
    keys = {variable: "key-of-the-gateway" for one in KNOWN.values() for variable in one.keys}
    environment = {**keys, "CORP_API_KEY": "key-of-the-gateway"}
    settings = GatewaySettings(upstreams=every_upstream_of(provider), open=True)
    with gateway(manager, settings, environment=environment) as url, httpx2.Client(base_url=url) as client:
        yield client


@pytest.fixture(scope="module")
def passing(manager: BudgetManager, provider: SimulatedProvider) -> Iterator[httpx2.Client]:
    """Asks, with a key of its own, a gateway that has none."""
    settings = GatewaySettings(upstreams=every_upstream_of(provider), open=True)
    headers = {"authorization": "Bearer key-of-the-caller"}
    with (
        gateway(manager, settings, environment=OF_AWS) as url,
        httpx2.Client(base_url=url, headers=headers) as client,
    ):
        yield client


def asked(client: httpx2.Client, what: str, **headers: str) -> httpx2.Response:
    method, _, path = what.partition(" ")
    return client.request(method, path, json=None if method in ("GET", "HEAD") else {}, headers=headers)


@pytest.mark.parametrize("what", FOR_ALL)
def test_what_tells_nothing_of_anybody_is_for_all(what: str, owned: httpx2.Client, provider: SimulatedProvider) -> None:
    asked(owned, what)
    assert len(provider.requests) == 1


@pytest.mark.parametrize("what", OF_THE_OWNER)
def test_what_the_owner_keeps_is_for_those_with_a_key_of_their_own(
    what: str, owned: httpx2.Client, passing: httpx2.Client, provider: SimulatedProvider
) -> None:
    got = asked(owned, what)
    assert got.status_code == 403
    assert "owner" in got.text
    assert not provider.requests
    got = asked(passing, what)
    if "async-invoke" in what or "ollama" in what:  # signed by the gateway, and nobody's: it asks for no key
        assert got.status_code == 403
    else:
        assert len(provider.requests) == 1
    provider.reset()
    asked(owned, what, **CLAUDE)
    assert not provider.requests


@pytest.mark.parametrize("what", BILLED_OUT_OF_SIGHT)
def test_what_is_billed_out_of_sight_is_refused_to_all(
    what: str, owned: httpx2.Client, passing: httpx2.Client, provider: SimulatedProvider
) -> None:
    for client in (owned, passing):
        got = asked(client, what, **(CLAUDE if "/sessions/s" in what else {}))
        assert got.status_code == 400
        assert "nothing was sent" in got.text
        assert "budget" in got.text
    assert not provider.requests


@pytest.mark.parametrize("what", WRITTEN_OTHERWISE)
def test_a_path_that_means_what_is_paid_for_once_it_is_decoded_is_refused(
    what: str, owned: httpx2.Client, passing: httpx2.Client, provider: SimulatedProvider
) -> None:
    for client in (owned, passing):
        got = asked(client, what)
        assert got.status_code == 400
        assert "is not written as its API has it" in got.text
    assert not provider.requests


def test_a_background_response_is_refused(owned: httpx2.Client, provider: SimulatedProvider) -> None:
    body = {"model": "gpt-5-mini", "input": "Hello", "background": True}
    got = owned.post("/v1/responses", json=body)
    assert got.status_code == 400
    assert "a background response is billed where no hook can see it" in got.json()["error"]["message"]
    assert not provider.requests


@pytest.mark.parametrize("what", BY_POST_ALONE)
def test_nothing_that_is_paid_for_is_asked_otherwise_than_by_post(
    what: str, owned: httpx2.Client, passing: httpx2.Client, provider: SimulatedProvider
) -> None:
    for client in (owned, passing):
        got = asked(client, what)
        assert got.status_code == 405
        assert what.startswith("HEAD") or "is asked by POST" in got.text
    assert not provider.requests


def test_what_nobody_can_read_passes_where_the_settings_let_it_and_is_told_of(
    provider: SimulatedProvider, caplog: pytest.LogCaptureFixture
) -> None:
    settings = GatewaySettings(upstreams=every_upstream_of(provider), open=True)
    with (
        BudgetManager("lenient", ledger="memory://", max_budget="$1", unmetered="warn") as manager,
        gateway(manager, settings, environment=OF_AWS) as url,
        httpx2.Client(base_url=url) as client,
    ):
        packed = {"content-encoding": "gzip"}
        assert client.post("/v1/unheard/of", json={}).status_code == 404
        assert client.post("/v1/chat/completions", content=b"packed", headers=packed).status_code == 400
        assert len(provider.requests) == 2
        assert "POST /v1/unheard/of (host 127.0.0.1" in caplog.text
        assert "nothing is charged for it" in caplog.text
        for path, body in (("/v1/batches", {}), ("/v1/responses", {"model": "gpt-5", "background": True})):
            got = client.post(path, json=body)
            assert got.status_code == 400
            assert "billed where no hook can see it" in got.text
        assert client.post("/v1/chat/completions", json={"model": "nobody-knows"}).status_code == 400
    assert len(provider.requests) == 2


@pytest.mark.parametrize(
    ("path", "shape"),
    [
        ("/v1/unheard/of", "openai"),
        ("/v1/messages/unheard", "anthropic"),
        ("/v1beta/unheard", "google"),
        ("/gemini/v1/unheard", "google"),
        ("/model/m/unheard", "bedrock"),
        ("/bedrock/unheard", "bedrock"),
        ("/v2/unheard", "cohere"),
        ("/ollama/api/unheard", "ollama"),
    ],
)
def test_an_unknown_request_is_refused_in_the_words_of_its_path(path: str, shape: str, owned: httpx2.Client) -> None:
    got = owned.post(path, json={})
    assert got.status_code == 400
    told = got.json()
    texts = {
        "openai": lambda: told["error"]["message"] if told["error"]["type"] == "invalid_request_error" else "",
        "anthropic": lambda: told["error"]["message"] if told["type"] == "error" else "",
        "google": lambda: told["error"]["message"] if told["error"]["status"] == "INVALID_ARGUMENT" else "",
        "bedrock": lambda: told["message"] if got.headers["x-amzn-errortype"] == "ValidationException" else "",
        "cohere": lambda: told["message"],
        "ollama": lambda: told["error"],
    }
    assert "nothing was sent" in texts[shape]()
