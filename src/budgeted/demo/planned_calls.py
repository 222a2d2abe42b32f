"""What is called in the race: every call of it is known beforehand, from its number and the seed."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator
from typing import Final, TypeAlias

import msgspec

MODEL: Final = "gpt-4o-mini"
MOST_OUTPUT: Final = 800
"""The output cap of each call, in tokens: it is what is held for."""

ANSWER, STREAM, LEFT = "answer", "stream", "abandoned stream"
KINDS: Final = (ANSWER, STREAM, LEFT)
EVERYBODY: Final = "everybody"
USERS: Final = ("alice", "bob")
LIMITS: Final = {EVERYBODY: "0.04", "alice": "0.012"}
"""USD for ever. Bob has no limit of his own."""

STARTS: Final = 3
"""How many processes there are in all: two, and the one that is started again."""

CALLS: Final = 100
"""The calls of each."""

SECONDS: Final = 2.0
"""How long a process takes for its calls, about, if none is refused, however many threads it has."""


class PlannedCall(msgspec.Struct, frozen=True):
    """One call.

    Attributes:
        number: which it is, from 0.
        kind: one of :data:`KINDS`.
        user: who pays.
        body: the request's.
        simulate: how the simulated provider is told to answer it.
    """

    number: int
    kind: str
    user: str
    body: dict[str, object]
    simulate: str

    @property
    def name(self) -> str:
        """What the call is known by, on the bill and in the ledger: it has an account of its own."""
        return f"call-{self.number}"


Usage: TypeAlias = tuple[int, int]
"""The input and output tokens that an answer says were used."""

Send: TypeAlias = "Callable[[str, PlannedCall], Usage | None]"
"""Sends a call to a base URL, by whatever client; gives what the answer says it used, None if that was not read."""


class Race(msgspec.Struct, frozen=True):
    """What all processes of a race are told.

    Attributes:
        url: the provider's, as OpenAI's clients take it.
        ledger: the directory of the budgets; "" for a race without them, by counters.
        threads: of each process.
        seed: which calls are made.
    """

    url: str
    ledger: str
    threads: int
    seed: int

    def calls_of(self, start: int) -> Iterator[PlannedCall]:
        """The calls of one process: the first, the second, or the one that is started again."""
        return (self.call(number) for number in range(start * CALLS, (start + 1) * CALLS))

    def call(self, number: int) -> PlannedCall:
        """One call."""
        kind = KINDS[number % len(KINDS)]
        name = f"call-{number}"
        drawn = zlib.crc32(f"{self.seed}:{number}".encode())
        simulate: dict[str, object] = {
            "output_tokens": 300 + drawn % 400,
            "latency": SECONDS * self.threads / CALLS * (0.5 + (drawn >> 9) % 1000 / 1000),
        }
        body: dict[str, object] = {
            "model": MODEL,
            "messages": [{"role": "user", "content": f"Tell me about the number {number}."}],
            "max_completion_tokens": MOST_OUTPUT,
            "user": name,
        }
        if kind != ANSWER:
            body |= {"stream": True, "stream_options": {"include_usage": True}}
        if kind == LEFT:
            simulate["gate_after"] = 2  # it is left for certain before it is through
        user = USERS[(drawn >> 20) % len(USERS)]
        return PlannedCall(number, kind, user, body, msgspec.json.encode(simulate).decode())
