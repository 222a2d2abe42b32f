"""A request as it goes to an upstream, whatever sends it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from typing import TypeAlias

import msgspec

Sign: TypeAlias = "Callable[[Outgoing], list[tuple[str, str]]]"
"""Gives the headers of a request, with a signature of it among them."""


class Outgoing(msgspec.Struct, frozen=True):
    """A request as it goes to an upstream.

    Args:
        method: of HTTP.
        origin: where it goes: the scheme and the host.
        target: its path, as it is sent.
        query: what is behind the path, with the question mark; "" for nothing.
        headers: all but those that the client makes.
        body: what is sent; None for nothing.
        sign: makes its headers, with a signature of all the rest; None where nothing is signed.
    """

    method: str
    origin: str
    target: str
    query: str
    headers: list[tuple[str, str]]
    body: bytes | AsyncIterator[bytes] | None
    sign: Sign | None = None

    def __repr__(self) -> str:
        return f"<{self.method} {self.origin}{self.target}>"  # whoever shows a crash shows no key
