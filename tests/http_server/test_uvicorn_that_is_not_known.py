"""A version of uvicorn that starts servers in another way is refused, before one listens that never answers."""

from __future__ import annotations

import pytest
import uvicorn
from listening import telling

from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.server import HTTPServer, listen


@pytest.mark.parametrize("name", ["startup", "shutdown"])
def test_a_uvicorn_that_starts_servers_in_another_way_is_refused(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.delattr(uvicorn.Server, name)
    [one] = listen("127.0.0.1", 0)
    with pytest.raises(RuntimeError, match=rf"uvicorn {uvicorn.__version__} .* install uvicorn>="):
        HTTPServer(telling, [one], ConnectionLimits())
    assert one.fileno() < 0
