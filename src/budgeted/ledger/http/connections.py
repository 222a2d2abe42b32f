"""Requests to one server: deadlines, and retries of what may be asked twice."""

from __future__ import annotations

import secrets
import time
import weakref
from collections.abc import Callable, Mapping
from urllib.parse import SplitResult, urlsplit

from budgeted.errors import LedgerError
from budgeted.ledger.http.sent_once import ClosedError, Connections, UnconnectedError
from budgeted.system import jitter

BUSY = (502, 503, 504)
"""Statuses of a gateway whose server is away for a moment."""

ONCE = "idempotency-key"
"""The header by which a server knows a request that it has answered already."""

AGAIN = "idempotency-repeat"
"""The header, ``true``, of a request that may have been done already: a server that does not know its key refuses."""


class Channel:
    """Asks one server, again and again if need be. Thread-safe.

    Args:
        base: the URL that paths are appended to.
        headers: sent with every request.

    Raises:
        LedgerError: a package that this needs is not installed.
    """

    errors: tuple[type[Exception], ...] = (OSError,)

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        self._base, self._headers = urlsplit(base), dict(headers)
        self._connect()

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
            ClosedError: the connections were closed.
            OSError: what the last attempt failed with.
        """
        headers = {} if once is None else {ONCE: once}
        pause, allowed = 0.02, deadline - time.monotonic()
        while True:
            left = deadline - time.monotonic()
            # Half of the time, so that a server that went silent leaves some for another attempt.
            seconds = max(left if left < allowed / 4 else allowed / 2, 0.001)
            try:
                status, content = self._connections.ask(path, body, headers, seconds)
                if status not in BUSY or _is_ours(content) or not _wait(pause, deadline):
                    return status, content
                sent = True
            except ClosedError:
                raise
            except OSError as error:
                sent = not isinstance(error, UnconnectedError)
                if not _wait(pause, deadline):
                    if isinstance(error.__cause__, TimeoutError):
                        raise TimeoutError(str(error)) from error
                    raise
            if sent and once is not None:
                headers[AGAIN] = "true"
            if sent and lost is not None:
                lost()
            pause = min(2 * pause, 1.0)

    def close(self) -> None:
        """Close the connections, for good."""
        self._dropped()

    def forget(self) -> None:
        """Leave the connections to the parent, in a forked child."""
        self._dropped.detach()
        self._connections.forget()
        self._connect()

    def _connect(self) -> None:
        self._connections = connections_to(self._base, self._headers)
        # Who drops a ledger without closing it leaves no open socket behind either.
        self._dropped = weakref.finalize(self, self._connections.close)
        self._dropped.atexit = False  # a process that ends has none


def new_key() -> str:
    """A key for a request that must be done once."""
    return secrets.token_hex(16)


def connections_to(base: SplitResult, headers: Mapping[str, str]) -> Connections:
    """What sends requests to a server.

    Args:
        base: its URL.
        headers: sent with every request.

    Raises:
        LedgerError: it needs a package that is not installed. Other ledgers do not need it.
    """
    try:
        if _has_proxy(base):
            from budgeted.ledger.http.proxied_requests import ProxiedRequests

            return ProxiedRequests(base.geturl(), headers)
        from budgeted.ledger.http.kept_connections import KeptConnections

        if base.scheme == "http":
            return KeptConnections(base, headers, None)
        import httpx2

        # The system's own authorities, wherever it has them; SSL_CERT_FILE and SSL_CERT_DIR name others.
        return KeptConnections(base, headers, httpx2.create_ssl_context)
    except ImportError as error:
        msg = "ledgers behind a URL need HTTP libraries: pip install 'budgeted[http]'"
        raise LedgerError(msg) from error


def _has_proxy(base: SplitResult) -> bool:
    """Whether the environment, or the system's settings, name a proxy for a URL."""
    from urllib.request import getproxies, proxy_bypass  # which loads much that other ledgers do not need

    proxies = getproxies()
    named = proxies.get(base.scheme) or proxies.get("all")
    return bool(named) and not proxy_bypass(base.netloc)


def _is_ours(content: bytes) -> bool:
    """Whether a server of this package tells that its ledger is away: it has waited for it already."""
    return content[:10] == b'{"error":{'


def _wait(pause: float, deadline: float) -> bool:
    """Wait a moment before the next attempt; False if there is no time for one."""
    # At random: clients that lost the same server do not all come back at the same instant.
    pause *= jitter.between(0.5, 1.0)
    if time.monotonic() + pause >= deadline:
        return False
    time.sleep(pause)
    return True
