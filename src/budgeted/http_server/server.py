"""The process that listens: uvicorn's around connections of our own, with limits on what they may take of it."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import socket
import time
from collections.abc import Callable, Sequence
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from budgeted.http_server.accepting import accept_connections
from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.connections_per_address import Connections, RequestsPerAddress
from budgeted.http_server.http_connection import HTTPConnection, Served

GRACE_SECONDS = 10.0
"""How long requests under way may take when the server is told to stop."""

END_SECONDS = 5.0
"""How long they may then take to end, when they are told to."""

CLOSE_SECONDS = 1.0
"""How long connections may take to close, then: those of TLS wait for a word of the other end."""

TICK_SECONDS = 0.05
"""How often it is looked, then, whether they have ended."""

BACKLOG = 2048
"""Connections that may wait to be accepted."""

KEEPALIVE = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}
"""Seconds without a byte, seconds between probes, and how many: who goes without a word is noticed in two minutes."""

logger = logging.getLogger("uvicorn.error")


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

    It speaks HTTP/1.0 and 1.1, and runs on uvloop where that is installed.

    Args:
        app: the application. What it sends first, the head of an answer, leaves with what it sends next, be it empty.
        listening: sockets that listen; the server closes them.
        limits: what connections may take.
        grace_seconds: how long requests under way, and streams, go on when a signal ends the server.
        settings: uvicorn's, of TLS (``ssl_certfile``) and of logging (``log_level``).

    Raises:
        RuntimeError: the version of uvicorn that is installed starts servers in another way.

    Example:
        >>> server = HTTPServer(create_app(), listen("127.0.0.1", 8787), ConnectionLimits())
        >>> server.run()
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: Sequence[socket.socket],
        limits: ConnectionLimits,
        *,
        grace_seconds: float = GRACE_SECONDS,
        **settings: Any,
    ) -> None:
        self._sockets = list(listening)
        try:
            _check_uvicorn()
            for one in self._sockets:
                _notice_who_has_gone(one)
            config = uvicorn.Config(
                RequestsPerAddress(app, limits.max_connections_per_address),
                http=asyncio.Protocol,  # connections have one of ours
                ws="none",
                access_log=False,
                proxy_headers=bool(limits.trusted_proxies),
                forwarded_allow_ips=list(limits.trusted_proxies),
                **settings,
            )
            config.load()  # certificates are read here
        except BaseException:
            for one in self._sockets:
                one.close()
            raise
        self.server = _Server(config, self._sockets, limits, grace_seconds)

    @property
    def addresses(self) -> list[tuple[str, int]]:
        """Each address and port that it listens on."""
        return [one.getsockname()[:2] for one in self._sockets]

    @property
    def started(self) -> bool:
        """Whether the application has been started, and connections are accepted."""
        return self.server.started

    def run(self) -> None:
        """Serve until a signal, or :meth:`stop`, ends it."""
        with contextlib.suppress(KeyboardInterrupt):
            self.server.run([])  # it listens by itself

    def stop(self) -> None:
        """Have it end, from any thread: as a signal does, it ends when the requests under way have, or their time."""
        self.server.should_exit = True


class _Server(uvicorn.Server):
    """uvicorn's process (its signals, its settings, the application's start and end), with our connections."""

    def __init__(
        self, config: uvicorn.Config, listening: Sequence[socket.socket], limits: ConnectionLimits, grace: float
    ) -> None:
        super().__init__(config)
        self._listening, self._limits, self._grace = listening, limits, grace
        self._accepting: list[asyncio.Task[None]] = []
        self._served: Served | None = None

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._served = Served(self.config.loaded_app, self._limits, self.lifespan.state)
        connections = Connections(self._limits)
        protocol_of = functools.partial(HTTPConnection, self._served)
        for one in self._listening:
            accepting = accept_connections(one, connections, protocol_of, self.config.ssl)
            task = self._served.loop.create_task(accepting)
            task.add_done_callback(self._accepts_no_more)
            self._accepting.append(task)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        for task in self._accepting:
            task.cancel()
        await asyncio.gather(*self._accepting, return_exceptions=True)
        for one in self._listening:
            one.close()
        if self._served is not None:
            await self._end(self._served)
        await super().shutdown(sockets)

    async def _end(self, served: Served) -> None:
        served.ending = True
        for connection in list(served.open):
            connection.end()
        await self._until(lambda: not served.tasks and not any(one.busy for one in served.open), self._grace)
        if served.tasks:
            logger.error("%d requests have not ended within %g seconds, and are cut", len(served.tasks), self._grace)
        for task in served.tasks:
            task.cancel()
        await self._until(lambda: not served.tasks, END_SECONDS)
        await self._until(lambda: not served.open, CLOSE_SECONDS)
        for connection in list(served.open):
            connection.abort()

    async def _until(self, ended: Callable[[], bool], seconds: float) -> None:
        deadline = time.monotonic() + seconds
        # A signal's handler may end this at any time, and does not tell the loop: uvicorn looks for it like this, too.
        while not ended() and not self.force_exit and time.monotonic() < deadline:  # noqa: ASYNC110
            await asyncio.sleep(TICK_SECONDS)

    def _accepts_no_more(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()):
            logger.error("the server can accept no more connections, and ends", exc_info=error)
            self.should_exit = True


def _check_uvicorn() -> None:
    """Refuse what would start and never listen, or never end."""
    found = [getattr(uvicorn.Server, name, None) for name in ("startup", "shutdown")]
    if not all(map(asyncio.iscoroutinefunction, found)):
        msg = f"uvicorn {uvicorn.__version__} starts servers in a way that is not known here: install uvicorn>=0.34,<1"
        raise RuntimeError(msg)


def _notice_who_has_gone(listening: socket.socket) -> None:
    """Connections take this over from the socket that they were accepted by."""
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for name, value in KEEPALIVE.items():
        if (option := getattr(socket, name, None)) is not None:
            with contextlib.suppress(OSError):  # a system may know its name alone
                listening.setsockopt(socket.IPPROTO_TCP, option, value)
