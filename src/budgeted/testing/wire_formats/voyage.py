"""Voyage's embeddings and reranking on the wire: their usage is a total alone.

https://docs.voyageai.com/reference/embeddings-api, https://docs.voyageai.com/reference/multimodal-embeddings-api and
https://docs.voyageai.com/reference/reranker-api
"""

from __future__ import annotations

import base64
import struct
from typing import Any

from ..simulated_model import Answer, Call, prompt_tokens
from .api_interface import Api, BadRequest, positive, required
from .openai_chat_completions import BROKEN
from .openai_embeddings_images_audio import DIMENSIONS


def failure(_status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"detail": message}


def _usage_part(answer: Answer, **more: int) -> dict[str, Any]:
    true = {**more, "total_tokens": answer.counts.input_tokens}
    return {"usage": answer.shown_usage(true)} if answer.says_usage else {}


def _embedding(call: Call, texts: list[Any]) -> Call:
    call.input_tokens = max(1, prompt_tokens(texts))
    call.writes = False
    return call


def _read_embeddings(_path: str, body: dict[str, Any]) -> Call:
    given = required(body, "input", (str, list))
    call = Call(api="embeddings", model=required(body, "model", str), body=body)
    return _embedding(call, given if isinstance(given, list) else [given])


def _vectors(call: Call, count: int, answer: Answer) -> dict[str, Any]:
    vector: Any = [0.25] * (positive(call.body, "output_dimension") or DIMENSIONS)
    if call.body.get("encoding_format") == "base64":
        vector = base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    data = [{"object": "embedding", "embedding": vector, "index": index} for index in range(count)]
    return {"object": "list", "data": data, "model": answer.model}


def _embeddings_body(call: Call, answer: Answer) -> dict[str, Any]:
    given = call.body["input"]
    return _vectors(call, len(given) if isinstance(given, list) else 1, answer) | _usage_part(answer)


def _read_multimodal(_path: str, body: dict[str, Any]) -> Call:
    segments = [segment for given in required(body, "inputs", list) for segment in given["content"]]
    if any(segment["type"] != "text" for segment in segments):
        raise BadRequest("The simulated provider embeds text alone.")
    call = Call(api="embeddings.multimodal", model=required(body, "model", str), body=body)
    return _embedding(call, [segment["text"] for segment in segments])


def _multimodal_body(call: Call, answer: Answer) -> dict[str, Any]:
    told = {"text_tokens": answer.counts.input_tokens, "image_pixels": 0, "video_pixels": 0}
    return _vectors(call, len(call.body["inputs"]), answer) | _usage_part(answer, **told)


def _read_rerank(_path: str, body: dict[str, Any]) -> Call:
    documents = required(body, "documents", list)
    call = Call(api="rerank", model=required(body, "model", str), body=body)
    return _embedding(call, [required(body, "query", str)] * len(documents) + documents)


def _rerank_body(call: Call, answer: Answer) -> dict[str, Any]:
    wanted = positive(call.body, "top_k") or len(call.body["documents"])
    data = [{"index": index, "relevance_score": 0.5} for index in range(wanted)]
    return {"object": "list", "data": data, "model": answer.model} | _usage_part(answer)


EMBEDDINGS = Api(_read_embeddings, _embeddings_body, None, failure, BROKEN)
MULTIMODAL = Api(_read_multimodal, _multimodal_body, None, failure, BROKEN)
RERANK = Api(_read_rerank, _rerank_body, None, failure, BROKEN)
