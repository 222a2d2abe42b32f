"""What SDKs try again behind a gateway: each attempt is held and settled for itself, and passes as it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import cohere
import httpx
import openai
import pytest
from cohere.core import ApiError

from budgeted import BudgetManager
from budgeted.money import NANO
from budgeted.testing import Reply, SimulatedProvider, unmetered

HELLO: Any = [{"role": "user", "content": "Hello"}]
PARTS: Any = [{"role": "user", "content": [{"text": "Hello"}]}]


def _openai(url: str, user: str) -> object:
    headers = {"x-budgeted-user": user, "idempotency-key": "once"}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", default_headers=headers, max_retries=2) as sdk:
        return sdk.chat.completions.create(model="gpt-4o-mini", messages=HELLO, max_completion_tokens=100)


def _openai_stream(url: str, user: str) -> object:
    headers = {"x-budgeted-user": user, "idempotency-key": "once"}
    with openai.OpenAI(base_url=f"{url}/v1", api_key="any", default_headers=headers, max_retries=2) as sdk:
        ask: Any = {"model": "gpt-4o-mini", "messages": HELLO, "max_completion_tokens": 100}
        return list(sdk.chat.completions.create(**ask, stream=True))


def _anthropic(url: str, user: str) -> object:
    headers = {"x-budgeted-user": user, "idempotency-key": "once"}
    with anthropic.Anthropic(base_url=url, api_key="any", default_headers=headers, max_retries=2) as sdk:
        return sdk.messages.create(model="claude-haiku-4-5", max_tokens=100, messages=HELLO)


def _cohere(url: str, user: str) -> object:
    with httpx.Client(headers={"x-budgeted-user": user}) as http:
        sdk = cohere.ClientV2("any", base_url=url, httpx_client=http)
        options: Any = {"max_retries": 2, "additional_headers": {"idempotency-key": "once"}}
        return sdk.chat(model="command-a-03-2025", messages=HELLO, max_tokens=100, request_options=options)


def _boto3(url: str, user: str) -> object:
    config = botocore.config.Config(retries={"mode": "standard", "total_max_attempts": 3})
    keys: Any = {"aws_access_key_id": "any", "aws_secret_access_key": "any"}
    sdk = boto3.client("bedrock-runtime", region_name="us-east-1", endpoint_url=url, config=config, **keys)
    headers = {"x-budgeted-user": user, "idempotency-key": "once"}
    sdk.meta.events.register("before-send", lambda request, **_: request.headers.update(headers))
    try:
        return sdk.converse(modelId="amazon.nova-pro-v1:0", messages=PARTS, inferenceConfig={"maxTokens": 100})
    finally:
        sdk.close()


CALLS = (_openai, _openai_stream, _anthropic, _cohere, _boto3)
ERRORS = (openai.APIStatusError, anthropic.APIStatusError, ApiError, botocore.exceptions.ClientError)

each = pytest.mark.parametrize("call", CALLS, ids=[call.__name__.strip("_") for call in CALLS])
Call = Callable[[str, str], object]


@pytest.fixture(autouse=True)
def alone(provider: SimulatedProvider) -> Iterator[None]:
    provider.reset()
    with unmetered():
        yield


@each
def test_errors_of_the_provider_pass_and_what_was_tried_until_then_costs_nothing(
    call: Call, url: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    user = f"patient {call.__name__}"
    provider.queue(Reply(status=503, retry_after=0.01))
    assert call(url, user)
    assert len(provider.requests) == 2
    assert {one.headers["idempotency-key"] for one in provider.requests} == {"once"}
    balance = manager.balance(user)
    assert (round(balance.spent * NANO), balance.held) == (provider.billed_nano(), 0)
    assert len(provider.bill) == 1


@each
def test_when_it_has_been_tried_often_enough_the_providers_error_is_the_callers(
    call: Call, url: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    user = f"unlucky {call.__name__}"
    provider.reply(status=429, retry_after=0.01, message="no capacity here")
    with pytest.raises(ERRORS, match="no capacity here"):
        call(url, user)
    assert len(provider.requests) == 3
    assert manager.balance(user).spent == manager.balance(user).held == 0


@each
def test_an_attempt_whose_answer_was_lost_is_charged_beside_the_next_one(
    call: Call, url: str, manager: BudgetManager, provider: SimulatedProvider
) -> None:
    user = f"cut off {call.__name__}"
    provider.queue(Reply(drop=True))
    assert call(url, user)
    assert len(provider.bill) == 2
    manager.flush()
    balance = manager.balance(user)
    assert balance.spent * NANO >= provider.billed_nano()
    assert balance.held == 0
