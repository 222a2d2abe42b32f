"""Amazon Bedrock through boto3."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import boto3
import botocore.config
from table import Row

if TYPE_CHECKING:
    from collections.abc import Iterator

    from budgeted.testing import SimulatedProvider

row = Row(without=("gzip", "tiny writes"))  # AWS compresses nothing, and its frames have no lines to end otherwise

ASK: dict[str, Any] = {
    "modelId": "amazon.nova-pro-v1:0",
    "messages": [{"role": "user", "content": [{"text": "Name a city."}]}],
}
CLAUDE = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
SECRET = {"aws_secret_access_key": "any"}


def client(provider: SimulatedProvider) -> Any:
    return boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=provider.url,
        aws_access_key_id="any",
        config=botocore.config.Config(retries={"total_max_attempts": 1}),
        **SECRET,
    )


def body() -> str:
    messages = [{"role": "user", "content": "Name a city."}]
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 500, "messages": messages})


@row.call(client)
def converse(bedrock: Any) -> Any:
    return bedrock.converse(**ASK)


@row.call(client)
def invoke_model(bedrock: Any) -> Any:
    return bedrock.invoke_model(modelId=CLAUDE, body=body())["body"].read()


@row.stream(client)
def converse_stream(bedrock: Any) -> Any:
    return bedrock.converse_stream(**ASK)["stream"]


@row.stream(client)
def invoke_model_stream(bedrock: Any) -> Iterator[Any]:
    return bedrock.invoke_model_with_response_stream(modelId=CLAUDE, body=body())["body"]  # type: ignore[no-any-return]
