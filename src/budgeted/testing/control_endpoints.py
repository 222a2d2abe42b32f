"""The endpoints by which a simulated provider in another process is steered and read.

GET `/__bill`, `/__requests`, and `/__wait?parked=N&timeout=S`, which answers once N requests are parked or (without N)
none is being answered; POST `/__reset`, `/__release`, and `/__reply` with an `Instruction`.
"""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import parse_qsl

import msgspec

from .http_connection import come_in
from .provider_state import State
from .scripted_reply import Reply

PREFIX = "/__"


class Instruction(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    """The body of `/__reply`.

    Attributes:
        usual: How every request is answered which nothing else decides about.
        queue: How the next requests are answered.
    """

    usual: Reply | None = None
    queue: list[Reply] = []


async def control(state: State, method: str, path: str, content: bytes) -> Any:
    """Do what a request to one of these endpoints asks for, and return the JSON value that answers it.

    Raises:
        LookupError: There is no such endpoint.
        ValueError: Its body or query is wrong.
    """
    name, _, query = path.removeprefix(PREFIX).partition("?")
    if (method, name) == ("GET", "bill"):
        return state.bill.calls()
    if (method, name) == ("GET", "requests"):
        return state.requests()
    if (method, name) == ("GET", "wait"):
        return await _wait(state, **{key: float(value) for key, value in parse_qsl(query)})
    if (method, name) == ("POST", "reset"):
        return state.reset()
    if (method, name) == ("POST", "release"):
        return state.release()
    if (method, name) == ("POST", "reply"):
        return _instruct(state, msgspec.json.decode(content, type=Instruction))
    raise LookupError(f"no such endpoint: {method} {path}")


async def _wait(state: State, parked: float = 0, timeout: float = 10) -> bool:  # noqa: ASYNC109 - of the query
    if parked:
        return await asyncio.to_thread(state.activity.wait_parked, int(parked), timeout)
    await come_in()
    return await asyncio.to_thread(state.activity.wait_idle, timeout)


def _instruct(state: State, instruction: Instruction) -> None:
    if instruction.usual is not None:
        state.behaviour.always(instruction.usual)
    state.behaviour.once(*instruction.queue)
