"""A server over gRPC, on loopback, that answers as xAI and as Google do, by the classes of their own libraries.

It says what it used, and keeps what it would bill. Google's libraries speak to nobody without TLS: `trusted()` has them
trust the server's certificate.
"""

from __future__ import annotations

import os
import tempfile
import threading
import time
import warnings
from concurrent import futures
from typing import TYPE_CHECKING, Any, NamedTuple

import grpc
import trustme
from google.protobuf import json_format
from xai_sdk.proto import chat_pb2, image_pb2, usage_pb2

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of how long they will be maintained, and for which versions of Python
    from google.ai import generativelanguage
    from google.cloud import aiplatform_v1

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import TracebackType
    from typing import Self


WORDS = ("Lisbon ", "is ", "a ", "city.")
_GOOGLES = "/google.ai.generativelanguage.v1beta.GenerativeService/"
_VERTEX = "/google.cloud.aiplatform.v1.PredictionService/"

_AUTHORITY = trustme.CA()


def trusted() -> str:
    """A file with the certificate to trust: grpc reads it once, when a channel with TLS is made for the first time."""
    folder = tempfile.mkdtemp()
    path = os.path.join(folder, "authority.pem")
    _AUTHORITY.cert_pem.write_to_path(path)
    return path


class Used(NamedTuple):
    """What each answer says that it used, in tokens; thoughts are beside what is written."""

    sent: int = 10
    cached: int = 0
    written: int = 800
    thought: int = 200

    @property
    def output(self) -> int:
        return self.written + self.thought


class GrpcProvider:
    """The server.

    Attributes:
        used: what the next answers say that they used.
        seconds: how long an answer takes, or each piece of one.
        status: what requests are refused with; None to answer them.
        model: what xAI's answers say who answered.
        tools: what xAI's answers say that its own tools were used for, each by its name.
        ticks: what xAI's answers state as their cost; 0 to state none.
        bill: the output tokens of each request that was answered, in full or in part: it bills those in full.
        asked: the methods that were asked for, whatever came of it.
        messages: and the messages.
        begun: set once an answer has begun.
        go_on: cleared to have streams wait behind each piece.
    """

    def __init__(self) -> None:
        self.used = Used()
        self.seconds = 0.0
        self.status: grpc.StatusCode | None = None
        self.model = "grok-test"
        self.ticks = 0
        self.tools: list[str] = []
        self.bill: list[int] = []
        self.asked: list[str] = []
        self.messages: list[Any] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.begun = threading.Event()

    def __enter__(self) -> Self:
        self._server = grpc.server(futures.ThreadPoolExecutor(64))
        self._server.add_generic_rpc_handlers((_Handler(self),))
        certificate = _AUTHORITY.issue_cert("localhost")
        chain = b"".join(pem.bytes() for pem in certificate.cert_chain_pems)
        credentials = grpc.ssl_server_credentials([(certificate.private_key_pem.bytes(), chain)])
        self.plain = f"localhost:{self._server.add_insecure_port('localhost:0')}"
        self.secure = f"localhost:{self._server.add_secure_port('localhost:0', credentials)}"
        self._server.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.go_on.set()
        self.stop()

    def stop(self) -> None:
        """Break off whatever is being answered, and listen no more."""
        self._server.stop(None).wait()

    def answer(self, method: str, message: Any, make: Callable[[str, bool], Any], context: Any) -> Any:
        """One answer, whole."""
        self._begin(method, message, context)
        time.sleep(self.seconds)
        return make("".join(WORDS), True)

    def pieces(self, method: str, message: Any, make: Callable[[str, bool], Any], context: Any) -> Iterator[Any]:
        """One answer in pieces, the last of which says what it used."""
        self._begin(method, message, context)
        for word in WORDS:
            yield make(word, word == WORDS[-1])
            time.sleep(self.seconds)
            self.go_on.wait(30)

    def _begin(self, method: str, message: Any, context: Any) -> None:
        self.asked.append(method)
        self.messages.append(message)
        if self.status is not None:
            context.abort(self.status, "as the test wants it")
        self.bill.append(self.used.output)
        self.begun.set()

    def xai(self, text: str, last: bool) -> Any:
        """An answer of xAI's, or a piece of one."""
        return chat_pb2.GetChatCompletionResponse(
            id="answer",
            model=self.model,
            outputs=[{"message": {"content": text, "role": "ROLE_ASSISTANT"}}],
            usage=self._xai_usage(),
        )

    def xai_piece(self, text: str, last: bool) -> Any:
        return chat_pb2.GetChatCompletionChunk(
            id="answer",
            model=self.model,
            outputs=[{"delta": {"content": text, "role": "ROLE_ASSISTANT"}}],
            usage=self._xai_usage() if last else None,
        )

    def picture(self, text: str, last: bool) -> Any:
        return image_pb2.ImageResponse(images=[{"url": "https://example.com/a.png"}] * 2, model="grok-imagine-test")

    def _xai_usage(self) -> usage_pb2.SamplingUsage:
        return usage_pb2.SamplingUsage(
            prompt_tokens=self.used.sent,
            prompt_text_tokens=self.used.sent,
            cached_prompt_text_tokens=self.used.cached,
            completion_tokens=self.used.written,
            reasoning_tokens=self.used.thought,
            total_tokens=self.used.sent + self.used.output,
            cost_in_usd_ticks=self.ticks,
            server_side_tools_used=[f"SERVER_SIDE_TOOL_{tool}" for tool in self.tools],
        )

    def gemini(self, text: str, last: bool) -> Any:
        """An answer of Gemini's, or a piece of one."""
        return generativelanguage.GenerateContentResponse(**self._contents(text, last))

    def vertex(self, text: str, last: bool) -> Any:
        """The same from Vertex AI."""
        return aiplatform_v1.GenerateContentResponse(**self._contents(text, last))

    def embedding(self, text: str, last: bool) -> Any:
        """What Vertex AI makes of one text."""
        embedded = {"values": [0.5, 0.25], "statistics": {"token_count": self.used.sent, "truncated": False}}
        answer = aiplatform_v1.PredictResponse()
        json_format.ParseDict({"predictions": [{"embeddings": embedded}]}, aiplatform_v1.PredictResponse.pb(answer))
        return answer

    def _contents(self, text: str, last: bool) -> dict[str, Any]:
        found: dict[str, Any] = {
            "candidates": [{"content": {"role": "model", "parts": [{"text": text}]}, "finish_reason": "STOP" * last}],
            "model_version": "gemini-test",
        }
        if not last:
            del found["candidates"][0]["finish_reason"]
            return found
        usage = {
            "prompt_token_count": self.used.sent,
            "cached_content_token_count": self.used.cached,
            "candidates_token_count": self.used.written,
            "total_token_count": self.used.sent + self.used.output,
        }
        return {**found, "usage_metadata": usage}

    def billed(self, per_token: float) -> float:
        """USD for all that was answered."""
        return round(sum(self.bill) * per_token, 9)


class _Handler(grpc.GenericRpcHandler):  # type: ignore[misc] # grpc has no types
    def __init__(self, provider: GrpcProvider) -> None:
        ask, answered = generativelanguage.GenerateContentRequest, generativelanguage.GenerateContentResponse
        vertex, from_vertex = aiplatform_v1.GenerateContentRequest, aiplatform_v1.GenerateContentResponse
        xai = (chat_pb2.GetCompletionsRequest.FromString, lambda message: message.SerializeToString())
        embed = aiplatform_v1.PredictRequest.deserialize, aiplatform_v1.PredictResponse.serialize
        self._provider = provider
        self._methods: dict[str, tuple[Any, Any, Any, bool]] = {
            "/xai_api.Chat/GetCompletion": (*xai, provider.xai, False),
            "/xai_api.Chat/GetCompletionChunk": (*xai, provider.xai_piece, True),
            "/xai_api.Image/GenerateImage": (
                image_pb2.GenerateImageRequest.FromString,
                xai[1],
                provider.picture,
                False,
            ),
            f"{_GOOGLES}GenerateContent": (ask.deserialize, answered.serialize, provider.gemini, False),
            f"{_GOOGLES}StreamGenerateContent": (ask.deserialize, answered.serialize, provider.gemini, True),
            f"{_VERTEX}Predict": (*embed, provider.embedding, False),
            f"{_VERTEX}GenerateContent": (vertex.deserialize, from_vertex.serialize, provider.vertex, False),
            f"{_VERTEX}StreamGenerateContent": (vertex.deserialize, from_vertex.serialize, provider.vertex, True),
        }

    def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler | None:
        found = self._methods.get(details.method)
        if found is None:
            self._provider.asked.append(details.method)
            return None
        read, write, make, streams = found
        answer = self._provider.pieces if streams else self._provider.answer
        handler = grpc.unary_stream_rpc_method_handler if streams else grpc.unary_unary_rpc_method_handler
        return handler(lambda message, context: answer(details.method, message, make, context), read, write)
