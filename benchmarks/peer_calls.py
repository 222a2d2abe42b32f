"""What a package that limits LLM calls is asked to do here, and how its adapter says so."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import openai

MODEL = "gpt-4o"
INPUT_USD, OUTPUT_USD = 2.5e-6, 10e-6  # per token
INPUT_TOKENS, OUTPUT_TOKENS = 14, 9_900
CALL_USD = INPUT_TOKENS * INPUT_USD + OUTPUT_TOKENS * OUTPUT_USD
UNCAPPED: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
}
"""A request that leaves it to the model how much it writes, which is as much as the others ask for."""

REQUEST = {**UNCAPPED, "max_tokens": OUTPUT_TOKENS}
STREAMED = {**REQUEST, "stream": True, "stream_options": {"include_usage": True}}
ANY = 10**9


class Guarded(NamedTuple):
    """Calls under a budget.

    Attributes:
        create: sends a request, as the SDK's own function.
        spent: the USD that the package says were spent.
        known: the calls that it knows of, where that is not what was spent, divided.
        leave: sends a request for a stream and leaves it after its first chunk, where that is not done with what
            ``create`` returns.
    """

    create: Callable[..., Any]
    spent: Callable[[], float]
    known: Callable[[], int] | None = None
    leave: Callable[..., None] | None = None


class Refused(Exception):  # noqa: N818
    """For packages that leave it to the caller to refuse."""


def sdk(client: Any) -> Callable[..., Any]:
    """What sends a request."""
    create: Callable[..., Any] = client.chat.completions.create
    return create


@dataclass(frozen=True)
class Peer:
    """A package.

    Attributes:
        name: as it is called in the table.
        distribution: as it is called in the package index.
        guard: puts the calls of a client under a budget in USD.
        send: what sends a request of a client without it.
        shared: whether threads and tasks may share a budget.
        asynchronous: whether it has calls that are awaited.
        streams: whether it takes requests for streams.
        kept: whether anything of it outlives the process.
        estimated_by_caller: whether it holds what its caller says that a call may cost.
        met: where it meets a request: at the SDK's method or below it, in its HTTP transport, or on the network.
        timed_only: whether there is no SDK in it, so that nothing is raced.
    """

    name: str
    distribution: str
    guard: Callable[[Any, float], AbstractContextManager[Guarded]]
    send: Callable[[Any], Callable[..., Any]] = sdk
    shared: bool = True
    asynchronous: bool = True
    streams: bool = True
    kept: bool = False
    estimated_by_caller: bool = False
    met: Literal["sdk", "transport", "network"] = "sdk"
    timed_only: bool = False


def first_chunk(stream: Iterable[Any]) -> Any:
    """Read a stream's first chunk, and leave it."""
    first = next(iter(stream))
    close = getattr(stream, "close", None)
    if close is not None:
        close()
    return first


def around(
    client: Any,
    send: Callable[..., Any],
    spent: Callable[[], float],
    block: Callable[[], AbstractContextManager[Any]],
    record: Callable[[Any, Any], Any] = lambda *_: None,
    record_left: Callable[[Any, Any], Any] = lambda *_: None,
) -> Guarded:
    """Each call in a block of its own, and recorded there: its answer, or the first chunk of a stream that was left."""

    def create(**request: Any) -> Any:
        with block() as opened:
            answer = send(**request)
            record(opened, answer)
        return answer

    async def create_async(**request: Any) -> Any:
        with block() as opened:
            answer = await send(**request)
            record(opened, answer)
        return answer

    def leave(**request: Any) -> None:
        with block() as opened:
            record_left(opened, first_chunk(send(**request)))

    return Guarded(create_async if is_async(client) else create, spent, leave=leave)


def is_async(client: Any) -> bool:
    """Whether what a client sends is awaited."""
    return isinstance(client, openai.AsyncOpenAI)


def usd(answer: Any) -> float:
    """What an answer costs, for packages that ask their caller."""
    return float(answer.usage.prompt_tokens * INPUT_USD + answer.usage.completion_tokens * OUTPUT_USD)
