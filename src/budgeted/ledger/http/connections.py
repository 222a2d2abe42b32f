"""Requests to one server: kept-alive connections, deadlines, and retries of what may be asked twice."""

from __future__ import annotations

import secrets
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import TYPE_CHECKING

from budgeted.errors import LedgerError
from budgeted.system import jitter

if TYPE_CHECKING:
    import httpx2


CONNECT_SECONDS = 2.0
"""How long one attempt may take to connect."""

BUSY = (502, 503, 504)
"""Statuses of a gateway whose server is away for a moment."""

KEPT_SECONDS = 30.0
"""How long an unused connection is kept: less than the server keeps its end."""

ONCE = "idempotency-key"
"""The header by which a server knows a request that it has answered already."""

AGAIN = "idempotency-repeat"
"""The header, ``true``, of a request that may have been done already: a server that does not know its key refuses."""


class Channel:
    """The connections of this process to one server.

    Args:
        base: the URL that paths are appended to.
        headers: sent with every request.
    """

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        httpx = library()
        self._base = base
        self._lock = threading.Lock()
        self._client: httpx2.Client | None = None
        self._closed = False
        self._dropped: weakref.finalize[[], Channel] | None = None
        self._headers = dict(headers)
        self.errors: tuple[type[Exception], ...] = (httpx.TransportError, httpx.InvalidURL, OSError)

    def post(
        self,
        path: str,
        body: bytes,
        deadline: float,
        *,
        once: str | None = None,
        lost: Callable[[], object] | None = None,
    ) -> tuple[int, bytes]:
        """Send a request, again if its answer is lost, until there is one or the deadline has come.

        Args:
            path: appended to the base URL.
            body: JSON.
            deadline: ``time.monotonic()`` by which there must be an answer.
            once: a key by which the server knows a request that it has answered already.
            lost: called for an attempt that had no answer, though the server may have it, or get it after the next.

        Returns:
            The status and the body of the answer.

        Raises:
            TimeoutError: nothing answered in time.
            Exception: one of :attr:`errors`, that of the last attempt.
        """
        httpx = library()
        headers = {} if once is None else {ONCE: once}
        pause, allowed = 0.02, deadline - time.monotonic()
        while True:
            left = deadline - time.monotonic()
            # Half of the time, so that a server that went silent leaves some for another attempt.
            seconds = max(left if left < allowed / 4 else allowed / 2, 0.001)
            try:
                answer = self._connected().post(
                    self._base + path,
                    content=body,
                    headers=headers,
                    timeout=httpx.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS)),
                )
                if answer.status_code not in BUSY or _is_ours(answer) or not _wait(pause, deadline):
                    return answer.status_code, answer.content
                sent = True
            except httpx.TransportError as error:
                sent = not isinstance(error, _unsent(httpx))
                if not _wait(pause, deadline):
                    if isinstance(error, httpx.TimeoutException):
                        raise TimeoutError from error
                    raise
            if sent and once is not None:
                headers[AGAIN] = "true"
            if sent and lost is not None:
                lost()
            pause = min(2 * pause, 1.0)

    def close(self) -> None:
        """Close the connections, for good."""
        with self._lock:
            self._closed = True
            self._client = None
            dropped = self._dropped
        if dropped is not None:
            dropped()

    def forget(self) -> None:
        """Leave the connections to the parent, in a forked child."""
        # A new lock, too: the old one may be held by a thread that only the parent has.
        self._lock = threading.Lock()
        self._client = None
        if self._dropped is not None:
            self._dropped.detach()

    def _connected(self) -> httpx2.Client:
        client = self._client
        if client is None:
            # Looked at again under the lock: two threads may have come here at once.
            with self._lock:
                client = self._client
                if client is None:
                    if self._closed:
                        msg = "the connections were closed"
                        raise OSError(msg)
                    httpx = library()
                    client = self._client = httpx.Client(
                        headers=self._headers,
                        limits=httpx.Limits(
                            max_connections=None, max_keepalive_connections=64, keepalive_expiry=KEPT_SECONDS
                        ),
                        auth=no_auth,  # else a netrc file's would replace the token
                    )
                    # Who drops a ledger without closing it leaves no open socket behind either.
                    self._dropped = weakref.finalize(self, client.close)
                    self._dropped.atexit = False  # a process that ends has none
        return client


def new_key() -> str:
    """A key for a request that must be done once."""
    return secrets.token_hex(16)


def library() -> ModuleType:
    """The HTTP library, which is not needed by other ledgers.

    Raises:
        LedgerError: it is not installed.
    """
    try:
        import httpx2
    except ImportError as error:
        msg = "ledgers behind a URL need an HTTP library: pip install 'budgeted[http]'"
        raise LedgerError(msg) from error
    return httpx2


def _unsent(httpx: ModuleType) -> tuple[type[Exception], ...]:
    """What a request fails with before any of it is sent."""
    return httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout


def no_auth(request: httpx2.Request) -> httpx2.Request:
    """Leave a request's headers as they are."""
    return request


def _is_ours(answer: httpx2.Response) -> bool:
    """Whether a server of this package tells that its ledger is away: it has waited for it already."""
    return answer.content[:10] == b'{"error":{'


def _wait(pause: float, deadline: float) -> bool:
    """Wait a moment before the next attempt; False if there is no time for one."""
    # At random: clients that lost the same server do not all come back at the same instant.
    pause *= jitter.between(0.5, 1.0)
    if time.monotonic() + pause >= deadline:
        return False
    time.sleep(pause)
    return True
