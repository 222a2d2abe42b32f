"""Something that answers as Amazon Bedrock does, and keeps what it was sent as it came."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import ClassVar, NamedTuple

import botocore.auth
import botocore.credentials
from botocore.awsrequest import AWSRequest

TOKENS = 7
"""What an invocation says in its headers that it has read."""


class Arrived(NamedTuple):
    """A request, as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def is_signed_with(self, keys: Mapping[str, str], url: str) -> bool:
        """Whether botocore signs what has come just so.

        Args:
            keys: as the environment has them.
            url: of whoever it came to.
        """
        names = self.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0].split(";")
        request = AWSRequest(self.method, url + self.path, data=self.body)
        for name in names:
            request.headers[name] = self.headers[name]
        request.context["timestamp"] = self.headers["x-amz-date"]
        of = botocore.credentials.Credentials(keys["AWS_ACCESS_KEY_ID"], keys["AWS_SECRET_ACCESS_KEY"])
        auth = botocore.auth.SigV4Auth(of, "bedrock", keys["AWS_REGION"])
        signature = auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
        return self.headers["authorization"] == (
            f"AWS4-HMAC-SHA256 Credential={auth.scope(request)}, SignedHeaders={';'.join(names)}, Signature={signature}"
        )


class Bedrock:
    """It listens; its invocations tell in their headers alone what they are billed for."""

    def __init__(self, url: str, arrived: list[Arrived]) -> None:
        self.url, self.arrived = url, arrived


class _Answers(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    arrived: ClassVar[list[Arrived]]

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.arrived.append(Arrived("POST", self.path, headers, body))
        message = {"role": "assistant", "content": [{"text": "Gut."}]}
        usage = {"inputTokens": 5, "outputTokens": 3, "totalTokens": 8}
        answer: object = {"output": {"message": message}, "stopReason": "end_turn", "usage": usage}
        if self.path.endswith("/invoke"):
            answer = {"embeddings": [[0.5]]}
        content = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.send_header("connection", "keep-alive, X-Hop")
        self.send_header("x-hop", "1")
        self.send_header("x-end", "2")
        if self.path.endswith("/invoke"):
            self.send_header("x-amzn-bedrock-input-token-count", str(TOKENS))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        pass


@contextlib.contextmanager
def bedrock() -> Iterator[Bedrock]:
    arrived: list[Arrived] = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Answers", (_Answers,), {"arrived": arrived}))
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield Bedrock(f"http://127.0.0.1:{server.server_port}", arrived)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
