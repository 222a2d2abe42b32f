"""Whatever JSON is asked or answered, a gateway answers it, passes on what was paid for, and holds nothing after."""

from __future__ import annotations

import itertools
import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateways import gateway
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from upstream_of_bytes import UpstreamOfBytes

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import unmetered

NAMES = (
    "model models stream stream_options max_tokens max_completion_tokens max_output_tokens n messages input prompt "
    "contents tools tool_choice reasoning thinking service_tier modalities audio response_format system instructions "
    "previous_response_id background web_search_options metadata generationConfig inferenceConfig cachedContent "
    "container mcp_servers options file dimensions usage usageMetadata candidates choices content output message id "
    "error meta trace results delta prompt_tokens completion_tokens input_tokens output_tokens total_tokens "
    "prompt_tokens_details promptTokensDetails promptTokenCount groundingMetadata inputTokens server_tool_use type text"
).split()
MODELS = {
    "/v1/chat/completions": "gpt-4o-mini",
    "/v1/responses": "gpt-5-mini",
    "/v1/messages": "claude-haiku-4-5",
    "/v1/embeddings": "text-embedding-3-small",
    "/v1beta/models/gemini-2.5-flash:generateContent": "",
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent": "",
    "/v2/chat": "command-r-plus-08-2024",
    "/api/chat": "llama3",
}
TEXTS = st.sampled_from(["", "hi", "\ud800", "\0", "\u202e", "x" * 500, "gpt-4o-mini", "auto", "message_start", "true"])
NUMBERS = st.sampled_from([0, 1, -1, 7, 10**9, 10**30, 0.5, -0.0])
ANY: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | NUMBERS | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner, max_size=4),
    max_leaves=8,
)
BOTH, NEITHER = (True, True), (False, False)
FORMS = st.sampled_from([BOTH, NEITHER, (True, False), (False, True)])
"""Whether a stream is asked for, and whether one is answered."""

FIELDS = st.dictionaries(st.sampled_from(NAMES), ANY, max_size=5)


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamOfBytes]:
    with UpstreamOfBytes() as one:
        yield one


@pytest.fixture(scope="module")
def client(manager: BudgetManager, upstream: UpstreamOfBytes) -> Iterator[httpx2.Client]:
    names = ("openai", "anthropic", "gemini", "cohere", "ollama")
    stated = GatewaySettings(upstreams=dict.fromkeys(names, upstream.url), open=True)
    with (
        gateway(manager, stated) as url,
        httpx2.Client(base_url=url, timeout=20, headers={"content-type": "application/json"}) as opened,
    ):
        yield opened


number = itertools.count()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(sorted(MODELS)), FIELDS, FIELDS, FORMS)
@example("/v1/completions", {"model": "gpt-5-mini", "stream_options": {"type": "\ud800"}}, {}, BOTH)
@example("/v1/messages", {"model": "\ud800", "mcp_servers": [{}]}, {}, NEITHER)
@example("/api/chat", {"model": "\ud800"}, {}, NEITHER)
@example("/v1/chat/completions", {}, {"candidates": 1.5, "usage": {}}, BOTH)
@example(
    "/v1beta/models/gemini-2.5-flash:streamGenerateContent", {}, {"usageMetadata": {"promptTokensDetails": 5}}, BOTH
)
def test_any_json_is_answered(
    client: httpx2.Client,
    manager: BudgetManager,
    upstream: UpstreamOfBytes,
    path: str,
    asked: dict[str, Any],
    answered: dict[str, Any],
    form: tuple[bool, bool],
) -> None:
    streams, events = form
    told = json.dumps(answered).encode()
    if events:
        body, kind = b"data: %s\n\n" % told * 3, b"text/event-stream"
    else:
        body, kind = told, b"application/json"
    length = b"Connection: close\r\nContent-Length: %d" % len(body)
    upstream.answer = b"HTTP/1.1 200 OK\r\nContent-Type: %s\r\n%s\r\n\r\n%s" % (kind, length, body)
    request = {"model": MODELS.get(path, ""), "messages": [{"role": "user", "content": "hi"}], **asked}
    if streams:
        request["stream"] = True
    user = f"any {next(number)}"
    with unmetered():
        got = client.post(path, content=json.dumps(request), headers={"x-budgeted-user": user})
    assert got.status_code in (200, 400, 429)
    if got.status_code == 200:
        # But for a report of its usage, which a stream was asked for on the caller's behalf.
        assert got.content == body or (streams and events and set(got.content) <= set(body))
    else:
        assert len(got.text) < 2000
        assert got.json()
    while manager.balance(user).held:
        manager.flush()
    assert manager.balance(user).spent >= 0
