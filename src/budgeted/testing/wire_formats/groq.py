"""Groq's chat completions on the wire: OpenAI's, whose streams say their usage in the last chunk's `x_groq`.

https://console.groq.com/docs/api-reference#chat-create
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..server_sent_events import Event
from ..simulated_model import Answer, Call
from .api_interface import Api
from .openai_chat_completions import BROKEN, chat_body, chat_events, failure, read_chat, usage


def _read(path: str, body: dict[str, Any]) -> Call:
    return msgspec.structs.replace(read_chat(path, body), usage_asked=False)


def _events(call: Call, answer: Answer) -> Iterator[Event]:
    said = {"usage": answer.shown_usage(usage(answer))} if answer.says_usage else {}
    return chat_events(call, answer, {"x_groq": {"id": answer.id, **said}})


CHAT = Api(_read, chat_body, _events, failure, BROKEN)
