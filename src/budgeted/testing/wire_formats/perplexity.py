"""Perplexity's chat completions and search on the wire: a fee for each request comes on top of its tokens.

https://docs.perplexity.ai/api-reference/chat-completions-post and https://docs.perplexity.ai/api-reference/search-post
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import msgspec

from ..server_sent_events import DONE, Event, Role, data_event
from ..simulated_model import Answer, Call, split
from .api_interface import Api, positive, required
from .openai_chat_completions import BROKEN, failure, read_chat

RESULT = {"title": "Budgets", "url": "https://example.com/", "date": None, "snippet": "Of budgets."}


def _read(path: str, body: dict[str, Any]) -> Call:
    size = (body.get("web_search_options") or {}).get("search_context_size") or "low"
    return msgspec.structs.replace(read_chat(path, body), tier=size, by_unit=True)


def _usage(answer: Answer, part: float = 1.0) -> dict[str, Any]:
    """Return the usage of an answer, or of a part of it: what it costs is told at its end."""
    sent, made = answer.counts.input_tokens, int(answer.counts.output_tokens * part)
    cost = {
        "input_tokens_cost": 0.0,
        "output_tokens_cost": 0.0,
        "total_cost": answer.nano_usd / 1e9 if part == 1 else 0,
    }
    true = {
        "prompt_tokens": sent,
        "completion_tokens": made,
        "total_tokens": sent + made,
        "search_context_size": answer.tier,
        "cost": cost,
    }
    return {"usage": answer.shown_usage(true)} if answer.says_usage else {}


def _envelope(answer: Answer, kind: str) -> dict[str, Any]:
    named = {"id": answer.id, "object": kind, "created": answer.created, "model": answer.model}
    return named | {"citations": [RESULT["url"]], "search_results": [RESULT]}


def _choice(text: str, delta: str, finish: str | None) -> dict[str, Any]:
    message = {"role": "assistant", "content": text}
    said = {"index": 0, "message": message, "delta": {"role": "assistant", "content": delta}, "finish_reason": finish}
    return {"choices": [said]}


def _body(_call: Call, answer: Answer) -> dict[str, Any]:
    said = _choice(answer.texts[0], "", _finish(answer))
    return _envelope(answer, "chat.completion") | said | _usage(answer)


def _finish(answer: Answer) -> str:
    return "length" if answer.finish == "length" else "stop"


def _events(_call: Call, answer: Answer) -> Iterator[Event]:
    """Yield the chunks of an answer, each with all that is written so far, and with the usage so far."""
    text = ""
    for number, piece in enumerate(split(answer.texts[0], answer.pieces), 1):
        text += piece
        yield _chunk(answer, text, piece, None, number / (answer.pieces + 1), "piece")
    yield _chunk(answer, text, "", _finish(answer), 1.0, "usage")
    yield DONE


def _chunk(answer: Answer, text: str, piece: str, finish: str | None, part: float, role: Role) -> Event:
    said = _choice(text, piece, finish)
    return data_event(_envelope(answer, "chat.completion.chunk") | said | _usage(answer, part), role)


def _read_search(_path: str, body: dict[str, Any]) -> Call:
    required(body, "query", (str, list))
    return Call(api="search", model="search", body=body, writes=False, by_unit=True)


def _search_body(call: Call, answer: Answer) -> dict[str, Any]:
    results = [RESULT] * (positive(call.body, "max_results") or 10)
    return {"id": answer.id, "results": results, "server_time": None}


CHAT = Api(_read, _body, _events, failure, BROKEN)
SEARCH = Api(_read_search, _search_body, None, failure, BROKEN, tells_usage=False)
