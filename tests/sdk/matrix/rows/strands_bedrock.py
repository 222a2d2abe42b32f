"""Strands Agents over boto3, which it calls unless told otherwise."""

from __future__ import annotations

from typing import TYPE_CHECKING

import boto3
import botocore.config
from rows.strands import agent_of, call, invoke_async, stream_async
from strands.models.bedrock import BedrockModel
from table import Row

if TYPE_CHECKING:
    from strands import Agent

    from budgeted.testing import SimulatedProvider

row = Row(without=("gzip", "tiny writes"))  # as of boto3

SECRET = {"aws_secret_access_key": "any"}


def agent(provider: SimulatedProvider) -> Agent:
    session = boto3.Session(aws_access_key_id="any", region_name="us-east-1", **SECRET)
    once = botocore.config.Config(retries={"total_max_attempts": 1})
    model = "amazon.nova-pro-v1:0"
    return agent_of(
        BedrockModel(boto_session=session, boto_client_config=once, endpoint_url=provider.url, model_id=model)
    )


row.call(agent, name="call")(call)
row.call(agent, name="invoke_async")(invoke_async)
row.stream(agent, name="stream_async", eager=True)(stream_async)  # a thread reads it to its end
