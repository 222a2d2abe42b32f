"""Hearing from the server when it is the turn of this process's calls that wait, rather than at their next look.

A process listens to a channel of its own while calls of it wait. The server keeps, for each account, the processes that
wait for it in the order in which they came, and tells the first when there may be room. A message may be lost: who
waits still looks by itself, now and then.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
import weakref
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from budgeted.ledger.redis.connection import Client, Commands

logger = logging.getLogger("budgeted")

LOOKS = 0.5
"""Seconds after which the thread that listens looks whether anybody waits still."""

IDLE = 10.0
"""Seconds for which it listens on when nobody does."""

AGAIN = 5.0
"""Seconds after which it is tried again to listen, where that went wrong."""


class Waits(Protocol):
    """Whoever has calls that wait."""

    def turn_came(self, account: str) -> None:
        """It may be their turn on an account."""

    def stopped_listening(self) -> None:
        """They have to look by themselves from now on."""

    def waits(self) -> bool:
        """Whether any call waits."""


class TurnMessages:
    """Listens to a channel, in a thread of its own that there is only while calls wait.

    Args:
        client: whose server is listened to; None for one that cannot tell it who listens.
        channel: of this process alone.
        errors: exceptions of the client.
        waits: who is told; kept weakly, so that a ledger that is dropped ends the thread.

    Attributes:
        listening: whether messages are heard just now.
    """

    def __init__(
        self, client: Client | None, channel: bytes, errors: tuple[type[Exception], ...], waits: Waits
    ) -> None:
        self._client, self._channel = client, channel
        self._errors: tuple[type[Exception], ...] = (*errors, AttributeError, RuntimeError)
        self._waits = weakref.ref(waits)
        self._beginning = threading.Lock()
        self._try_from = 0.0
        self._thread: threading.Thread | None = None
        self._stopping = False
        self.listening = False

    def listen(self) -> bool:
        """Have messages heard from now on. Returns whether they are."""
        if self.listening or self._stopping or self._client is None or time.monotonic() < self._try_from:
            return self.listening
        if self._beginning.acquire(blocking=False):  # who comes meanwhile looks by itself this time
            try:
                self._begin(self._client)
            finally:
                self._beginning.release()
        return self.listening

    def _begin(self, client: Client) -> None:
        pubsub: Any = None
        self._try_from = time.monotonic() + AGAIN
        try:
            pubsub = client.pubsub()  # type: ignore[no-untyped-call, unused-ignore]
            pubsub.subscribe(self._channel)
            if pubsub.get_message(timeout=AGAIN) is None:
                msg = "it did not confirm that it is listened to"
                raise OSError(msg)
            self._thread = threading.Thread(target=self._hear, args=(pubsub,), name="budgeted-turns", daemon=True)
            self.listening = True  # first: the thread may end at once
            try:
                self._thread.start()
            except BaseException:
                self.listening = False
                raise
        except self._errors as error:  # an AttributeError or RuntimeError: no channels there, or no thread to be had
            logger.debug("budgeted: calls that wait ask Redis again and again, as it is not listened to: %s", error)
        finally:
            if pubsub is not None and not self.listening:
                _close(pubsub)

    def _hear(self, pubsub: Any) -> None:
        try:
            until = time.monotonic() + IDLE
            while not self._stopping and time.monotonic() < until:
                message = pubsub.get_message(timeout=LOOKS)
                waits = self._waits()
                if waits is None:
                    break
                if waits.waits():
                    until = time.monotonic() + IDLE
                if message and message["type"] == "message" and message["data"]:
                    waits.turn_came(_text(message["data"]))
                del waits
        except Exception as error:  # noqa: BLE001 - whatever it is, they have to look by themselves
            logger.debug("budgeted: Redis is not listened to any more: %s", error)
        finally:
            self.listening = False
            _close(pubsub)
            self._try_from = 0.0
            if (waits := self._waits()) is not None:
                waits.stopped_listening()

    def stop(self) -> None:
        """Listen no more, and wait until that is so."""
        self._stopping = True
        thread = self._thread
        if self._client is None or thread is None or not thread.is_alive():
            return
        commands: Commands = self._client
        with contextlib.suppress(*self._errors):  # else it finds out by itself
            commands.execute_command("PUBLISH", self._channel, b"")
        if thread is not threading.current_thread():
            thread.join(2 * LOOKS)


def _close(pubsub: Any) -> None:
    with contextlib.suppress(Exception):  # of a connection that is gone
        pubsub.close()


def _text(data: str | bytes) -> str:
    """What was told; of a client that decodes, it is text already."""
    return data if isinstance(data, str) else data.decode()
