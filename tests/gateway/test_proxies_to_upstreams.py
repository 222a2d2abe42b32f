"""A gateway whose way to its upstreams leads through another proxy, which the environment names."""

from __future__ import annotations

import socket
import threading

import httpx2
import pytest
from gateways import gateway

from budgeted import BudgetManager
from budgeted.gateway.settings import GatewaySettings

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\nconnection: close\r\n\r\n{}"


@pytest.mark.parametrize(("excepted", "asked"), [("", True), ("upstream.test", False)])
def test_the_environments_proxy_is_asked_unless_it_excepts_the_upstream(
    manager: BudgetManager, monkeypatch: pytest.MonkeyPatch, excepted: str, asked: bool
) -> None:
    heads: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer() -> None:
            with listening.accept()[0] as one:
                heads.append(one.recv(65_536))
                one.sendall(ANSWER)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        address = f"127.0.0.1:{listening.getsockname()[1]}"
        monkeypatch.setenv("http_proxy", f"http://user:word@{address}")
        monkeypatch.setenv("no_proxy", f"127.0.0.1:1,{excepted}")
        settings = GatewaySettings(upstreams={"here": "http://upstream.test/v1"}, open=True)
        with gateway(manager, settings) as url, httpx2.Client(base_url=url, trust_env=False) as client:
            answer_ = client.get("/here/models")
        assert answer_.status_code == (200 if asked else 502)
    if asked:
        thread.join(20)
        [head] = heads
        assert head.startswith(b"GET http://upstream.test/v1/models HTTP/1.1\r\n")
        assert b"Proxy-Authorization: Basic " in head
