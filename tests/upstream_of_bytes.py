"""A server that answers with whatever bytes a test says, HTTP or not."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from typing import Self

_LENGTH = re.compile(rb"(?i)content-length: *(\d+)")

Answering = bytes | Callable[[socket.socket], object]
"""What is sent, before the connection is ended; or what does both."""


class UpstreamOfBytes:
    """Reads one request of each connection, and answers it by :attr:`answer`.

    Attributes:
        url: its address.
        answer: how it answers.
        kept: whether a connection goes on after an answer.
        requests: what was asked, whole.
    """

    def __init__(self) -> None:
        self.answer: Answering = b""
        self.kept = False
        self.requests: list[bytes] = []
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._thread = threading.Thread(target=self._accept, daemon=True)
        self._thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):  # it is closed
            while True:
                one = self._listening.accept()[0]
                threading.Thread(target=self._serve, args=(one,), daemon=True).start()

    def _serve(self, one: socket.socket) -> None:
        with one, contextlib.suppress(OSError):  # whoever asked has had enough
            while request := _read(one):
                self.requests.append(request)
                if isinstance(self.answer, bytes):
                    one.sendall(self.answer)
                else:
                    self.answer(one)
                if not self.kept:
                    break

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(10)


def _read(one: socket.socket) -> bytes:
    """The next request; b"" if none comes any more."""
    received = b""
    while b"\r\n\r\n" not in received:
        if not (piece := one.recv(65_536)):
            return b""
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    told = _LENGTH.search(head)
    missing = (int(told[1]) if told else 0) - len(body)
    while missing > 0:
        piece = one.recv(missing)
        received += piece
        missing -= len(piece)
    return received
