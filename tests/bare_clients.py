"""Clients of a server that are no more than a socket."""

from __future__ import annotations

import contextlib
import socket


def connect(port: int, address: str = "127.0.0.1") -> socket.socket:
    """A connection to a port of this machine, from one of its addresses."""
    one = socket.create_connection(("127.0.0.1", port), 20, (address, 0))
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


def rest(one: socket.socket) -> bytes:
    """All that still comes, until the server ends the connection."""
    received = bytearray()
    with contextlib.suppress(ConnectionResetError):
        while piece := one.recv(2**16):
            received += piece
    return bytes(received)


def until(one: socket.socket, end: bytes) -> bytes:
    """What comes until a text has."""
    received = b""
    while end not in received:
        piece = one.recv(2**16)
        assert piece, received
        received += piece
    return received
