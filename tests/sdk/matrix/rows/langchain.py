"""LangChain over the OpenAI and Anthropic SDKs."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import pydantic
from langchain_anthropic import ChatAnthropic
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from table import Row

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

row = Row()

ASK = "Name a city."

TIMEOUTS = itertools.count(600)
"""One for each model: LangChain keeps HTTP clients by address and timeout, event loops and all, and a provider may get
the port of an earlier one."""


class City(pydantic.BaseModel):
    """What is asked for in structured answers."""

    name: str


def chat_model(provider: SimulatedProvider, **options: Any) -> ChatOpenAI:
    # Its own timeout per chunk is off: before Python 3.12, one that waits for a chunk cannot be cancelled.
    return ChatOpenAI(
        model="gpt-5-mini",
        base_url=provider.openai_url,
        api_key="any",
        max_retries=0,
        timeout=next(TIMEOUTS),
        stream_chunk_timeout=None,
        **options,
    )


def responses_model(provider: SimulatedProvider) -> ChatOpenAI:
    return chat_model(provider, use_responses_api=True)


def claude(provider: SimulatedProvider) -> ChatAnthropic:
    return ChatAnthropic(
        model="claude-haiku-4-5",
        base_url=provider.anthropic_url,
        api_key="any",
        max_tokens=500,
        max_retries=0,
        timeout=next(TIMEOUTS),
    )


def embedder(provider: SimulatedProvider) -> OpenAIEmbeddings:
    return OpenAIEmbeddings(
        model="text-embedding-3-small",
        base_url=provider.openai_url,
        api_key="any",
        max_retries=0,
        timeout=next(TIMEOUTS),
        check_embedding_ctx_length=False,
    )


def _invoke(model: Any) -> Any:
    return model.invoke(ASK)


async def _ainvoke(model: Any) -> Any:
    return await model.ainvoke(ASK)


def _batch(model: Any) -> Any:
    return model.batch([ASK, ASK, ASK])


async def _abatch(model: Any) -> Any:
    return await model.abatch([ASK, ASK, ASK])


def _structured(model: Any) -> Any:
    return model.with_structured_output(City).invoke(ASK)


def _stream(model: Any) -> Any:
    return model.stream(ASK)


def _astream(model: Any) -> Any:
    return model.astream(ASK)


for kind, client in (("chat", chat_model), ("responses", responses_model), ("claude", claude)):
    row.call(client, name=f"{kind}_invoke")(_invoke)
    row.call(client, name=f"{kind}_ainvoke")(_ainvoke)
    row.call(client, name=f"{kind}_batch", bills=3)(_batch)
    row.call(client, name=f"{kind}_abatch", bills=3)(_abatch)
    row.call(client, name=f"{kind}_structured")(_structured)
    row.stream(client, name=f"{kind}_stream")(_stream)
    row.stream(async_client=client, name=f"{kind}_astream")(_astream)


@row.call(chat_model)
def chain(model: Any) -> Any:
    prompt = ChatPromptTemplate.from_template("Name a city in {country}.")
    return (prompt | model | StrOutputParser()).invoke({"country": "Italy"})


@row.call(embedder)
def embed(model: Any) -> Any:
    return model.embed_query(ASK)
