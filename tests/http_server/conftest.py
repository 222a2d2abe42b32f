"""What the tests of the HTTP server share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from listening import Listening, telling


@pytest.fixture(scope="module", params=["uvloop", "asyncio"])
def loop(request: pytest.FixtureRequest) -> str:
    """Where uvloop is not installed, the server runs on the standard library's loop."""
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def telling_server(loop: str) -> Iterator[Listening]:
    with Listening(telling, loop=loop) as one:
        yield one
