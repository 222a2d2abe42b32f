"""Requests that an upstream might read otherwise: bounded by the dearer reading, sent as they were read, or refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from gateways import gateway
from key_requests import ENVIRONMENT, key_for
from upstream_of_bytes import UpstreamOfBytes

from budgeted import BudgetManager
from budgeted.gateway.key_callers import KeyCallers
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import unmetered

CHAT, EDITS = "/v1/chat/completions", "/v1/images/edits"
GEMINI = "/v1beta/models/gemini-2.5-flash:generateContent"
HELLO = [{"role": "user", "content": "Hello"}]
CONTENTS = [{"role": "user", "parts": [{"text": "Hello"}]}]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
FORM = {"content-type": "multipart/form-data; boundary=b"}
URLENCODED = {"content-type": "application/x-www-form-urlencoded"}


@pytest.fixture(scope="module")
def upstream() -> Iterator[UpstreamOfBytes]:
    with UpstreamOfBytes() as one:
        one.answer = ANSWER
        yield one


@pytest.fixture(scope="module")
def manager() -> Iterator[BudgetManager]:
    with BudgetManager("two-ways", ledger="memory://", default_user_limits=["$0.01"], max_budget="$1000") as made:
        yield made


@pytest.fixture(scope="module")
def url(manager: BudgetManager, upstream: UpstreamOfBytes) -> Iterator[str]:
    settings = GatewaySettings(
        upstreams=dict.fromkeys(("openai", "gemini", "azure", "vertex"), upstream.url), open=True
    )
    with gateway(manager, settings) as address:
        yield address


@pytest.fixture
def client(url: str, request: pytest.FixtureRequest) -> Iterator[httpx2.Client]:
    """One of a user who has a cent."""
    user = {"x-budgeted-user": request.node.name[:100]}
    with httpx2.Client(base_url=url, timeout=20, headers=user) as opened, unmetered():
        yield opened


@pytest.fixture(autouse=True)
def forgotten(upstream: UpstreamOfBytes) -> None:
    upstream.requests.clear()


def sent(upstream: UpstreamOfBytes) -> tuple[bytes, bytes]:
    """Head and body of the one request that has come."""
    [one] = upstream.requests
    head, _, body = one.partition(b"\r\n\r\n")
    return head, body


def chat(**options: Any) -> dict[str, Any]:
    return {"model": "gpt-4o-mini", "messages": HELLO, "max_tokens": 1000, **options}


def content(**config: Any) -> dict[str, Any]:
    return {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 1000, **config}}


def form(*parts: bytes) -> bytes:
    return b"".join(b"--b\r\n%s\r\n" % part for part in parts) + b"--b--\r\n"


def field(name: str, value: str) -> bytes:
    return f'Content-Disposition: form-data; name="{name}"\r\n\r\n{value}'.encode()


PICTURE = b'Content-Disposition: form-data; name="image"; filename="a.png"\r\nContent-Type: image/png\r\n\r\nbytes'
MINI = field("model", "gpt-image-1-mini")


@pytest.mark.parametrize("many", [100, 100.0, "100", " 100 ", "100.0"], ids=repr)
def test_a_number_of_answers_counts_however_it_is_written(
    client: httpx2.Client, upstream: UpstreamOfBytes, many: object
) -> None:
    for path, body in ((CHAT, chat(n=many)), (GEMINI, content(candidateCount=many))):
        answer = client.post(path, json=body)
        assert answer.status_code in (400, 429)
        assert "left of $0.01" in answer.text
    assert not upstream.requests


def test_of_two_output_caps_the_larger_one_is_held(client: httpx2.Client, upstream: UpstreamOfBytes) -> None:
    for one, other in (("max_tokens", "max_completion_tokens"), ("max_completion_tokens", "max_tokens")):
        answer = client.post(CHAT, json=chat(**{one: 16_000, other: 10}) | {"n": 2})
        assert "left of $0.01" in answer.text
    assert not upstream.requests


@pytest.mark.parametrize("none", [-1, 0, "16000", 16000.5], ids=repr)
def test_an_output_cap_that_is_none_is_written_over_and_gets_no_other_beside_it(
    client: httpx2.Client, upstream: UpstreamOfBytes, none: object
) -> None:
    question = {"model": "gpt-4o-mini", "messages": HELLO}
    client.post(CHAT, json={**question, "max_completion_tokens": none})
    assert 0 < json.loads(sent(upstream)[1])["max_completion_tokens"] < 16_000
    upstream.requests.clear()
    answer = client.post(CHAT, json={**question, "max_tokens": none, "n": 2})  # the model's most is held for
    assert "left of $0.01" in answer.text
    assert not upstream.requests


def test_what_is_there_twice_is_sent_as_it_was_read(client: httpx2.Client, upstream: UpstreamOfBytes) -> None:
    twice = json.dumps(chat())[:-1] + ', "max_tokens": 10, "user": "\\ud800"}'
    client.post(CHAT, content=twice.replace('"model":', '"model": "gpt-5-pro", "model":'))
    _, body = sent(upstream)
    assert (body.count(b"max_tokens"), body.count(b'"model"'), body.count(b"\\ud800")) == (1, 1, 1)
    assert json.loads(body) == {**chat(), "max_tokens": 10, "user": "\ud800"}


@pytest.mark.parametrize(
    "said", [URLENCODED, FORM, {"content-type": "application/json; charset=utf-16"}], ids=["query", "form", "utf-16"]
)
def test_json_is_read_and_sent_as_json_whatever_it_is_said_to_be(
    client: httpx2.Client, upstream: UpstreamOfBytes, said: dict[str, str]
) -> None:
    body = json.dumps(chat(n=100, user="&model=gpt-4o-mini&max_tokens=10&"))
    assert "left of $0.01" in client.post(CHAT, content=body, headers=said).text
    assert not upstream.requests
    client.post(CHAT, content=body.replace("100}", "1}").replace('"n": 100', '"n": 1'), headers=said)
    head, _ = sent(upstream)
    assert b"content-type: application/json\r\n" in head.lower() + b"\r\n"


def test_what_stands_in_a_form_counts(client: httpx2.Client, upstream: UpstreamOfBytes) -> None:
    for many in (field("n", "10"), b"Content-Disposition: form-data; name=n\r\n\r\n10"):
        answer = client.post(EDITS, content=form(MINI, field("quality", "low"), many, PICTURE), headers=FORM)
        assert "left of $0.01" in answer.text
    assert not upstream.requests


@pytest.mark.parametrize(
    "body",
    [
        form(MINI, field("n", "1"), field("n", "10"), PICTURE),
        form(MINI, b'Content-Disposition: form-data; name="n"\n\n10', PICTURE),
        form(MINI, field("user", '--b\nContent-Disposition: form-data; name="n"\n\n10'), PICTURE),
        form(MINI, b"Content-Transfer-Encoding: base64\r\n" + field("n", "MTA="), PICTURE),
        form(MINI, b"Content-Disposition: form-data; name*=utf-8''n\r\n\r\n10", PICTURE),
        b"--c\r\n" + form(MINI, PICTURE),
        form(MINI, PICTURE) + b"more",
        form(MINI, PICTURE).replace(b"--b--", b"--bc"),
    ],
    ids=[
        "twice",
        "line feeds",
        "a boundary behind a line feed",
        "base64",
        "an extended name",
        "a preamble",
        "an epilogue",
        "no end",
    ],
)
def test_a_form_that_two_readers_take_for_two_things_is_refused(
    client: httpx2.Client, upstream: UpstreamOfBytes, body: bytes
) -> None:
    answer = client.post(EDITS, content=body, headers=FORM)
    assert answer.status_code == 400
    assert "nothing was sent" in answer.text
    assert not upstream.requests


def test_a_form_with_two_boundaries_is_refused(client: httpx2.Client) -> None:
    body = form(MINI, PICTURE)
    for said in ("boundary=c; boundary=b", "boundary=b; boundary=c"):
        answer = client.post(EDITS, content=body, headers={"content-type": f"multipart/form-data; {said}"})
        assert answer.status_code == 400


def test_what_google_would_take_in_two_spellings_is_refused_in_both_at_once(client: httpx2.Client) -> None:
    for body in (
        content(candidate_count=8, candidateCount=1),
        content(max_output_tokens=60_000),
        {**content(), "generation_config": {"candidateCount": 8}},
    ):
        answer = client.post(GEMINI, json=body)
        assert answer.status_code == 400
        assert "nothing was sent" in answer.text


def test_a_method_behind_an_encoded_colon_is_not_sent_on_as_if_it_were_free(
    client: httpx2.Client, upstream: UpstreamOfBytes
) -> None:
    answer = client.post(GEMINI.replace(":", "%3A"), json=content())
    assert answer.status_code == 400
    assert "is not written as its API has it" in answer.text
    assert not upstream.requests


def test_a_deployment_that_has_a_models_name_costs_what_that_does(client: httpx2.Client) -> None:
    path = "/openai/deployments/gpt-4o/chat/completions?api-version=1"
    answer = client.post(path, json=chat(), headers={"api-key": "of the caller"})
    assert "left of $0.01" in answer.text


def test_a_key_may_ask_no_deployment_that_it_does_not_name(upstream: UpstreamOfBytes) -> None:
    settings = GatewaySettings(upstreams={"azure": upstream.url})
    with (
        BudgetManager("deployments", ledger="memory://", max_budget="$1") as manager,
        gateway(manager, settings, KeyCallers(manager, ENVIRONMENT), {"AZURE_API_KEY": "of the gateway"}) as url,
        unmetered(),
    ):
        key, _ = key_for(manager, "alice", models=["gpt-4o-mini*"])
        for deployment, status in (("other", 403), ("gpt-4o-mini-eu", 200)):
            path = f"{url}/openai/deployments/{deployment}/chat/completions?api-version=1"
            assert httpx2.post(path, json=chat(), headers={"api-key": key}).status_code == status


def test_a_model_whose_name_cannot_be_written_is_refused(client: httpx2.Client) -> None:
    for name in ("gpt-4o\\ud800", "gpt-4o\\u0000", "gpt-4o\\nof the log"):
        body = json.dumps(chat()).replace('"gpt-4o-mini"', f'"{name}"')
        answer = client.post(CHAT, content=body)
        assert answer.status_code == 400
        assert "is no name of a model" in answer.text


def test_a_header_that_asks_for_a_dearer_tier_is_held_for(client: httpx2.Client, upstream: UpstreamOfBytes) -> None:
    asked = {"x-vertex-ai-llm-shared-request-type": "priority", "x-goog-api-key": "of the caller"}
    place = "/v1/projects/p/locations/global"
    contents = {"contents": CONTENTS, "generationConfig": {"maxOutputTokens": 800}}
    chat_there = chat(model="google/gemini-3-pro-preview", max_tokens=800)
    for path, body in (
        (f"{place}/publishers/google/models/gemini-3-pro-preview:generateContent", contents),
        (f"{place}/endpoints/openapi/chat/completions", chat_there),
    ):
        mine = {"x-goog-api-key": "of the caller", "x-budgeted-user": path[-20:]}
        assert "left of $0.01" in client.post(path, json=body, headers={**asked, **mine}).text
        assert not upstream.requests
        assert client.post(path, json=body, headers=mine).status_code == 200
        upstream.requests.clear()
    twice = [*asked.items(), ("x-vertex-ai-llm-shared-request-type", "flex")]
    assert "is there 2 times" in client.post(path, json=body, headers=twice).text
