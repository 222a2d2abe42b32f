"""The process that listens: uvicorn around the application, with limits on what connections may take of it."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.connections_per_address import Connections, Listening, RequestsPerAddress
from budgeted.http_server.request_deadlines import protocol_of

GRACE_SECONDS = 10
"""How long requests under way may take when the server is told to stop."""

KEPT_SECONDS = 75
"""How long an unused connection is kept: longer than clients keep theirs."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""


def listen(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at each of a host's addresses.

    Raises:
        OSError: the host is not known, or its port is taken.
    """
    found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listening: list[socket.socket] = []
    try:
        for family, _, _, _, address in dict.fromkeys(found):
            listening.append(socket.create_server(address[:2], family=family, backlog=BACKLOG))
    except BaseException:
        for one in listening:
            one.close()
        raise
    return listening


class HTTPServer:
    """A server of an application, on sockets that listen already.

    It reads HTTP by h11 and runs on asyncio's own loop, whatever else is installed: the limits are of these two.

    Args:
        app: the application.
        listening: sockets that listen; the server closes them.
        limits: what connections may take.
        settings: uvicorn's, such as ``ssl_certfile``.

    Example:
        >>> server = HTTPServer(create_app(), listen("127.0.0.1", 8787), ConnectionLimits())
        >>> server.run()
    """

    def __init__(
        self, app: ASGIApp, listening: Sequence[socket.socket], limits: ConnectionLimits, **settings: Any
    ) -> None:
        connections = Connections(limits)
        self._sockets: list[socket.socket] = [Listening(one, connections) for one in listening]
        config = uvicorn.Config(
            RequestsPerAddress(app, limits.max_connections_per_address),
            loop="asyncio",
            http=protocol_of(connections),
            ws="none",
            access_log=False,
            server_header=False,
            backlog=BACKLOG,
            proxy_headers=bool(limits.trusted_proxies),
            forwarded_allow_ips=list(limits.trusted_proxies),
            timeout_graceful_shutdown=GRACE_SECONDS,
            timeout_keep_alive=KEPT_SECONDS,
            **settings,
        )
        try:
            config.load()  # certificates are read here
        except BaseException:
            for one in self._sockets:
                one.close()
            raise
        self.server = uvicorn.Server(config)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Each address and port that it listens on."""
        return [one.getsockname()[:2] for one in self._sockets]

    def run(self) -> None:
        """Serve until a signal ends it."""
        with contextlib.suppress(KeyboardInterrupt):
            self.server.run(self._sockets)
