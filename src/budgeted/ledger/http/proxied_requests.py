"""Requests through the proxy that the environment names, by a library that knows how each kind is spoken to."""

from __future__ import annotations

from collections.abc import Mapping

import httpx2

from budgeted.ledger.http.sent_once import CONNECT_SECONDS, KEPT_SECONDS, MOST_KEPT, ClosedError, UnconnectedError


class ProxiedRequests:
    """Sends requests to one server through a proxy. Thread-safe.

    Args:
        base: the server's URL.
        headers: sent with every request.
    """

    def __init__(self, base: str, headers: Mapping[str, str]) -> None:
        self._base = base
        self._closed = False
        self._client = httpx2.Client(
            headers=headers,
            limits=httpx2.Limits(
                max_connections=None, max_keepalive_connections=MOST_KEPT, keepalive_expiry=KEPT_SECONDS
            ),
            auth=_no_auth,  # else a netrc file's would replace the token
        )

    def ask(self, target: str, body: bytes | None, headers: Mapping[str, str], seconds: float) -> tuple[int, bytes]:
        """Send a request, once, as :class:`~budgeted.ledger.http.sent_once.Connections` has it."""
        if self._closed:
            raise ClosedError
        timeout = httpx2.Timeout(seconds, connect=min(seconds, CONNECT_SECONDS))
        try:
            answer = self._client.request(
                "GET" if body is None else "POST",
                self._base + target,
                content=body,
                headers=headers,
                timeout=timeout,
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout, httpx2.InvalidURL) as error:
            raise UnconnectedError(str(error)) from error
        except httpx2.TimeoutException as error:
            raise TimeoutError(str(error)) from error
        except httpx2.TransportError as error:
            raise OSError(str(error)) from error
        return answer.status_code, answer.content

    def close(self) -> None:
        """Close the connections."""
        self._closed = True
        self._client.close()

    def forget(self) -> None:
        """Leave them to the parent; they may be in use there, and locked."""


def _no_auth(request: httpx2.Request) -> httpx2.Request:
    """Leave a request's headers as they are."""
    return request
