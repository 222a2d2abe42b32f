"""A gateway in a thread of the process that tests, in front of a simulated provider."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Mapping

import uvicorn
from opentelemetry.context import Context, attach, detach

from budgeted import BudgetManager
from budgeted.gateway.application import create_gateway
from budgeted.gateway.callers import Callers, OpenCallers
from budgeted.gateway.settings import GatewaySettings
from budgeted.testing import SimulatedProvider


def upstreams_of(provider: SimulatedProvider) -> dict[str, str]:
    """The addresses of all that a simulated provider stands in for."""
    return {
        "openai": provider.openai_url,
        "anthropic": provider.anthropic_url,
        "gemini": provider.url,
        "bedrock": provider.url,
        "mistral": provider.url,
        "cohere": provider.url,
    }


@contextlib.contextmanager
def gateway(
    manager: BudgetManager,
    settings: GatewaySettings,
    callers: Callers | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A gateway that listens; gives its address."""
    app = create_gateway(manager, callers or OpenCallers(), settings, environment or {})
    config = uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical", server_header=False, ws="none")
    server = uvicorn.Server(config)
    listening = config.bind_socket()
    listening.listen()  # so that who asks at once is heard
    thread = threading.Thread(target=server.run, args=([listening],), name="gateway")
    token = attach(Context())  # not inside what the test itself is inside
    thread.start()
    detach(token)
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()
        listening.close()
