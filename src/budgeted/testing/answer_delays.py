"""What an answer waits for before it goes on: so many seconds, a gate, a release."""

from __future__ import annotations

import asyncio
import threading

from .http_connection import Connection
from .provider_state import State


class Pauses:
    """The waits of one answer, each of which also ends when the client leaves.

    Args:
        state: The provider's state.
        connection: The client's connection.
    """

    def __init__(self, state: State, connection: Connection) -> None:
        self._state = state
        self._connection = connection
        self._is_done = False

    async def for_seconds(self, seconds: float) -> None:
        """Wait so long."""
        self._is_done = False
        timer = asyncio.get_running_loop().call_later(seconds, self._done)
        await self._connection.until(lambda: self._is_done)
        timer.cancel()

    async def for_gate(self, gate: threading.Event) -> None:
        """Wait until an event is set by another thread."""
        loop = asyncio.get_running_loop()

        def watch() -> None:
            gate.wait()
            if not loop.is_closed():  # the test may be over before its gate opens
                loop.call_soon_threadsafe(self._done)

        self._is_done = False
        threading.Thread(target=watch, daemon=True, name="simulated-provider-gate").start()
        with self._state.activity.parking():
            await self._connection.until(lambda: self._is_done)

    def _done(self) -> None:
        self._is_done = True
        self._connection.wake()

    async def for_release(self) -> bool:
        """Wait for the next release; return whether the client is still there."""
        releases = self._state.releases
        with self._state.activity.parking():
            return await self._connection.until(lambda: self._state.releases > releases)
