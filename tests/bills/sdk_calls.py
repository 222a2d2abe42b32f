"""How a row's request is made: by the real SDK, to the real host's name, over a connection to the canned server."""

from __future__ import annotations

import gc
import inspect
import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

import anthropic
import boto3
import botocore.config
import cohere
import groq
import httpx
import httpx2
import ollama
import openai
from google import genai
from google.oauth2.credentials import Credentials
from mistralai.client import Mistral

Request = Mapping[str, Any]


def _rerouted(module: Any, place: str) -> Any:
    """A transport that brings every request to one place, whatever host it is for."""

    class Rerouted(module.HTTPTransport):  # type: ignore[misc]
        def handle_request(self, request: Any) -> Any:
            url = module.URL(place + request.url.raw_path.decode())
            sent = module.Request(
                request.method, url, headers=request.headers, stream=request.stream, extensions=request.extensions
            )
            return super().handle_request(sent)

    return Rerouted(verify=False)  # nothing goes over TLS here, and authorities take long to read


def _ask(method: Callable[..., Any], body: Mapping[str, Any], **more: Any) -> Any:
    """Call an SDK's method: what it has no argument for goes into the body all the same."""
    known = inspect.signature(method).parameters
    given = {name: value for name, value in body.items() if name in known}
    extra = {name: value for name, value in body.items() if name not in known}
    return method(**given, **({"extra_body": extra} if extra else {}), **more)


def _read(answer: Any, *, stream: bool) -> Any:
    return list(answer) if stream else answer


def _speak_openai(client: Any, request: Request, *, stream: bool) -> Any:
    path, body = request["path"], request["body"]
    methods = {
        "/chat/completions": lambda: client.chat.completions.create,
        "/completions": lambda: client.completions.create,
        "/responses": lambda: client.responses.create,
        "/embeddings": lambda: client.embeddings.create,
        "/images/generations": lambda: client.images.generate,
        "/audio/speech": lambda: client.audio.speech.create,
        "/audio/transcriptions": lambda: client.audio.transcriptions.create,
    }
    more: dict[str, Any] = {"extra_headers": request["headers"]} if request.get("headers") else {}
    if path == "/audio/transcriptions":
        more["file"] = ("sound.wav", b"RIFF" + bytes(2000))
    if stream:
        more["stream"] = True
    return _read(_ask(methods[path](), body, **more), stream=stream)


def by_openai(request: Request, place: str, *, stream: bool) -> Any:
    """The OpenAI SDK, for all who speak like OpenAI."""
    http = openai.DefaultHttpxClient(transport=_rerouted(httpx2, place))
    with openai.OpenAI(base_url=request["base_url"], api_key="any", max_retries=0, http_client=http) as client:
        return _speak_openai(client, request, stream=stream)


def by_azure(request: Request, place: str, *, stream: bool) -> Any:
    """Its client for Azure."""
    http = openai.DefaultHttpxClient(transport=_rerouted(httpx2, place))
    with openai.AzureOpenAI(
        azure_endpoint=request["base_url"],
        api_version="2025-04-01-preview",
        api_key="any",
        max_retries=0,
        http_client=http,
    ) as client:
        return _speak_openai(client, request, stream=stream)


def by_groq(request: Request, place: str, *, stream: bool) -> Any:
    """The Groq SDK."""
    http = groq.DefaultHttpxClient(transport=_rerouted(httpx, place))
    with groq.Groq(api_key="any", max_retries=0, http_client=http) as client:
        return _speak_openai(client, request, stream=stream)


def _speak_anthropic(client: Any, request: Request, *, stream: bool) -> Any:
    body = request["body"]
    messages = client.beta.messages if "betas" in body else client.messages
    return _read(_ask(messages.create, body, **({"stream": True} if stream else {})), stream=stream)


def by_anthropic(request: Request, place: str, *, stream: bool) -> Any:
    """The Anthropic SDK."""
    http = anthropic.DefaultHttpxClient(transport=_rerouted(httpx2, place))
    base_url = request.get("base_url", "https://api.anthropic.com")
    with anthropic.Anthropic(base_url=base_url, api_key="any", max_retries=0, http_client=http) as client:
        return _speak_anthropic(client, request, stream=stream)


def by_anthropic_vertex(request: Request, place: str, *, stream: bool) -> Any:
    """Its client for Vertex AI."""
    http = anthropic.DefaultHttpxClient(transport=_rerouted(httpx2, place))
    with anthropic.AnthropicVertex(
        region=request["region"],
        project_id="p",
        access_token="any",  # noqa: S106 - nobody asks
        max_retries=0,
        http_client=http,
    ) as client:
        return _speak_anthropic(client, request, stream=stream)


def _speak_genai(client: Any, request: Request, *, stream: bool) -> Any:
    body = request["body"]
    methods = {
        "generateContent": client.models.generate_content_stream if stream else client.models.generate_content,
        "embedContent": client.models.embed_content,
        "generateImages": client.models.generate_images,
    }
    return _read(methods[request["path"]](**body), stream=stream)


def by_genai(request: Request, place: str, *, stream: bool) -> Any:
    """Google's SDK, for the Gemini API."""
    options = genai.types.HttpOptions(httpx_client=httpx2.Client(transport=_rerouted(httpx2, place)))
    with genai.Client(api_key="any", http_options=options) as client:
        return _speak_genai(client, request, stream=stream)


def by_genai_vertex(request: Request, place: str, *, stream: bool) -> Any:
    """The same for Vertex AI."""
    options = genai.types.HttpOptions(httpx_client=httpx2.Client(transport=_rerouted(httpx2, place)))
    with genai.Client(
        vertexai=True,
        project="p",
        location=request["region"],
        credentials=Credentials(token="any"),  # noqa: S106 - the server takes any
        http_options=options,
    ) as client:
        return _speak_genai(client, request, stream=stream)


def by_mistral(request: Request, place: str, *, stream: bool) -> Any:
    """The Mistral SDK."""
    body = request["body"]
    with Mistral(api_key="any", client=httpx2.Client(transport=_rerouted(httpx2, place))) as client:
        methods: dict[str, Callable[..., Any]] = {
            "/chat/completions": client.chat.stream if stream else client.chat.complete,
            "/fim/completions": client.fim.stream if stream else client.fim.complete,
            "/embeddings": client.embeddings.create,
            "/ocr": client.ocr.process,
            "/audio/transcriptions": client.audio.transcriptions.complete,
        }
        return _read(methods[request["path"]](**body), stream=stream)


def by_cohere(request: Request, place: str, *, stream: bool) -> Any:
    """The Cohere SDK, second version of its API."""
    body = request["body"]
    with cohere.ClientV2("any", max_retries=0, httpx_client=httpx.Client(transport=_rerouted(httpx, place))) as client:
        methods: dict[str, Callable[..., Any]] = {
            "/v2/chat": client.chat_stream if stream else client.chat,
            "/v2/embed": client.embed,
            "/v2/rerank": client.rerank,
        }
        return _read(methods[request["path"]](**body), stream=stream)


def by_ollama(request: Request, place: str, *, stream: bool) -> Any:
    """The Ollama SDK."""
    client = ollama.Client(host=request["base_url"], transport=_rerouted(httpx, place))
    methods: dict[str, Callable[..., Any]] = {
        "/api/chat": client.chat,
        "/api/generate": client.generate,
        "/api/embed": client.embed,
    }
    more = {"stream": True} if stream else {}
    return _read(methods[request["path"]](**request["body"], **more), stream=stream)


class _ToCanned:
    """Stands for the HTTP client of botocore."""

    def __init__(self, http: Any, place: str) -> None:
        self._http, self._place = http, place

    def send(self, request: Any) -> Any:
        request.url = self._place + urlsplit(request.url).path
        return self._http.send(request)

    def close(self) -> None:
        self._http.close()


def by_boto3(request: Request, place: str, *, stream: bool) -> Any:
    """Amazon's SDK, for Bedrock."""
    client = boto3.client(
        "bedrock-runtime",
        region_name=request.get("region", "us-east-1"),
        aws_access_key_id="any",
        aws_secret_access_key="any",  # noqa: S106 - nobody asks
        config=botocore.config.Config(retries={"max_attempts": 0}),
    )
    client._endpoint.http_session = _ToCanned(client._endpoint.http_session, place)
    body = dict(request["body"])
    if request["path"] == "converse":
        answer = (client.converse_stream if stream else client.converse)(**body)
        return list(answer["stream"]) if stream else answer
    body["body"] = json.dumps(body["body"])
    if stream:
        parts = client.invoke_model_with_response_stream(**body)["body"]
        return [part["chunk"]["bytes"] for part in parts]
    return client.invoke_model(**body)["body"].read()


def by_litellm(request: Request, place: str, *, stream: bool) -> Any:
    """LiteLLM, by its name for the provider and the model."""
    import litellm

    body = {**request["body"], "model": request["litellm"]}
    body.pop("stream_options", None)
    more = {"stream": True} if stream else {}
    answer = _read(litellm.completion(**body, api_base=place, api_key="any", num_retries=0, **more), stream=stream)
    if stream:
        # LiteLLM leaves the connection of a stream open, in a cycle of objects. A collection that comes while httpcore
        # has its pool's lock would close it there, and wait for that lock for ever.
        gc.collect()
    return answer


CALLS: Mapping[str, Callable[..., Any]] = {
    "openai": by_openai,
    "azure": by_azure,
    "groq": by_groq,
    "anthropic": by_anthropic,
    "anthropic_vertex": by_anthropic_vertex,
    "genai": by_genai,
    "genai_vertex": by_genai_vertex,
    "mistral": by_mistral,
    "cohere": by_cohere,
    "ollama": by_ollama,
    "boto3": by_boto3,
    "litellm": by_litellm,
}
"""By the name that a row, or its file, gives the SDK."""


def texts(value: Any) -> Iterable[str]:
    """What a caller got, as text to look into."""
    yield repr(value)
