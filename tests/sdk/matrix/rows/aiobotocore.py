"""Amazon Bedrock through aiobotocore."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiobotocore.config import AioConfig
from aiobotocore.session import get_session
from rows.bedrock import ASK, CLAUDE, SECRET, body
from table import Row

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from budgeted.testing import SimulatedProvider

row = Row(without=("gzip", "tiny writes"))  # as through boto3


def client(provider: SimulatedProvider) -> Any:
    """What makes a client once it is entered; it keeps the client."""
    return get_session().create_client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=provider.url,
        aws_access_key_id="any",
        config=AioConfig(retries={"total_max_attempts": 1}),
        **SECRET,
    )


@row.call(client)
async def converse(made: Any) -> Any:
    async with made as bedrock:
        return await bedrock.converse(**ASK)


@row.call(client)
async def invoke_model(made: Any) -> Any:
    async with made as bedrock:
        return await (await bedrock.invoke_model(modelId=CLAUDE, body=body()))["body"].read()


@row.stream(client)
async def converse_stream(made: Any) -> Any:
    bedrock = await made.__aenter__()
    return (await bedrock.converse_stream(**ASK))["stream"]


@row.stream(client)
async def invoke_model_stream(made: Any) -> AsyncIterator[Any]:
    bedrock = await made.__aenter__()
    return (await bedrock.invoke_model_with_response_stream(modelId=CLAUDE, body=body()))["body"]  # type: ignore[no-any-return]
