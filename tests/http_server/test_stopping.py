"""A server that is told to stop: no new connections, and an end for the requests under way."""

from __future__ import annotations

import asyncio
import os
import queue
import signal
import socket
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme
from bare_clients import rest, until
from listening import LONG, Listening, answer, lifespan
from starlette.types import Receive, Scope, Send

GET = b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n"


class Streaming:
    """An application that streams until it is told to end, and says how it ended."""

    def __init__(self) -> None:
        self.told: queue.Queue[str] = queue.Queue()
        self.go = asyncio.Event()
        self.loop: asyncio.AbstractEventLoop | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.loop = asyncio.get_running_loop()
            await lifespan(receive, send)
            self.told.put("shut down")
        elif scope["path"] == "/short":
            for message in answer(b"short"):
                await send(message)
        else:
            await self._stream(send)

    async def _stream(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"first", "more_body": True})
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.05)  # what is still to be settled
            self.told.put("settled")
            raise
        await send({"type": "http.response.body", "body": b"last"})

    def end(self) -> None:
        assert self.loop is not None
        self.loop.call_soon_threadsafe(self.go.set)


def stop(server: Listening) -> threading.Thread:
    thread = threading.Thread(target=server.stop)
    thread.start()
    return thread


def test_streams_go_on_for_the_time_of_grace_and_idle_connections_end_at_once(loop: str) -> None:
    app = Streaming()
    server = Listening(app, loop=loop, grace_seconds=20)
    with server.connect() as kept, server.connect() as fresh, server.connect() as half, server.connect() as one:
        kept.sendall(GET % b"short")
        until(kept, b"short")
        half.sendall(GET[:10])
        one.sendall(GET % b"")
        until(one, b"first")
        stopping = stop(server)
        assert rest(kept) == rest(fresh) == rest(half) == b""
        with pytest.raises(OSError, match="refused"):
            server.connect()
        assert app.told.empty()
        app.end()
        assert rest(one).endswith(b"last\r\n0\r\n\r\n")
        stopping.join(20)
    assert app.told.get(timeout=5) == "shut down"


def test_a_stream_that_takes_longer_is_cut_after_it_could_settle(loop: str) -> None:
    app = Streaming()
    server = Listening(app, loop=loop, grace_seconds=0.1)
    with server.connect() as one:
        one.sendall(GET % b"")
        until(one, b"first")
        stopping = stop(server)
        assert b"0\r\n\r\n" not in rest(one)
        stopping.join(20)
    assert [app.told.get(timeout=5) for _ in range(2)] == ["settled", "shut down"]


def test_connections_of_tls_whose_clients_say_nothing_keep_no_server_from_ending(loop: str, tmp_path: Path) -> None:
    authority, certificate = trustme.CA(), tmp_path / "both.pem"
    authority.issue_cert("localhost").private_key_and_cert_chain_pem.write_to_path(certificate)
    context = ssl.create_default_context()
    authority.configure_trust(context)
    server = Listening(Streaming(), loop=loop, grace_seconds=LONG, ssl_certfile=certificate)
    with context.wrap_socket(server.connect(), server_hostname="localhost") as kept, server.connect():
        kept.sendall(GET % b"short")
        until(kept, b"short")
        server.stop()  # within a third of the time of grace


PROGRAM = """
from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.server import HTTPServer, listen
from test_stopping import Streaming
http = HTTPServer(Streaming(), listen("127.0.0.1", 0), ConnectionLimits(), grace_seconds=0.1, log_level="error")
print(http.addresses[0][1], flush=True)
http.run()
"""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_a_server_and_what_it_streams(number: signal.Signals) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", PROGRAM]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert process.stdout is not None
    with socket.create_connection(("127.0.0.1", int(process.stdout.readline())), 20) as one:
        one.sendall(GET % b"")
        until(one, b"first")
        process.send_signal(number)
        assert b"0\r\n\r\n" not in rest(one)
    _, log = process.communicate(timeout=20)
    assert process.returncode in (-number, 0)
    assert b"Traceback" not in log
    assert b"1 requests have not ended within 0.1 seconds" in log
