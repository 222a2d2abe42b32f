"""What whoever asks is told when a gateway does not send a request on: in the words of its own API, and once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import boto3
import botocore.config
import httpx2
import openai
import pytest
from botocore.exceptions import ClientError
from google import genai
from google.genai import errors as google_errors

from budgeted import BudgetManager
from budgeted.testing import SimulatedProvider, unmetered

HELLO: Any = [{"role": "user", "content": "Hello"}]


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider, manager: BudgetManager) -> Iterator[None]:
    provider.reset()
    manager.set_limits("poor", 0.0000001)
    with unmetered():
        yield
    assert not provider.requests, "something was sent"


def test_openais_sdk_raises_its_error_once_with_the_reason(url: str) -> None:
    headers = {"x-budgeted-user": "poor"}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", default_headers=headers, max_retries=5) as sdk:
        with pytest.raises(openai.RateLimitError, match=r"user 'poor' has .* left of .*nothing was sent") as raised:
            sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO)
        assert raised.value.type == "insufficient_quota"
        assert raised.value.response.headers["x-should-retry"] == "false"
        with pytest.raises(openai.BadRequestError, match="user 'poor' has"):
            sdk.responses.create(model="gpt-5-mini", input="Hello")
        with pytest.raises(openai.RateLimitError, match="user 'poor' has"):
            sdk.embeddings.create(model="text-embedding-3-small", input="Hello" * 100)


def test_anthropics_sdk_raises_its_error_once_with_the_reason(url: str) -> None:
    headers = {"x-budgeted-user": "poor"}
    with (
        anthropic.Anthropic(base_url=url, api_key="any", default_headers=headers, max_retries=5) as sdk,
        pytest.raises(anthropic.APIStatusError, match="user 'poor' has") as raised,
    ):
        sdk.messages.create(model="claude-haiku-4-5", max_tokens=50, messages=HELLO)
    assert raised.value.status_code == 402
    assert raised.value.type == "billing_error"


def test_googles_sdk_raises_its_error_with_the_reason(url: str) -> None:
    options: Any = {"base_url": url, "headers": {"x-budgeted-user": "poor"}}
    sdk = genai.Client(api_key="any", http_options=options)
    with pytest.raises(google_errors.ClientError, match="user 'poor' has") as raised:
        sdk.models.generate_content(model="gemini-2.5-flash", contents="Hello")
    sdk.close()
    assert (raised.value.code, raised.value.status) == (400, "FAILED_PRECONDITION")


def test_coheres_sdk_raises_its_error_with_the_reason(url: str) -> None:
    with httpx2.Client(headers={"x-budgeted-user": "poor"}) as http:
        got = http.post(f"{url}/v2/chat", json={"model": "command-r-plus-08-2024", "messages": HELLO})
    assert got.status_code == 402
    assert "user 'poor' has" in got.json()["message"]


def test_boto3_raises_its_error_once_with_the_reason(url: str) -> None:
    config = botocore.config.Config(retries={"max_attempts": 5, "mode": "standard"})
    sdk = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        config=config,
        aws_access_key_id="any",
        aws_secret_access_key="any",  # noqa: S106 - nobody looks at it
    )
    sdk.meta.events.register("before-send", lambda request, **_: request.headers.__setitem__("x-budgeted-user", "poor"))
    with pytest.raises(ClientError, match="user 'poor' has") as raised:
        sdk.converse(modelId="amazon.nova-lite-v1:0", messages=[{"role": "user", "content": [{"text": "Hi"}]}])
    assert raised.value.response["Error"]["Code"] == "ServiceQuotaExceededException"
    sdk.close()
