"""A server that gives back answers as they were written down, to whoever asks: nothing in it knows what an answer says.

It listens on loopback, and stands for any host: the first part of a request's path says which answer is asked for.
"""

from __future__ import annotations

import gzip
import json
import struct
import threading
import time
import zlib
from collections.abc import Iterable, Mapping, Sequence
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple, Self

_PAUSE = 0.0005
"""Between two packets, in seconds, so that a reader gets them apart."""


class Canned(NamedTuple):
    """What is sent: at once, or as a stream of packets."""

    packets: Sequence[bytes]
    headers: Mapping[str, str]
    streamed: bool
    status: int = 200


def whole(body: object, headers: Mapping[str, str] | None = None) -> Canned:
    """An answer sent at once; a string is sent as it is, all else as JSON."""
    data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
    return Canned([data], {"content-type": "application/json", **(headers or {})}, streamed=False)


def stream(
    events: Iterable[object],
    kind: str = "sse",
    headers: Mapping[str, str] | None = None,
    *,
    cut: int = 0,
    zipped: bool = False,
) -> Canned:
    """An answer sent in packets.

    Args:
        events: server-sent events as text, lines of JSON, or pairs of a name and a mapping for Amazon's event stream.
        kind: "sse", "ndjson" or "aws".
        headers: what is sent beside it.
        cut: bytes of a packet, wherever that cuts an event; 0 for one event in each.
        zipped: whether it is sent compressed.
    """
    kinds = {
        "sse": "text/event-stream; charset=utf-8",
        "ndjson": "application/x-ndjson",
        "aws": "application/vnd.amazon.eventstream",
    }
    packets = [_packet(event, kind) for event in events]
    sent = {"content-type": kinds[kind], **(headers or {})}
    if zipped:
        packets = [gzip.compress(b"".join(packets))]
        sent["content-encoding"] = "gzip"
    if cut:
        data = b"".join(packets)
        packets = [data[start : start + cut] for start in range(0, len(data), cut)]
    return Canned(packets, sent, streamed=True)


def _packet(event: object, kind: str) -> bytes:
    if kind == "aws":
        assert isinstance(event, (list, tuple))
        return _amazon_message(*event)
    text = event if isinstance(event, str) else json.dumps(event)
    return (text + ("\n" if kind == "ndjson" else "\n\n")).encode()


def _amazon_message(name: str, payload: object) -> bytes:
    """One message as Bedrock has it: https://docs.aws.amazon.com/AmazonS3/latest/API/RESTSelectObjectAppendix.html."""
    told = ((":event-type", name), (":content-type", "application/json"), (":message-type", "event"))
    headers = b"".join(
        struct.pack("!B", len(key)) + key.encode() + b"\x07" + struct.pack("!H", len(value)) + value.encode()
        for key, value in told
    )
    body = json.dumps(payload).encode()
    prelude = struct.pack("!II", 16 + len(headers) + len(body), len(headers))
    message = prelude + struct.pack("!I", zlib.crc32(prelude)) + headers + body
    return message + struct.pack("!I", zlib.crc32(message))


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of readers that go away."""


class CannedServer:
    """A server on loopback. ``asked`` are the bodies of all requests so far, with the path of each."""

    def __init__(self) -> None:  # noqa: C901 - the handler inside needs the server around it
        self.asked: list[tuple[str, bytes]] = []
        self._answers: dict[str, Canned] = {}
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def setup(self) -> None:
                super().setup()
                self.request.setsockopt(6, 1, 1)  # TCP_NODELAY: else the packets of a stream come in one

            def do_POST(self) -> None:
                body = self._body()
                server.asked.append((self.path, body))
                canned = server._answers.get(self.path.split("/")[1])
                if canned is None:
                    self.send_error(404)
                    return
                try:
                    self._send(canned)
                except OSError:
                    self.close_connection = True  # the reader has gone

            def _body(self) -> bytes:
                if self.headers.get("transfer-encoding") != "chunked":
                    return self.rfile.read(int(self.headers.get("content-length") or 0))
                parts = []
                while size := int(self.rfile.readline().split(b";")[0], 16):
                    parts.append(self.rfile.read(size))
                    self.rfile.readline()
                self.rfile.readline()
                return b"".join(parts)

            def _send(self, canned: Canned) -> None:
                self.send_response(canned.status)
                for name, value in canned.headers.items():
                    self.send_header(name, value)
                if not canned.streamed:
                    self.send_header("content-length", str(sum(map(len, canned.packets))))
                    self.end_headers()
                    self.wfile.write(b"".join(canned.packets))
                    return
                self.send_header("transfer-encoding", "chunked")
                self.end_headers()
                for packet in (*canned.packets, b""):
                    self.wfile.write(b"%x\r\n%b\r\n" % (len(packet), packet))
                    self.wfile.flush()
                    if len(canned.packets) < 50:
                        time.sleep(_PAUSE)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - as the library calls it
                """Say nothing."""

        self._http = _Quiet(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._http.server_address[1]}"
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def give(self, canned: Canned) -> str:
        """Have an answer given to all requests below the address that is returned."""
        name = f"a{len(self._answers)}"
        self._answers[name] = canned
        return f"{self.url}/{name}"

    def close(self) -> None:
        """Stop listening."""
        self._http.shutdown()
        self._http.server_close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
