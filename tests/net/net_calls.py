"""What a call is that no SDK's hook sees, and the list that such calls are put into."""

from __future__ import annotations

import asyncio
import inspect
import json
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from budgeted.testing import SimulatedProvider

QUESTION = "Name a city."
MESSAGES: list[Any] = [{"role": "user", "content": QUESTION}]
MAX_TOKENS = 1000
"""So many of the cheapest model asked cost more than the smallest limit of a test, 0.0001 USD; an answer has fewer."""
ANY = "any"
"""What is given for a key, which the simulated provider does not look at."""


class NetCall(NamedTuple):
    """One way of calling a provider.

    Attributes:
        name: what it is called in the name of a test: the library, and how it is called.
        purpose: chat, completion, embeddings, rerank, search or speech.
        provider: whose prices apply, as genai-prices names it; None if it has none of this provider.
        model: the model asked for.
        ask: makes the call, and returns the text of the answer (of what is not text, as text); a coroutine function
            if it is awaited.
        streams: whether the answer is read piece by piece.
        tells: whether the answer tells what it used, so that it can be charged exactly.
    """

    name: str
    purpose: str
    provider: str | None
    model: str
    ask: Callable[[SimulatedProvider], Any]
    streams: bool
    tells: bool

    @property
    def asynchronous(self) -> bool:
        """Whether the call is awaited."""
        return inspect.iscoroutinefunction(self.ask)

    def run(self, provider: SimulatedProvider) -> str:
        """Make the call, in an event loop of its own if it is awaited; return the text of the answer."""
        answer = self.ask(provider)
        return str(asyncio.run(answer)) if self.asynchronous else str(answer)


class NetCalls(list[NetCall]):
    """Ways of calling providers."""

    def of(
        self, provider: str | None, model: str, purpose: str = "chat", *, tells: bool = True
    ) -> Callable[[Callable[[SimulatedProvider], Any]], Callable[[SimulatedProvider], Any]]:
        """Add the function below as a way of calling this model, under its own name.

        A function whose name has "stream" in it reads a stream.
        """

        def add(ask: Callable[[SimulatedProvider], Any]) -> Callable[[SimulatedProvider], Any]:
            self.append(NetCall(ask.__name__, purpose, provider, model, ask, "stream" in ask.__name__, tells))
            return ask

        return add


def text_of(answer: Any) -> str:
    """The text of a chat completion, as an SDK's object."""
    return str(answer.choices[0].message.content)


def text_of_chunks(chunks: Iterable[Any]) -> str:
    """The text of the chunks of a chat completion, as an SDK's objects."""
    return "".join(map(_piece, chunks))


async def text_of_awaited_chunks(chunks: Any) -> str:
    """The same of chunks that are awaited one by one."""
    return "".join([_piece(chunk) async for chunk in chunks])


def _piece(chunk: Any) -> str:
    return str(chunk.choices[0].delta.content or "") if chunk.choices else ""


def text_of_json(body: bytes | str) -> str:
    """The text of a chat completion, as it is on the wire."""
    return str(json.loads(body)["choices"][0]["message"]["content"])


def text_of_lines(lines: Iterable[bytes | str]) -> str:
    """The text of a streamed chat completion, as its lines are on the wire."""
    text = ""
    for line in lines:
        _, found, data = (line if isinstance(line, str) else line.decode()).partition("data: ")
        if found and not data.startswith("[DONE]"):
            for choice in json.loads(data)["choices"]:
                text += choice["delta"].get("content") or ""
    return text
