"""Who may be connected: how many connections there are, how many of one address, and which of them gives way.

A connection that a request is awaited on gives way to a new one; one whose request is being answered does not. So who
opens many and sends nothing keeps nobody out, whatever address he comes from.
"""

from __future__ import annotations

import ipaddress
import logging
import socket
import time
from collections.abc import Iterable, Mapping
from typing import Any, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.refusals import refuse

logger = logging.getLogger("budgeted")

NEWS_SECONDS = 60.0
"""Seconds between two lines in the log about connections that gave way: who attacks must not fill it."""

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


def whose(host: str) -> str:
    """The address that counts for a host's: of IPv6 the first 64 bits, of which one customer has all the rest."""
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:  # a socket in the file system, or what a proxy calls unknown
        return host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is None:
            return str(ipaddress.ip_network((int(address) >> 64 << 64, 64)))
        address = address.ipv4_mapped
    return str(address)


class Connection(socket.socket):
    """An accepted connection, and what it is about."""

    address = ""
    awaited = True
    """Whether a request is awaited, or the rest of one. Else one is being answered."""
    answered = 0
    """Requests that were."""
    since = 0.0
    """``time.monotonic()`` of when it came, or when its last request was answered."""
    place: Connections

    def close(self) -> None:
        """As every socket's; its place is free."""
        self.place.left(self)
        super().close()

    def give_way(self) -> None:
        """End it: whoever reads from it finds its end, and closes it."""
        try:
            self.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other end has gone already
            return


class Connections:
    """The connections that there are. For one thread, that of the event loop."""

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._trusted: list[Network] = [ipaddress.ip_network(proxy) for proxy in limits.trusted_proxies]
        self._by_number: dict[int, Connection] = {}
        self._by_address: dict[str, dict[int, Connection]] = {}
        self._told = -NEWS_SECONDS

    def admit(self, connection: Connection, host: str) -> bool:
        """Give a connection a place, if need be that of another. False if all others are being answered."""
        address, number = whose(host), connection.fileno()
        beside = self._by_address.get(address, {})
        if len(beside) >= self.limits.max_connections_per_address and not self._is_trusted(host):
            room = self._make_room([beside], f"{address} has {len(beside)} connections")
        elif len(self._by_number) >= self.limits.max_connections:
            # Who has most gives way.
            most = sorted(self._by_address.values(), key=len, reverse=True)
            room = self._make_room(most, f"there are {len(self._by_number)} connections")
        else:
            room = True
        if room:
            connection.address, connection.place, connection.since = address, self, time.monotonic()
            self._by_number[number] = self._by_address.setdefault(address, {})[number] = connection
        return room

    def find(self, number: int) -> Connection | None:
        """The connection of a file descriptor."""
        return self._by_number.get(number)

    def left(self, connection: Connection) -> None:
        """A connection's place is free. Repeating it does nothing."""
        number, beside = connection.fileno(), self._by_address.get(connection.address, {})
        if beside.get(number) is connection:
            del beside[number], self._by_number[number]
            if not beside:
                del self._by_address[connection.address]

    def _make_room(self, addresses: Iterable[Mapping[int, Connection]], why: str) -> bool:
        """Have the connection give way that most likely comes to nothing: one that never asked, of those the oldest."""
        waiting = ([one for one in each.values() if one.awaited] for each in addresses)
        awaited = next(filter(None, waiting), [])
        self._tell(why, made=bool(awaited))
        if not awaited:
            return False
        one = min(awaited, key=lambda one: (one.answered > 0, one.since))
        self.left(one)
        one.give_way()
        return True

    def _tell(self, why: str, *, made: bool) -> None:
        now = time.monotonic()
        if now - self._told >= NEWS_SECONDS:
            self._told = now
            what = "its oldest that waits for a request is closed for a new one" if made else "a new one was refused"
            logger.warning("budgeted: %s, and more are not allowed: %s; see `budgeted serve --help`", why, what)

    def _is_trusted(self, host: str) -> bool:
        if not self._trusted:
            return False
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)


class Listening(socket.socket):
    """A socket that listens for connections, and accepts those that may be there.

    Args:
        listening: the socket whose place it takes.
        connections: those that there are.
    """

    def __init__(self, listening: socket.socket, connections: Connections) -> None:
        # With the protocol's number, which asyncio looks at before it sends small answers at once.
        super().__init__(listening.family, listening.type, socket.IPPROTO_TCP, listening.detach())
        self.setblocking(False)
        self._connections = connections
        self._asked = False

    def accept(self) -> tuple[socket.socket, Any]:
        """The next connection.

        Raises:
            ConnectionAbortedError: it was closed at once, as there is no place for it.
            BlockingIOError: there is none, or the event loop is to do other things before it asks again.
        """
        # One at a time: between two, the loop closes what gave way. It would also try and log as often as connections
        # may wait, when there are no files left.
        self._asked = not self._asked
        if not self._asked:
            raise BlockingIOError
        accepted, host = super().accept()
        connection = Connection(self.family, self.type, socket.IPPROTO_TCP, accepted.detach())
        if not self._connections.admit(connection, str(host[0])):
            socket.socket.close(connection)
            raise ConnectionAbortedError
        return connection, host


class RequestsPerAddress:
    """Around an application: no address has more requests under way than it may have connections.

    That is so by itself where each address has connections of its own. A trusted proxy's are counted by the addresses
    that it names, which uvicorn has put into the scope.
    """

    def __init__(self, app: ASGIApp, most: int) -> None:
        self._app = app
        self._most = most
        self._under_way: dict[str, int] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Ask the application, if the address may."""
        if scope["type"] != "http" or not scope.get("client"):
            await self._app(scope, receive, send)
            return
        address = whose(scope["client"][0])
        count = self._under_way.get(address, 0)
        if count >= self._most:
            text = f"{count} requests of {address} are under way, and more are not allowed"
            await refuse(send, 503, "TooManyRequests", text, retry_after="1")
            return
        self._under_way[address] = count + 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way[address] -= 1
            if not self._under_way[address]:
                del self._under_way[address]
