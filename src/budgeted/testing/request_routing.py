"""Which request goes where, on each connection."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from typing import Any

from .control_endpoints import PREFIX, control
from .http_connection import Connection, ProtocolError, Received, response_head
from .provider_state import State
from .request_handling import Exchange
from .wire_formats import (
    anthropic,
    chat_completions_with_usage_unasked,
    cohere,
    dashscope,
    elevenlabs,
    google,
    groq,
    huggingface,
    mistral,
    ollama,
    perplexity,
    replicate,
    voyage,
    watsonx,
    writer,
)
from .wire_formats.api_interface import Api
from .wire_formats.bedrock import CONVERSE, INVOKE
from .wire_formats.bedrock import RERANK as BEDROCK_RERANK
from .wire_formats.openai_chat_completions import CHAT, COMPLETIONS
from .wire_formats.openai_chat_completions import failure as openai_failure
from .wire_formats.openai_embeddings_images_audio import EMBEDDINGS, IMAGES, SPEECH, TRANSCRIPT, models
from .wire_formats.openai_responses import RESPONSES

# By the end of the path: base URLs differ between providers, and an Azure deployment is in the middle. Providers that
# share paths with OpenAI are told apart by what their base URLs here begin with, and come first.
APIS: dict[str, Api] = {
    "/groq/openai/v1/chat/completions": groq.CHAT,
    "/mistral/v1/chat/completions": mistral.CHAT,
    "/mistral/v1/agents/completions": mistral.AGENTS,
    "/mistral/v1/fim/completions": mistral.FIM,
    "/mistral/v1/embeddings": mistral.EMBEDDINGS,
    "/mistral/v1/conversations": mistral.CONVERSATIONS,
    "/mistral/v1/conversations/{}": mistral.CONVERSATIONS,
    "/mistral/v1/conversations/{}/restart": mistral.CONVERSATIONS,
    "/ocr": mistral.OCR,
    "/azure/models/chat/completions": CHAT,
    "/models/chat/completions": mistral.CHAT,
    "/together/v1/chat/completions": chat_completions_with_usage_unasked.CHAT,
    "/fireworks/inference/v1/chat/completions": chat_completions_with_usage_unasked.CHAT,
    "/cerebras/v1/chat/completions": chat_completions_with_usage_unasked.CHAT,
    "/api/paas/v4/chat/completions": chat_completions_with_usage_unasked.CHAT,
    "/openrouter/api/v1/chat/completions": chat_completions_with_usage_unasked.OPENROUTER,
    "/perplexity/chat/completions": perplexity.CHAT,
    "/perplexity/search": perplexity.SEARCH,
    "/writer/v1/chat": writer.CHAT,
    "/writer/v1/completions": writer.COMPLETIONS,
    "/voyage/v1/embeddings": voyage.EMBEDDINGS,
    "/voyage/v1/rerank": voyage.RERANK,
    "/multimodalembeddings": voyage.MULTIMODAL,
    "/ml/v1/text/chat": watsonx.CHAT,
    "/ml/v1/text/chat_stream": watsonx.CHAT,
    "/ml/v1/text/generation": watsonx.GENERATION,
    "/ml/v1/text/generation_stream": watsonx.GENERATION,
    "/ml/v1/text/embeddings": watsonx.EMBEDDINGS,
    "/text-generation/generation": dashscope.GENERATION,
    "/multimodal-generation/generation": dashscope.GENERATION,
    "/text-embedding/text-embedding": dashscope.EMBEDDINGS,
    "/pipeline/feature-extraction": huggingface.FEATURES,
    "/predictions": replicate.PREDICTIONS,
    "/text-to-speech/{}": elevenlabs.SPEECH,
    "/text-to-speech/{}/stream": elevenlabs.SPEECH,
    ":rawPredict": mistral.RAW,
    ":streamRawPredict": mistral.RAW,
    "/chat/completions": CHAT,
    "/completions": COMPLETIONS,
    "/responses": RESPONSES,
    "/responses/compact": RESPONSES,
    "/embeddings": EMBEDDINGS,
    "/images/generations": IMAGES,
    "/images/edits": IMAGES,
    "/audio/speech": SPEECH,
    "/audio/transcriptions": TRANSCRIPT,
    "/messages": anthropic.MESSAGES,
    "/converse": CONVERSE,
    "/converse-stream": CONVERSE,
    "/invoke": INVOKE,
    "/invoke-with-response-stream": INVOKE,
    ":generateContent": google.CONTENT,
    ":streamGenerateContent": google.CONTENT,
    ":embedContent": google.EMBEDDINGS,
    ":batchEmbedContents": google.EMBEDDINGS,
    ":predict": google.PREDICTIONS,
    "/interactions": google.INTERACTIONS,
    "/decisions": google.DECISIONS,
    "/v2/chat": cohere.CHAT,
    "/v2/embed": cohere.EMBED,
    "/v1/embed": cohere.EMBED,
    "/v1/chat": cohere.FIRST,
    "/v1/generate": cohere.FIRST,
    "/v1/rerank": cohere.RERANK,
    "/v2/rerank": cohere.RERANK,
    "/rerank": BEDROCK_RERANK,
    "/api/chat": ollama.CHAT,
    "/api/generate": ollama.GENERATE,
    "/api/embed": ollama.EMBED,
}
FREE: dict[tuple[str, str], Callable[[str, dict[str, Any]], dict[str, Any]]] = {
    ("GET", "/models"): models,
    ("POST", "/messages/count_tokens"): anthropic.count_tokens,
    ("POST", ":countTokens"): google.count_tokens,
    ("POST", "/identity/token"): watsonx.token,
}

_IDS = re.compile(r"(?:(?<=/conversations/)|(?<=/text-to-speech/))[^/]+")
"""What is between the parts of a path that tell its API."""

_log = logging.getLogger("budgeted.testing")


class Server:
    """Answers requests in one event loop.

    Args:
        state: What all connections share.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    def connect(self) -> Connection:
        """Return the protocol of a new connection."""
        connection = Connection(asyncio.get_running_loop(), self._serve)
        self._state.connections.add(connection)
        return connection

    async def stop(self) -> None:
        """Break all connections."""
        await asyncio.gather(*(connection.stop() for connection in tuple(self._state.connections)))

    async def _serve(self, connection: Connection) -> None:
        try:
            while (received := await connection.receive()) is not None:
                await self._answer(connection, received)
                if not received.keep_alive:
                    break
        except ProtocolError as problem:
            text = str(problem).encode()
            await connection.send(response_head(400, {"connection": "close"}, len(text)) + text)
        finally:
            connection.close()
            self._state.connections.discard(connection)

    async def _answer(self, connection: Connection, received: Received) -> None:
        path = received.request.path
        failure = anthropic.failure if "/messages" in path else _failure(path)
        exchange = Exchange(self._state, connection, received, failure)
        if path.startswith(PREFIX):
            await self._control(exchange, received)
            return
        self._state.saw(received.request)
        with self._state.activity.answering():
            try:
                await self._route(exchange, received.request.method, path)
            except Exception as problem:  # noqa: BLE001 - a test's own function may raise anything
                _log.exception("the simulated provider failed to answer")
                await exchange.fail(500, f"{type(problem).__name__}: {problem}")
                connection.close()

    async def _control(self, exchange: Exchange, received: Received) -> None:
        request = received.request
        try:
            answer = await control(self._state, request.method, request.path, received.content)
        except (LookupError, ValueError) as problem:
            await exchange.fail(404 if isinstance(problem, LookupError) else 400, str(problem))
        else:
            await exchange.send_json(answer)

    async def _route(self, exchange: Exchange, method: str, path_and_query: str) -> None:
        path = path_and_query.partition("?")[0]
        for (free_method, suffix), free in FREE.items():
            if method == free_method and path.endswith(suffix):
                await exchange.answer_free(free)
                return
        if method == "GET" and (deferred := self._state.deferred.get(path.rpartition("/predictions/")[2])):
            await exchange.answer_deferred(deferred)
            return
        api = _api(path_and_query)
        if method == "POST" and api is not None:
            await exchange.answer(api)
        else:
            await exchange.fail(404, f"Invalid URL ({method} {path})")


def _api(path_and_query: str) -> Api | None:
    """Return the API that a path belongs to, and a query where that decides about the shape of a stream."""
    path, _, query = path_and_query.partition("?")
    if "/publishers/anthropic/" in path and path.endswith("awPredict"):
        return anthropic.AT_VERTEX
    if path.endswith(":streamGenerateContent") and "alt=sse" not in query:
        return google.CONTENT_AS_LIST
    shape = _IDS.sub("{}", path)
    return next((api for suffix, api in APIS.items() if shape.endswith(suffix)), None)


def _failure(path: str) -> Callable[[int, str], dict[str, Any]]:
    """Return what makes the errors of the API that a path belongs to."""
    api = _api(path)
    return openai_failure if api is None else api.failure
