"""instructor over the OpenAI SDK."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import instructor
import openai
import pydantic
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()


class City(pydantic.BaseModel):
    """What is asked for."""

    name: str


ASK: dict[str, Any] = {
    "model": "gpt-5-mini",
    "response_model": City,
    "messages": [{"role": "user", "content": "Name a city."}],
    "max_retries": 0,
}


def plain(provider: SimulatedProvider) -> Any:
    return instructor.from_openai(openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0))


def beside(provider: SimulatedProvider) -> Any:
    return instructor.from_openai(openai.AsyncOpenAI(base_url=provider.openai_url, api_key="any", max_retries=0))


def of_json(provider: SimulatedProvider) -> Any:
    client = openai.OpenAI(base_url=provider.openai_url, api_key="any", max_retries=0)
    return instructor.from_openai(client, mode=instructor.Mode.JSON_SCHEMA)


@row.call(plain, beside)
def create(client: Any) -> Any:
    return client.chat.completions.create(**ASK)


@row.call(of_json)
def create_json(client: Any) -> Any:
    return client.chat.completions.create(**ASK)


@row.call(plain, beside)
def create_with_completion(client: Any) -> Any:
    return client.chat.completions.create_with_completion(**ASK)


@row.stream(plain, beside, eager=True)
def create_partial(client: Any) -> Any:
    return client.chat.completions.create_partial(**ASK)
