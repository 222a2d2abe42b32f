"""Hugging Face's feature extraction on the wire, which tells no usage: its chat is OpenAI's.

https://huggingface.co/docs/inference-providers/tasks/feature-extraction
"""

from __future__ import annotations

from typing import Any

import msgspec

from ..simulated_model import Answer, Call
from .api_interface import Api, required
from .openai_chat_completions import BROKEN
from .openai_embeddings_images_audio import DIMENSIONS


def failure(_status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": message}


def _read(path: str, body: dict[str, Any]) -> Call:
    """Read a request for the model in `/hf-inference/models/owner/name/pipeline/feature-extraction`."""
    required(body, "inputs", (str, list))
    model = path.partition("/models/")[2].partition("/pipeline/")[0]
    return Call(api="features", model=model, body=body, writes=False, by_unit=True)


def _body(call: Call, _answer: Answer) -> bytes:
    vector = [0.25] * DIMENSIONS
    given = call.body["inputs"]
    return msgspec.json.encode(vector if isinstance(given, str) else [vector for _ in given])


FEATURES = Api(_read, _body, None, failure, BROKEN, tells_usage=False)
