"""Ollama's chat, completions and embeddings on the wire: streams are lines of JSON.

https://docs.ollama.com/api/chat, https://docs.ollama.com/api/generate and https://docs.ollama.com/api/embed
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from ..server_sent_events import Event, Role
from ..simulated_model import Answer, Call, prompt_tokens, schema_tokens, split
from .api_interface import Api, required
from .openai_chat_completions import functions
from .openai_embeddings_images_audio import DIMENSIONS

_LINES = "application/x-ndjson"


def failure(_status: int, message: str) -> dict[str, Any]:
    """Return the body of an error."""
    return {"error": message}


def _line(payload: dict[str, Any], role: Role = "frame") -> Event:
    return Event(msgspec.json.encode(payload) + b"\n", role)


BROKEN = _line(failure(500, "an error was encountered while running the model"))


def _read(api: str, body: dict[str, Any], prompt: Any, messages: int) -> Call:
    cap = (body.get("options") or {}).get("num_predict")
    tools = {tool["function"]["name"]: tool["function"].get("parameters") for tool in functions(body.get("tools"))}
    wanted = body.get("format")
    return Call(
        api=api,
        model=required(body, "model", str),
        body=body,
        stream=body.get("stream") is not False,
        cap=cap if isinstance(cap, int) and cap > 0 else None,  # -1 and -2: none
        input_tokens=max(1, prompt_tokens(prompt, messages=messages)) + schema_tokens(body.get("tools")),
        schema={"type": "object"} if wanted == "json" else wanted or None,
        tools=tools,
        thinks=bool(body.get("think")),
    )


def _read_chat(_path: str, body: dict[str, Any]) -> Call:
    messages = required(body, "messages", list)
    return _read("ollama.chat", body, messages, len(messages))


def _read_generate(_path: str, body: dict[str, Any]) -> Call:
    return _read("ollama.generate", body, [required(body, "prompt", str), body.get("system") or ""], 0)


def _envelope(answer: Answer, *, done: bool) -> dict[str, Any]:
    now = dt.datetime.fromtimestamp(answer.created, dt.UTC).isoformat().replace("+00:00", "Z")
    return {"model": answer.model, "created_at": now, "done": done}


def _end(answer: Answer) -> dict[str, Any]:
    """Return what the last part says: the reason, and the counts, which have no object of their own."""
    counts = answer.counts
    true = {"prompt_eval_count": counts.input_tokens, "eval_count": counts.output_tokens}
    shown = answer.shown_usage(true)
    reason = "length" if answer.finish == "length" else "stop"
    return {"done_reason": reason, "total_duration": 1_000, **(shown if isinstance(shown, dict) else {})}


def _message(answer: Answer, text: str) -> dict[str, Any]:
    if answer.tool is None:
        return {"message": {"role": "assistant", "content": text}}
    arguments = msgspec.json.decode(answer.texts[0]) if text else {}
    function = {"name": answer.tool.name, "arguments": arguments}
    return {"message": {"role": "assistant", "content": "", "tool_calls": [{"function": function}] if text else []}}


def _response(_answer: Answer, text: str) -> dict[str, Any]:
    return {"response": text}


def _body(part: Callable[[Answer, str], dict[str, Any]], answer: Answer) -> dict[str, Any]:
    return _envelope(answer, done=True) | part(answer, answer.texts[0]) | _end(answer)


def _events(part: Callable[[Answer, str], dict[str, Any]], answer: Answer) -> Iterator[Event]:
    # A call of a tool comes whole.
    pieces = split(answer.texts[0], answer.pieces) if answer.tool is None else iter(answer.texts)
    for piece in pieces:
        yield _line(_envelope(answer, done=False) | part(answer, piece), "piece")
    yield _line(_envelope(answer, done=True) | part(answer, "") | _end(answer), "usage")


def _read_embed(_path: str, body: dict[str, Any]) -> Call:
    given = required(body, "input", (str, list))
    tokens = max(1, prompt_tokens(given))
    return Call(api="ollama.embed", model=required(body, "model", str), body=body, input_tokens=tokens, writes=False)


def _embed_body(call: Call, answer: Answer) -> dict[str, Any]:
    given = call.body["input"]
    vectors = [[0.25] * DIMENSIONS for _ in ([given] if isinstance(given, str) else given)]
    shown = answer.shown_usage({"prompt_eval_count": answer.counts.input_tokens})
    return {"model": answer.model, "embeddings": vectors, **(shown if isinstance(shown, dict) else {})}


CHAT = Api(
    _read_chat,
    lambda _call, answer: _body(_message, answer),
    lambda _call, answer: _events(_message, answer),
    failure,
    BROKEN,
    stream_media_type=_LINES,
)
GENERATE = Api(
    _read_generate,
    lambda _call, answer: _body(_response, answer),
    lambda _call, answer: _events(_response, answer),
    failure,
    BROKEN,
    stream_media_type=_LINES,
)
EMBED = Api(_read_embed, _embed_body, None, failure, BROKEN)
