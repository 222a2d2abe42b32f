"""Requests that are recognised as paid for and cannot be read, those that are free, and those that are nobody's."""

from __future__ import annotations

import asyncio
import gzip
import http.client
import io
import json
import logging
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
import requests
import urllib3
from http_by_hand import ASK, JSON_HEADERS, PATH

from budgeted import BudgetExceededError, BudgetManager, UnpricedModelError
from budgeted.telemetry import counters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.net, pytest.mark.usefixtures("nothing_counted")]

BODY = json.dumps(ASK).encode()


@pytest.fixture
def nothing_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Count unmetered hosts from nothing: a host is warned of once in a process."""
    monkeypatch.setattr(counters, "_unmetered", {})


@pytest.fixture
def make(provider: SimulatedProvider) -> Iterator[Callable[..., BudgetManager]]:
    """Makes managers to whom the provider's host is one that serves models."""
    made: list[BudgetManager] = []

    def managing(**options: Any) -> BudgetManager:
        hosts = [provider.url.removeprefix("http://")]
        made.append(BudgetManager(ledger="memory://", max_budget=1, unmetered_hosts=hosts, **options))
        return made[-1]

    yield managing
    for manager in made:
        assert manager.balance().held == 0
        manager.close()


def pieces() -> Iterator[bytes]:
    yield BODY


def a_generator(url: str) -> int:
    return httpx.post(url + PATH, content=pieces(), headers=JSON_HEADERS).status_code


def a_generator_by_requests(url: str) -> int:
    return requests.post(url + PATH, data=pieces(), headers=JSON_HEADERS, timeout=10).status_code


def a_file(url: str) -> int:
    return requests.post(url + PATH, data=io.BytesIO(BODY), headers=JSON_HEADERS, timeout=10).status_code


def a_file_by_aiohttp(url: str) -> int:
    async def ask() -> int:
        body = io.BytesIO(BODY)
        async with (
            aiohttp.ClientSession() as session,
            session.post(url + PATH, data=body, headers=JSON_HEADERS) as response,
        ):
            return response.status

    return asyncio.run(ask())


def something_compressed(url: str) -> int:
    headers = {**JSON_HEADERS, "content-encoding": "gzip"}
    return urllib3.request("POST", url + PATH, body=gzip.compress(BODY), headers=headers).status


def no_json(url: str) -> int:
    return httpx.post(url + PATH, content=b"{", headers=JSON_HEADERS).status_code


def a_list(url: str) -> int:
    return httpx.post(url + PATH, json=[ASK]).status_code


def nothing_at_all(url: str) -> int:
    return httpx.post(url + PATH).status_code


def no_model(url: str) -> int:
    return httpx.post(url + PATH, json={"messages": ASK["messages"]}).status_code


def an_unknown_path(url: str) -> int:
    return requests.post(url + "/dreams/about", json=ASK, timeout=10).status_code


UNREADABLE = [
    *(a_generator, a_generator_by_requests, a_file, a_file_by_aiohttp, something_compressed, no_json, a_list),
    *(nothing_at_all, no_model, an_unknown_path),
]


@pytest.mark.parametrize("ask", UNREADABLE)
def test_what_cannot_be_read_is_refused_inside_a_block_before_it_is_sent(
    ask: Callable[[str], int], provider: SimulatedProvider, make: Callable[..., BudgetManager]
) -> None:
    with make().budget("alice"), pytest.raises(UnpricedModelError, match='unmetered="warn"'):
        ask(provider.openai_url)
    assert provider.requests == []
    assert counters.snapshot().unmetered == {}


@pytest.mark.parametrize(("policy", "warnings"), [("warn", 1), ("allow", 0)])
@pytest.mark.parametrize("ask", UNREADABLE)
def test_it_may_be_let_pass_and_is_counted_and_warned_of_once(
    ask: Callable[[str], int],
    policy: str,
    warnings: int,
    provider: SimulatedProvider,
    make: Callable[..., BudgetManager],
    caplog: pytest.LogCaptureFixture,
) -> None:
    host = provider.url.removeprefix("http://")
    with caplog.at_level(logging.WARNING, "budgeted"), make(unmetered=policy).budget("alice"):
        assert ask(provider.openai_url) == ask(provider.openai_url)
    assert len(provider.requests) == 2
    assert counters.snapshot().unmetered == {host: 2}
    assert len([record for record in caplog.records if host in record.getMessage()]) == warnings


def test_outside_every_block_it_is_counted_and_warned_of_once(
    provider: SimulatedProvider, make: Callable[..., BudgetManager], caplog: pytest.LogCaptureFixture
) -> None:
    make()
    with caplog.at_level(logging.WARNING, "budgeted"):
        for ask in (a_generator, no_json, an_unknown_path):
            ask(provider.openai_url)
    host = provider.url.removeprefix("http://")
    assert counters.snapshot().unmetered == {host: 3}
    assert len(caplog.records) == 1
    assert len(provider.requests) == 3


def test_an_unknown_host_is_left_alone_but_for_known_shapes_with_a_model(provider: SimulatedProvider) -> None:
    with BudgetManager(ledger="memory://", max_budget=1) as manager, manager.budget("alice") as block:
        for ask in UNREADABLE:
            ask(provider.openai_url)
        assert (block.calls, manager.balance().spent) == (0, 0)
        assert httpx.post(provider.openai_url + PATH + "/", json=ASK).status_code == 404
        assert httpx.post(provider.openai_url + PATH, json=ASK).status_code == 200
        assert provider.wait_idle()
        assert block.calls == 2
        assert manager.balance().spent > 0
    assert counters.snapshot().unmetered == {}


@pytest.fixture
def by_proxy(provider: SimulatedProvider) -> Iterator[Callable[..., int]]:
    """Posts to any host over plain HTTP, through a proxy that answers all by itself."""
    with httpx.Client(proxy=provider.url) as client:
        yield lambda url, **options: client.post(url, **options).status_code


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1/batches",
        "http://eu.api.openai.com/v1/batches",
        "http://api.openai.com./v1/batches",
        "http://API.OpenAI.com:80/v1/batches/",
        "http://api.openai.com/v1/fine_tuning/jobs",
        "http://api.openai.com/v1/threads/runs",
        "http://api.openai.com/v1/threads/thread_1/runs",
        "http://api.openai.com/v1/containers",
        "http://api.openai.com/v1/evals/eval_1/runs",
        "http://api.openai.com/v1/videos",
        "http://api.openai.com/v1/chat/completions",
        "http://my-resource.openai.azure.com/openai/v1/batches",
        "http://api.anthropic.com/v1/messages/batches",
        "http://api.anthropic.com/v1/messages",
        "http://api.mistral.ai/v1/conversations/conv_1",
        "http://api.mistral.ai/v1/batch/jobs",
        "http://api.x.ai/v1/something/new",
        "http://generativelanguage.googleapis.com/v1beta/models/x:batchGenerateContent",
        "http://generativelanguage.googleapis.com/v1beta/cachedContents",
        "http://us-central1-aiplatform.googleapis.com/v1/projects/p/locations/us-central1/batchPredictionJobs",
        "http://us-central1-aiplatform.googleapis.com/v1/publishers/google/models/veo-3:predictLongRunning",
    ],
)
@pytest.mark.parametrize("body", [{}, {"model": ""}, {"input_file_id": "file-1"}])
def test_what_starts_something_that_is_billed_out_of_sight_is_refused(
    url: str, body: dict[str, str], provider: SimulatedProvider, by_proxy: Callable[..., int]
) -> None:
    with (
        BudgetManager(ledger="memory://", max_budget=1) as manager,
        manager.budget("alice"),
        pytest.raises(UnpricedModelError),
    ):
        by_proxy(url, json=body)
    assert provider.requests == []


@pytest.mark.parametrize(
    "url",
    [
        "http://api.openai.com/v1/files",
        "http://api.openai.com/v1/uploads/upload_1/parts",
        "http://api.openai.com/v1/moderations",
        "http://api.openai.com/v1/conversations",
        "http://api.openai.com/v1/threads/thread_1/messages",
        "http://api.openai.com/v1/vector_stores/vs_1/files",
        "http://api.openai.com/v1/batches/batch_1/cancel",
        "http://api.openai.com/v1/responses/resp_1/cancel",
        "http://api.openai.com/v1/chat/completions/chatcmpl-1",
        "http://api.anthropic.com/v1/messages/count_tokens",
        "http://api.anthropic.com/v1/messages/batches/b/cancel",
        "http://api.anthropic.com/v1/files",
        "http://api.mistral.ai/v1/files",
        "http://generativelanguage.googleapis.com/v1beta/models/gemini-2.5-flash:countTokens",
    ],
)
@pytest.mark.parametrize(
    "body",
    [
        {"json": {"role": "user", "content": "Hello!"}},
        {"files": {"file": b"0" * 1000}},
        {"content": b""},
        {"content": b"\0" * 1000},
    ],
)
def test_what_is_kept_or_counted_for_nothing_passes(
    url: str, body: dict[str, Any], provider: SimulatedProvider, by_proxy: Callable[..., int]
) -> None:
    with BudgetManager(ledger="memory://", max_budget=1) as manager, manager.budget("alice") as block:
        by_proxy(url, **body)
        assert (block.calls, manager.balance().spent) == (0, 0)
    assert len(provider.requests) == 1
    assert counters.snapshot().unmetered == {}


def test_a_deployment_of_azure_is_metered_by_the_name_in_its_path(
    provider: SimulatedProvider, by_proxy: Callable[..., int]
) -> None:
    url = "http://my-resource.openai.azure.com/openai/deployments/gpt-4o/chat/completions?api-version=2024-10-21"
    body = {"messages": ASK["messages"], "max_tokens": 1000}
    with BudgetManager(ledger="memory://", max_budget=0.001) as manager, manager.budget("alice") as block:
        with pytest.raises(BudgetExceededError):
            by_proxy(url, json=body)
        assert block.refused == 1
    assert provider.requests == []


async def by_aiohttp(url: str) -> int:
    async with aiohttp.ClientSession() as session, session.post(url, json={"any": "thing"}) as answer:
        return answer.status


def by_http_client(url: str) -> int:
    host, _, path = url.removeprefix("http://").partition("/")
    connection = http.client.HTTPConnection(host)
    try:
        connection.request("POST", f"/{path}", BODY, dict(JSON_HEADERS))
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    "post",
    [
        lambda url: httpx.post(url, json={"any": "thing"}).status_code,
        lambda url: requests.post(url, json={"any": "thing"}, timeout=10).status_code,
        lambda url: urllib3.request("POST", url, json={"any": "thing"}).status,
        lambda url: asyncio.run(by_aiohttp(url)),
        by_http_client,
    ],
    ids=["httpx", "requests", "urllib3", "aiohttp", "http.client"],
)
def test_a_host_that_is_named_later_was_nobodys_before(
    post: Callable[[str], int], provider: SimulatedProvider, make: Callable[..., BudgetManager]
) -> None:
    url = f"{provider.url}/of/nobody"
    with BudgetManager("before", ledger="memory://", max_budget=1) as before, before.budget("alice"):
        assert [post(url) for _ in range(3)] == [404] * 3
    with make().budget("alice"), pytest.raises(UnpricedModelError, match="/of/nobody"):
        post(url)
