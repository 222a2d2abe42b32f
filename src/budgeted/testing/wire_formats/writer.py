"""Writer's chat and completions on the wire: OpenAI's chat under a path of its own, and text whose usage is not told.

https://dev.writer.com/api-reference/completion-api/chat-completion and
https://dev.writer.com/api-reference/completion-api/text-generation
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..server_sent_events import Event, data_event
from ..simulated_model import Answer, Call, prompt_tokens, split
from .api_interface import Api, positive, required
from .openai_chat_completions import BROKEN, chat_body, chat_events, failure, read_chat

DEFAULT_MAX_TOKENS = 100


def _read_completions(_path: str, body: dict[str, Any]) -> Call:
    return Call(
        api="completions",
        model=required(body, "model", str),
        body=body,
        stream=bool(body.get("stream")),
        cap=positive(body, "max_tokens") or DEFAULT_MAX_TOKENS,
        choices=positive(body, "best_of") or 1,
        input_tokens=max(1, prompt_tokens(required(body, "prompt", str))),
    )


def _completions_body(_call: Call, answer: Answer) -> dict[str, Any]:
    return {"choices": [{"text": text, "log_probs": None} for text in answer.texts[:1]], "model": answer.model}


def _completions_events(_call: Call, answer: Answer) -> Iterator[Event]:
    for piece in split(answer.texts[0], answer.pieces):
        yield data_event({"value": piece}, "piece")


CHAT = Api(read_chat, chat_body, chat_events, failure, BROKEN)
COMPLETIONS = Api(_read_completions, _completions_body, _completions_events, failure, BROKEN, tells_usage=False)
