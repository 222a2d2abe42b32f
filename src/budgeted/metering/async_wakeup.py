"""What a coroutine waits on until a thread wakes it: in asyncio's event loops, and in trio's."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable
from typing import Any, Protocol


class Bell(Protocol):
    """One coroutine listens, and any thread may ring.

    Attributes:
        now: the seconds by which the event loop measures.
    """

    now: Callable[[], float]

    def ring(self) -> None:
        """Have the coroutine go on, now or as soon as it listens.

        Raises:
            RuntimeError: its event loop is closed.
        """

    async def heard(self, seconds: float | None = None) -> None:
        """Wait until it rings, or so long; what rang before counts once."""


def bell() -> Bell:
    """A bell for the running coroutine."""
    trio = sys.modules.get("trio")
    if trio is not None and trio.lowlevel.in_trio_task():
        return _TrioBell(trio)
    return _AsyncioBell()


class _AsyncioBell:
    def __init__(self) -> None:
        import asyncio  # by whom the coroutine is run, so that it is loaded already

        self._loop = asyncio.get_running_loop()
        self._rung = asyncio.Event()
        self._timeout = asyncio.timeout
        self.now = self._loop.time

    def ring(self) -> None:
        self._loop.call_soon_threadsafe(self._rung.set)

    async def heard(self, seconds: float | None = None) -> None:
        if seconds is None:
            await self._rung.wait()
        else:
            with contextlib.suppress(TimeoutError):
                # Not wait_for: before Python 3.12 it forgets a cancellation that comes with the wake-up.
                async with self._timeout(seconds):
                    await self._rung.wait()
        self._rung.clear()


class _TrioBell:
    def __init__(self, trio: Any) -> None:
        self.now = trio.lowlevel.current_clock().current_time  # not trio.current_time: threads ask, too
        self._trio = trio
        self._token = trio.lowlevel.current_trio_token()
        self._rung = trio.Event()

    def ring(self) -> None:
        self._token.run_sync_soon(self._set)

    def _set(self) -> None:
        self._rung.set()

    async def heard(self, seconds: float | None = None) -> None:
        if seconds is None:
            await self._rung.wait()
        else:
            with self._trio.move_on_after(seconds):
                await self._rung.wait()
        self._rung = self._trio.Event()
