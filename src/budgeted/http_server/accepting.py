"""Accepting connections: each gets its place, or is closed at once."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import socket
import ssl
from collections.abc import Callable

from budgeted.http_server.connections_per_address import Connections, Place
from budgeted.http_server.request_deadlines import LINGER_SECONDS

PAUSE_SECONDS = 0.1
"""How long nobody is accepted when none can be accepted, as the system has no room."""

_EXHAUSTED = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)


async def accept_connections(
    listening: socket.socket,
    connections: Connections,
    protocol_of: Callable[[Place], asyncio.Protocol],
    context: ssl.SSLContext | None,
) -> None:
    """Accept connections until this is cancelled or the socket is closed.

    Not by the event loop's own server: uvloop's accepts connections where nobody can refuse them, and neither tells of
    one whose TLS handshake goes on.

    Args:
        listening: a socket that listens.
        connections: those that there are.
        protocol_of: makes what a connection is read and answered by.
        context: for https.
    """
    loop = asyncio.get_running_loop()
    listening.setblocking(False)
    handshakes: set[asyncio.Task[None]] = set()
    while listening.fileno() >= 0:
        try:
            accepted, host = await loop.sock_accept(listening)
        except OSError as error:
            if error.errno in _EXHAUSTED:
                connections.make_room(f"the system has no room for another connection ({error.strerror})")
            # Who came has gone, or a network has: some systems tell that here, too.
            await asyncio.sleep(0 if error.errno == errno.ECONNABORTED else PAUSE_SECONDS)
            continue
        place = connections.admit(accepted, str(host[0]))
        if place is None:
            accepted.close()
        else:
            task = loop.create_task(_begin(accepted, place, protocol_of, context))
            handshakes.add(task)
            task.add_done_callback(handshakes.discard)
        # One at a time: between two, the loop closes what gave way, however many wait to be accepted.
        await asyncio.sleep(0)


async def _begin(
    accepted: socket.socket,
    place: Place,
    protocol_of: Callable[[Place], asyncio.Protocol],
    context: ssl.SSLContext | None,
) -> None:
    loop = asyncio.get_running_loop()
    with contextlib.suppress(OSError):  # it has gone already, which the loop finds out
        accepted.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    seconds = {}
    if context is not None:
        seconds = {"ssl_handshake_timeout": place.handshake_seconds, "ssl_shutdown_timeout": LINGER_SECONDS}
    try:
        await loop.connect_accepted_socket(lambda: protocol_of(place), accepted, ssl=context, **seconds)
    except OSError:  # it speaks no TLS, or took too long to
        place.leave()  # the loop has closed the socket, or is about to
    except BaseException:
        place.leave()
        raise
