"""What all connections of a simulated provider share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from .billing import Bill, Billed, Tariff
from .http_connection import Connection
from .scripted_reply import Behaviour, Reply, Request
from .simulated_model import Answer, Call
from .wire_formats.api_interface import Api


class Activity:
    """Counts the requests that are being answered, and those of them that are parked. Thread-safe.

    Parked is a request that goes on only after a `release()`, a gate's opening or its client's leaving.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self.busy = 0
        self.parked = 0

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Count a request as being answered meanwhile."""
        self._add(busy=1)
        try:
            yield
        finally:
            self._add(busy=-1)

    @contextmanager
    def parking(self) -> Iterator[None]:
        """Count a request as parked meanwhile."""
        self._add(parked=1)
        try:
            yield
        finally:
            self._add(parked=-1)

    def _add(self, *, busy: int = 0, parked: int = 0) -> None:
        with self._changed:
            self.busy += busy
            self.parked += parked
            self._changed.notify_all()

    def wait_parked(self, count: int, timeout: float) -> bool:
        """Wait until so many requests are parked, at most `timeout` seconds; return whether they are."""
        with self._changed:
            return self._changed.wait_for(lambda: self.parked >= count, timeout)

    def wait_idle(self, timeout: float) -> bool:
        """Wait until no request is being answered, at most `timeout` seconds; return whether that is so."""
        with self._changed:
            return self._changed.wait_for(lambda: self.busy == 0, timeout)


class Deferred(NamedTuple):
    """An answer that is there for whoever asks for it by its id.

    Attributes:
        api: The API that it is an answer of.
        call: What was asked.
        reply: How the request was answered.
        written: What the model wrote.
        billed: The call on the bill.
    """

    api: Api
    call: Call
    reply: Reply
    written: Answer
    billed: Billed


class State:
    """Prices, bill, behaviour, and who is connected.

    Args:
        tariff: Prices and largest outputs.
        bill: Where calls are booked.
        seed: What the model's wording depends on, besides the request.
    """

    def __init__(self, tariff: Tariff, bill: Bill, seed: int) -> None:
        self.tariff = tariff
        self.bill = bill
        self.seed = seed
        self.behaviour = Behaviour()
        self.activity = Activity()
        self.connections: set[Connection] = set()
        self.releases = 0
        self.deferred: dict[str, Deferred] = {}
        self._requests: list[Request] = []
        self._lock = threading.Lock()

    def saw(self, request: Request) -> None:
        """Remember a request."""
        with self._lock:
            self._requests.append(request)

    def requests(self) -> list[Request]:
        """Return all requests, oldest first."""
        with self._lock:
            return list(self._requests)

    def reset(self) -> None:
        """Forget the requests, the bill and the behaviour."""
        with self._lock:
            self._requests.clear()
        self.deferred.clear()
        self.bill.clear()
        self.behaviour.reset()

    def release(self) -> None:
        """Let the requests go on that are parked now. To be called in the event loop."""
        self.releases += 1
        for connection in self.connections:
            connection.wake()
