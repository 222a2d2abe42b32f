"""A TCP proxy between a ledger and its server that delays and cuts what goes through it."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from typing import Self


class Proxy:
    """Forwards connections to a server, until told otherwise. A context manager.

    Args:
        target: the server: (host, port), or the path of its Unix socket.

    Attributes:
        port: where it listens, on 127.0.0.1.
        delay: seconds that every reply is held back.
        spare: how many replies, from the next one on, go through before those that are cut.
        cut: how many replies are swallowed and their connections cut; the requests arrive.
        stalled: whether replies are swallowed while the connections stay open.
        parking: whether requests are kept, also when who sent them hangs up, until :meth:`deliver`.
        connections: how many were made so far.
        replies: how many pieces of replies have come so far.
    """

    def __init__(self, target: tuple[str, int] | str) -> None:
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._refusing = self._closed = False
        self.port = int(self._listener.getsockname()[1])
        self.delay = 0.0
        self.spare = self.cut = 0
        self.stalled = self.parking = False
        self.parked: list[tuple[socket.socket, bytes]] = []
        self.connections = self.replies = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._closed = True
        # Closing alone does not wake a thread that accepts.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self.hang_up()

    def refuse(self) -> None:
        """Be away: cut all connections, and every new one at once."""
        self._refusing = True
        self.hang_up()

    def accept(self) -> None:
        """Be back."""
        self._refusing = False

    def hang_up(self) -> None:
        """Cut all connections."""
        with self._lock:
            for one in self._open:
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)

    def deliver(self) -> None:
        """Let the server have what was parked, and what comes from now on."""
        self.parking = False
        while self.parked:
            server, data = self.parked.pop(0)
            server.sendall(data)

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._refusing or self._closed:
                client.close()
                continue
            # Else a reply that comes in two pieces takes 40 milliseconds.
            client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            try:
                server = self._connect()
            except OSError:
                client.close()
                continue
            self.connections += 1
            with self._lock:
                self._open |= {client, server}
            threading.Thread(target=self._forward, args=(client, server, False), daemon=True).start()
            threading.Thread(target=self._forward, args=(server, client, True), daemon=True).start()

    def _connect(self) -> socket.socket:
        if isinstance(self._target, str):
            server = socket.socket(socket.AF_UNIX)
            server.connect(self._target)
            return server
        server = socket.create_connection(self._target)
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return server

    def _forward(self, source: socket.socket, sink: socket.socket, replies: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if replies:
                    self.replies += 1
                    if self._swallow():
                        break
                    if self.stalled:
                        continue
                    if self.delay:
                        time.sleep(self.delay)
                elif self.parking or self._has_parked(sink):  # in its order
                    self.parked.append((sink, data))
                    continue
                try:
                    sink.sendall(data)
                except OSError:
                    # The client has gone; its server stays for as long as it is to have what was parked.
                    if not (replies and self._has_parked(source)):
                        break
        late = self._has_parked(sink)  # the server is to have that, though its client has gone
        with self._lock:
            for one in (source,) if late else (source, sink):
                self._open.discard(one)
                with contextlib.suppress(OSError):
                    one.shutdown(socket.SHUT_RDWR)
        source.close()  # each direction closes what it reads from

    def _has_parked(self, server: socket.socket) -> bool:
        return any(one is server for one, _ in self.parked)

    def _swallow(self) -> bool:
        """Whether this reply is one to be cut."""
        with self._lock:
            if self.spare or not self.cut:
                self.spare = max(0, self.spare - 1)
                return False
            self.cut -= 1
            return True
