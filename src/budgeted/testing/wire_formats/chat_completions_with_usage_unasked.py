"""Chat completions of Together, Fireworks, Cerebras, Z.ai and OpenRouter: OpenAI's, whose streams tell usage unasked.

https://docs.together.ai/docs/inference/chat/streaming, https://docs.fireworks.ai/api-reference/post-chatcompletions,
https://inference-docs.cerebras.ai/api-reference/chat-completions,
https://docs.z.ai/api-reference/llm/chat-completion and https://openrouter.ai/docs/use-cases/usage-accounting
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..server_sent_events import DONE, Event, data_event
from ..simulated_model import Answer, Call
from .api_interface import Api
from .openai_chat_completions import BROKEN, chat_body, chat_events, failure, read_chat, usage


def _read(path: str, body: dict[str, Any]) -> Call:
    return msgspec.structs.replace(read_chat(path, body), usage_asked=False)


def _events(call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the chunks of an answer, whose last has a choice and the usage."""
    return chat_events(call, answer, {"usage": answer.shown_usage(usage(answer))} if answer.says_usage else {})


def _routed_body(call: Call, answer: Answer) -> dict[str, Any]:
    return chat_body(call, answer) | _routed_usage(answer)


def _routed_usage(answer: Answer) -> dict[str, Any]:
    """Return OpenRouter's usage, which tells what the answer costs, in credits of a USD each."""
    true = usage(answer) | {"cost": answer.nano_usd / 1e9, "is_byok": False}
    return {"usage": answer.shown_usage(true)} if answer.says_usage else {}


def _routed_events(call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the chunks of an answer, and one with the usage that has a choice of its own."""
    for event in chat_events(call, answer):
        if event is DONE and answer.says_usage:
            delta = {"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}
            named = {"id": answer.id, "object": "chat.completion.chunk", "created": answer.created}
            said = {"model": answer.model, "choices": [delta]} | _routed_usage(answer)
            yield data_event(named | said, "usage")
        yield event


CHAT = Api(_read, chat_body, _events, failure, BROKEN)
OPENROUTER = Api(_read, _routed_body, _routed_events, failure, BROKEN)
