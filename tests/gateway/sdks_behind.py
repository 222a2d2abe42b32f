"""Every provider's own SDK, pointed at a gateway as its users would do it, and the ways to call it."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from typing import Any, NamedTuple

import anthropic
import boto3
import botocore.config
import botocore.exceptions
import cohere
import groq
import httpx
import ollama
import openai
import pydantic
from cohere.core import ApiError
from google import genai
from google.genai import _interactions_errors
from google.oauth2.credentials import Credentials
from mistralai.client import Mistral
from mistralai.client.errors import SDKError
from mistralai.client.utils import BackoffStrategy, RetryConfig

HELLO: Any = [{"role": "user", "content": "Say something nice about budgets."}]
PARTS: Any = [{"role": "user", "content": [{"text": "Say something nice about budgets."}]}]
TOOL: Any = {"name": "weather", "description": "Tells it.", "input_schema": {"type": "object", "properties": {}}}

GPT, CLAUDE, GEMINI = "gpt-4o-mini", "claude-haiku-4-5", "gemini-2.5-flash"
NOVA, LLAMA = "amazon.nova-pro-v1:0", "meta.llama3-3-70b-instruct-v1:0"
CLAUDE_AT_AMAZON = "us.anthropic.claude-haiku-4-5-20251001-v1:0"
CLAUDE_AT_GOOGLE = "claude-haiku-4-5@20251001"
COMMAND, MISTRAL, DEEPSEEK = "command-a-03-2025", "mistral-large-latest", "deepseek-chat"


class City(pydantic.BaseModel):
    name: str


class SDK(NamedTuple):
    """A provider's SDK.

    Args:
        client: makes one, of the gateway's address and further headers.
        error: what it raises when it is refused.
        ways: to call it, by name; each costs once.
        plain: the way that has no cap of its own.
        cap: where its request has its cap, by names that lead there; () where it has one of its own, or costs nothing.
        room: USD that leave it some output, and not all: some want room for thoughts.
    """

    client: Callable[[str, dict[str, str]], Any]
    error: type[Exception]
    ways: dict[str, Callable[[Any], object]]
    plain: str
    cap: tuple[str, ...]
    room: float = 0.004


opened: list[httpx.Client] = []
"""Of SDKs that do not close what they were given."""


def _with(headers: dict[str, str]) -> httpx.Client:
    opened.append(httpx.Client(headers=headers))
    return opened[-1]


def openais(path: str) -> Callable[[str, dict[str, str]], Any]:
    return lambda url, headers: openai.OpenAI(base_url=url + path, api_key="any", default_headers=headers)


def _azure(url: str, headers: dict[str, str]) -> openai.AzureOpenAI:
    return openai.AzureOpenAI(azure_endpoint=url, api_key="any", api_version="2026-01-01", default_headers=headers)


def _google(url: str, headers: dict[str, str]) -> genai.Client:
    options: Any = {"base_url": url, "headers": headers}
    return genai.Client(api_key="any", http_options=options)


def _vertex(url: str, headers: dict[str, str]) -> genai.Client:
    options: Any = {"base_url": url, "headers": headers}
    token = Credentials(token="any")  # noqa: S106 - the provider takes any
    return genai.Client(vertexai=True, project="p", location="us-central1", credentials=token, http_options=options)


def _bedrock(url: str, headers: dict[str, str]) -> Any:
    client = boto3.client(
        "bedrock-runtime",
        region_name="us-east-1",
        endpoint_url=url,
        aws_access_key_id="AKIDOFCALLER",
        aws_secret_access_key="of the caller",  # noqa: S106 - the gateway takes any
        config=botocore.config.Config(retries={"mode": "standard", "max_attempts": 5}),
    )
    client.meta.events.register("before-send", lambda request, **_: request.headers.update(headers))
    return client


def _claude_at_amazon(url: str, headers: dict[str, str]) -> Any:
    keys: Any = {"aws_access_key": "AKIDOFCALLER", "aws_secret_key": "of the caller"}
    return anthropic.AnthropicBedrock(base_url=url, aws_region="us-east-1", default_headers=headers, **keys)


def _claude_at_google(url: str, headers: dict[str, str]) -> Any:
    return anthropic.AnthropicVertex(
        base_url=f"{url}/v1",
        region="global",
        project_id="p",
        access_token="any",  # noqa: S106 - the provider takes any
        default_headers=headers,
    )


def _mistral(url: str, headers: dict[str, str]) -> Mistral:
    again = RetryConfig("backoff", BackoffStrategy(1, 10, 1.5, 1_000), retry_connection_errors=False)
    return Mistral(api_key="any", server_url=f"{url}/mistral", client=_with(headers), retry_config=again)


def _chat(model: str) -> dict[str, Callable[[Any], object]]:
    ask: Any = {"model": model, "messages": HELLO}
    return {
        "chat": lambda sdk: sdk.chat.completions.create(**ask),
        "chat_stream": lambda sdk: list(sdk.chat.completions.create(**ask, stream=True)),
    }


def _raw_stream(sdk: openai.OpenAI) -> bytes:
    with sdk.chat.completions.with_streaming_response.create(model=GPT, messages=HELLO, stream=True) as answer:
        return b"".join(answer.iter_bytes())


def _helper(sdk: Any) -> object:
    with sdk.messages.stream(model=CLAUDE, max_tokens=50, messages=HELLO) as stream:
        return stream.get_final_message()


def _responses_stream(sdk: openai.OpenAI) -> object:
    with sdk.responses.stream(model="gpt-5-mini", input="Hello") as events:
        return list(events)


def _claude_body(**more: Any) -> str:
    return json.dumps({"anthropic_version": "bedrock-2023-05-31", "max_tokens": 50, "messages": HELLO, **more})


def _messages(model: str) -> dict[str, Callable[[Any], object]]:
    ask: Any = {"model": model, "max_tokens": 50, "messages": HELLO}
    return {
        "messages": lambda sdk: sdk.messages.create(**ask),
        "messages_stream": lambda sdk: list(sdk.messages.create(**ask, stream=True)),
        "tools": lambda sdk: sdk.messages.create(**ask, tools=[TOOL], tool_choice={"type": "any"}),
        "beta": lambda sdk: sdk.beta.messages.create(**ask, betas=["context-1m-2025-08-07"]),
    }


def _contents() -> dict[str, Callable[[Any], object]]:
    ask: Any = {"model": GEMINI, "contents": "Say something nice about budgets."}
    return {
        "generate": lambda sdk: sdk.models.generate_content(**ask),
        "generate_stream": lambda sdk: list(sdk.models.generate_content_stream(**ask)),
        "embed": lambda sdk: sdk.models.embed_content(model="gemini-embedding-001", contents="Hello there"),
    }


def _converse_stream(sdk: Any) -> object:
    return list(sdk.converse_stream(modelId=NOVA, messages=PARTS)["stream"])


SDKS: dict[str, SDK] = {
    "openai": SDK(
        openais("/v1"),
        openai.APIStatusError,
        {
            **_chat(GPT),
            "responses": lambda sdk: sdk.responses.create(model="gpt-5-mini", input="Hello"),
            "responses_stream": _responses_stream,
            "completions": lambda sdk: sdk.completions.create(model="gpt-3.5-turbo-instruct", prompt="Hello"),
            "embeddings": lambda sdk: sdk.embeddings.create(model="text-embedding-3-small", input="Hello"),
            "images": lambda sdk: sdk.images.generate(model="gpt-image-1", prompt="A budget.", quality="low"),
            "audio": lambda sdk: sdk.audio.transcriptions.create(
                model="gpt-4o-transcribe", file=("a.wav", io.BytesIO(b"sound"))
            ),
            "parse": lambda sdk: sdk.chat.completions.parse(model=GPT, messages=HELLO, response_format=City),
            "raw": lambda sdk: sdk.chat.completions.with_raw_response.create(model=GPT, messages=HELLO).text,
            "raw_stream": _raw_stream,
            "by_name": lambda sdk: sdk.with_options(
                base_url=f"{sdk.base_url}".replace("/v1/", "/openai/v1/")
            ).chat.completions.create(model=GPT, messages=HELLO),
        },
        "chat",
        ("max_completion_tokens",),
    ),
    "azure": SDK(
        _azure,
        openai.APIStatusError,
        {
            **_chat(GPT),
            "responses": lambda sdk: sdk.responses.create(model=GPT, input="Hello"),
            "embeddings": lambda sdk: sdk.embeddings.create(model="text-embedding-3-small", input="Hello"),
        },
        "chat",
        ("max_completion_tokens",),
    ),
    "azure_v1": SDK(openais("/azure/openai/v1"), openai.APIStatusError, _chat(GPT), "chat", ("max_completion_tokens",)),
    "anthropic": SDK(
        lambda url, headers: anthropic.Anthropic(base_url=url, api_key="any", default_headers=headers),
        anthropic.APIStatusError,
        {**_messages(CLAUDE), "stream_helper": _helper},
        "messages",
        (),
    ),
    "claude_at_amazon": SDK(_claude_at_amazon, anthropic.APIStatusError, _messages(CLAUDE_AT_AMAZON), "messages", ()),
    "claude_at_google": SDK(_claude_at_google, anthropic.APIStatusError, _messages(CLAUDE_AT_GOOGLE), "messages", ()),
    "gemini": SDK(
        _google,
        genai.errors.APIError,
        _contents(),
        "generate",
        ("generationConfig", "maxOutputTokens"),
        0.02,
    ),
    "gemini_interactions": SDK(
        _google,
        _interactions_errors.APIStatusError,
        {
            "create": lambda sdk: sdk.interactions.create(model=GEMINI, input="Hello"),
            "stream": lambda sdk: list(sdk.interactions.create(model=GEMINI, input="Hello", stream=True)),
        },
        "create",
        ("generation_config", "max_output_tokens"),
        0.02,
    ),
    "vertex": SDK(
        _vertex, genai.errors.APIError, _contents(), "generate", ("generationConfig", "maxOutputTokens"), 0.02
    ),
    "gemini_like_openai": SDK(
        openais("/v1beta/openai"), openai.APIStatusError, _chat(GEMINI), "chat", ("max_tokens",), 0.02
    ),
    "bedrock": SDK(
        _bedrock,
        botocore.exceptions.ClientError,
        {
            "converse": lambda sdk: sdk.converse(modelId=NOVA, messages=PARTS),
            "converse_stream": _converse_stream,
            "invoke_claude": lambda sdk: sdk.invoke_model(modelId=CLAUDE_AT_AMAZON, body=_claude_body())["body"].read(),
            "invoke_llama": lambda sdk: sdk.invoke_model(
                modelId=LLAMA, body=json.dumps({"prompt": "Hello", "max_gen_len": 20})
            ),
            "invoke_embedding": lambda sdk: sdk.invoke_model(
                modelId="amazon.titan-embed-text-v2:0", body=json.dumps({"inputText": "Hello there"})
            ),
            "invoke_stream": lambda sdk: list(
                sdk.invoke_model_with_response_stream(modelId=CLAUDE_AT_AMAZON, body=_claude_body())["body"]
            ),
        },
        "converse",
        ("inferenceConfig", "maxTokens"),
    ),
    "mistral": SDK(
        _mistral,
        SDKError,
        {
            "chat": lambda sdk: sdk.chat.complete(model=MISTRAL, messages=HELLO),
            "chat_stream": lambda sdk: list(sdk.chat.stream(model=MISTRAL, messages=HELLO)),
            "fim": lambda sdk: sdk.fim.complete(model="codestral-latest", prompt="def f("),
            "embeddings": lambda sdk: sdk.embeddings.create(model="mistral-embed", inputs=["Hello"]),
        },
        "chat",
        ("max_tokens",),
    ),
    "cohere": SDK(
        lambda url, headers: cohere.ClientV2("any", base_url=url, httpx_client=_with(headers)),
        ApiError,
        {
            "chat": lambda sdk: sdk.chat(model=COMMAND, messages=HELLO),
            "chat_stream": lambda sdk: list(sdk.chat_stream(model=COMMAND, messages=HELLO)),
            "embed": lambda sdk: sdk.embed(
                model="embed-v4.0", texts=["Hello"], input_type="search_document", embedding_types=["float"]
            ),
            "rerank": lambda sdk: sdk.rerank(model="rerank-v3.5", query="Hello", documents=["a", "b"]),
        },
        "chat",
        ("max_tokens",),
    ),
    "groq": SDK(
        lambda url, headers: groq.Groq(base_url=f"{url}/groq", api_key="any", default_headers=headers),
        groq.APIStatusError,
        _chat("llama-3.3-70b-versatile"),
        "chat",
        ("max_completion_tokens",),
    ),
    "ollama": SDK(
        lambda url, headers: ollama.Client(url, headers=headers),
        ollama.ResponseError,
        {
            "chat": lambda sdk: sdk.chat("llama3.2", HELLO),
            "chat_stream": lambda sdk: list(sdk.chat("llama3.2", HELLO, stream=True)),
            "generate": lambda sdk: sdk.generate("llama3.2", "Hello"),
        },
        "chat",
        (),
    ),
    "openrouter": SDK(
        openais("/openrouter"), openai.APIStatusError, _chat("anthropic/claude-haiku-4.5"), "chat", ("max_tokens",)
    ),
    "deepseek": SDK(openais("/deepseek"), openai.APIStatusError, _chat(DEEPSEEK), "chat", ("max_tokens",)),
    "a_company's_own": SDK(openais("/corp/v1"), openai.APIStatusError, _chat(GPT), "chat", ("max_completion_tokens",)),
}
