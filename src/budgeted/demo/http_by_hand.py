"""A call of the race by the standard library's own HTTP client: no SDK is needed, and none is needed to meter it."""

from __future__ import annotations

import http.client
from typing import Final
from urllib.parse import urlsplit

import msgspec

from budgeted.demo.planned_calls import ANSWER, LEFT, PlannedCall, Usage
from budgeted.testing.scripted_reply import HEADER

SECONDS: Final = 60.0
"""How long an answer may take."""


class _Tokens(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class _Answer(msgspec.Struct):
    """Of an answer, or of a piece of one, what is of interest here."""

    usage: _Tokens | None = None


def send(url: str, call: PlannedCall) -> Usage | None:
    """Make one call, read its answer, or leave it, and say what it used.

    Raises:
        OSError, http.client.HTTPException: the provider does not answer.
        RuntimeError: it refuses.
    """
    where = urlsplit(url)
    connection = http.client.HTTPConnection(where.netloc, timeout=SECONDS)
    try:
        headers = {"content-type": "application/json", HEADER: call.simulate}
        connection.request("POST", f"{where.path}/chat/completions", msgspec.json.encode(call.body), headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            msg = f"the simulated provider answered {response.status} to {call.name}: {response.read(500)!r}"
            raise RuntimeError(msg)
        if call.kind == LEFT:
            response.readline()
            return None
        return _used(response, streamed=call.kind != ANSWER)
    finally:
        connection.close()


def _used(response: http.client.HTTPResponse, *, streamed: bool) -> Usage | None:
    pieces = [line[6:] for line in response if line[:7] == b"data: {"] if streamed else [response.read()]
    answers = [msgspec.json.decode(piece, type=_Answer) for piece in pieces]
    tokens = next((answer.usage for answer in answers if answer.usage is not None), None)
    return None if tokens is None else (tokens.prompt_tokens, tokens.completion_tokens)
