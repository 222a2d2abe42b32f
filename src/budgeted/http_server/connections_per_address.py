"""Who may be connected: how many connections there are, how many of one address, and which of them gives way.

A connection that a request is awaited on gives way to a new one; one whose request is being answered does not. So who
opens many and sends nothing keeps nobody out, whatever address he comes from.
"""

from __future__ import annotations

import functools
import ipaddress
import itertools
import logging
import socket
import time
from collections.abc import Iterable
from typing import Protocol, TypeAlias

from starlette.types import ASGIApp, Receive, Scope, Send

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.refusals import refuse

logger = logging.getLogger("budgeted")

NEWS_SECONDS = 60.0
"""Seconds between two lines in the log about connections that gave way: who attacks must not fill it."""

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network


@functools.lru_cache(4096)
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


class Answering(Protocol):
    """What a connection is read and answered by."""

    @property
    def busy(self) -> bool:
        """Whether a request is being answered. Else one is awaited, or the rest of one."""


class Place:
    """The place of an accepted connection.

    Attributes:
        address: whose it is.
        answering: None before it has begun, as during a TLS handshake, and when it has ended.
    """

    __slots__ = ("_accepted", "_connections", "address", "answering")

    def __init__(self, connections: Connections, accepted: socket.socket, address: str) -> None:
        self._connections, self._accepted = connections, accepted
        self.address = address
        self.answering: Answering | None = None

    @property
    def handshake_seconds(self) -> float:
        """How long a TLS handshake may take."""
        return self._connections.limits.header_seconds

    def was_answered(self) -> None:
        """A request of it was: it gives way after all that never asked, and those that were answered before it."""
        self._connections.was_answered(self)

    def leave(self) -> None:
        """It has ended. Repeating this does nothing."""
        self.answering = None
        self._connections.left(self)

    def give_way(self) -> None:
        """End it: whoever reads from it finds its end, and closes it."""
        try:
            self._accepted.shutdown(socket.SHUT_RDWR)
        except OSError:  # the other end has gone already
            return


class _Beside:
    """The connections of one address, in the order in which they give way."""

    __slots__ = ("answered", "fresh")

    def __init__(self) -> None:
        self.fresh: dict[Place, None] = {}
        self.answered: dict[Place, None] = {}

    def __len__(self) -> int:
        return len(self.fresh) + len(self.answered)

    def next_awaited(self) -> Place | None:
        """The one that most likely comes to nothing: one that never asked, of those the oldest."""
        places = itertools.chain(self.fresh, self.answered)
        return next((one for one in places if one.answering is None or not one.answering.busy), None)


class Connections:
    """The connections that there are. For one thread, that of the event loop.

    Args:
        limits: how many there may be.
    """

    def __init__(self, limits: ConnectionLimits) -> None:
        self.limits = limits
        self._trusted: list[Network] = [ipaddress.ip_network(proxy) for proxy in limits.trusted_proxies]
        self._by_address: dict[str, _Beside] = {}
        self._count = 0
        self._told = -NEWS_SECONDS

    def admit(self, accepted: socket.socket, host: str) -> Place | None:
        """Give a connection a place, if need be that of another. None if all others are being answered."""
        address = whose(host)
        beside = self._by_address.get(address)
        if beside and len(beside) >= self.limits.max_connections_per_address and not self._is_trusted(host):
            room = self._make_room([beside], f"{address} has {len(beside)} connections")
        elif self._count >= self.limits.max_connections:
            # Who has most gives way.
            most = sorted(self._by_address.values(), key=len, reverse=True)
            room = self._make_room(most, f"there are {self._count} connections")
        else:
            room = True
        if not room:
            return None
        place = Place(self, accepted, address)
        self._by_address.setdefault(address, _Beside()).fresh[place] = None
        self._count += 1
        return place

    def make_room(self, why: str) -> None:
        """Have one give way, if any may, as the process lacks what another needs."""
        self._make_room(sorted(self._by_address.values(), key=len, reverse=True), why)

    def was_answered(self, place: Place) -> None:
        """A request of a connection was answered."""
        beside = self._by_address.get(place.address)
        if beside is None:
            return
        for places in (beside.answered, beside.fresh):
            if place in places:
                del places[place]
                beside.answered[place] = None
                return

    def left(self, place: Place) -> None:
        """A connection's place is free. Repeating it does nothing."""
        beside = self._by_address.get(place.address)
        if beside is None:
            return
        for places in (beside.answered, beside.fresh):
            if place in places:
                del places[place]
                self._count -= 1
        if not len(beside):
            del self._by_address[place.address]

    def _make_room(self, addresses: Iterable[_Beside], why: str) -> bool:
        awaited = next((one for beside in addresses if (one := beside.next_awaited())), None)
        self._tell(why, made=awaited is not None)
        if awaited is None:
            return False
        self.left(awaited)
        awaited.give_way()
        return True

    def _tell(self, why: str, *, made: bool) -> None:
        now = time.monotonic()
        if now - self._told >= NEWS_SECONDS:
            self._told = now
            what = "the oldest that waits for a request is closed for a new one" if made else "a new one was refused"
            logger.warning("budgeted: %s, and more are not allowed: %s; see `--help`", why, what)

    def _is_trusted(self, host: str) -> bool:
        if not self._trusted:
            return False
        address = ipaddress.ip_address(host.partition("%")[0])
        mapped = getattr(address, "ipv4_mapped", None)
        return any((mapped or address) in network for network in self._trusted)


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
