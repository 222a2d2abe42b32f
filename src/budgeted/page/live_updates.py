"""What is looked at, again and again, for as long as somebody looks: as server-sent events.

Each event is the main part of the page as it is now, sent when it has changed. A stream ends by itself after a while,
and the browser asks again: so it never outlives the time that a server gives to an answer, and a laptop that slept
catches up. https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import anyio
import msgspec

SECONDS = 40.0
"""How long a stream goes on: less than a server gives to an answer."""

PAUSE = 1.0
"""Seconds between two looks, at least."""

SHARE = 20
"""Of the time, a look takes one part in so many at most: what takes long is looked at less often."""

STEP = 0.25
"""How soon a stream notices that its server ends."""

MOST = 200
"""Streams at once."""

AGAIN = b"retry: 1000\n\n"
"""Milliseconds after which a browser asks again."""


class Streams:
    """Counts streams, of which there may be so many."""

    def __init__(self) -> None:
        self.open = 0

    async def events(self, look: Callable[[], Awaitable[str | None]], ends: Callable[[], bool]) -> AsyncIterator[bytes]:
        """The events of one stream.

        Args:
            look: the main part of the page as it is now; None where there is nothing to be seen any more.
            ends: whether the server does.
        """
        self.open += 1
        try:
            yield AGAIN
            last, until = b"", time.monotonic() + SECONDS
            while not ends() and time.monotonic() < until:
                began = time.monotonic()
                html = await look()
                if html is None:
                    return
                digest = hashlib.sha256(html.encode()).digest()
                yield b": here\n\n" if digest == last else b"data: %b\n\n" % msgspec.json.encode(html)
                last = digest
                await _pause(max(PAUSE, SHARE * (time.monotonic() - began)), ends)
        finally:
            self.open -= 1


async def _pause(seconds: float, ends: Callable[[], bool]) -> None:
    until = time.monotonic() + seconds
    while not ends() and time.monotonic() < until:  # noqa: ASYNC110 - the server that ends tells no event
        await anyio.sleep(STEP)
