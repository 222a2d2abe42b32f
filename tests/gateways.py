"""A gateway in a thread of the process that tests, in front of a simulated provider."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Iterator, Mapping

from opentelemetry.context import Context, attach, detach

from budgeted import BudgetManager
from budgeted.gateway.application import create_gateway
from budgeted.gateway.callers import Callers, OpenCallers
from budgeted.gateway.observers import Observers
from budgeted.gateway.settings import GatewaySettings
from budgeted.http_server.connection_limits import ConnectionLimits
from budgeted.http_server.server import HTTPServer, listen
from budgeted.testing import SimulatedProvider

LIMITS = ConnectionLimits(answer_seconds=None, unread_seconds=60)
OF_AWS = {"AWS_ACCESS_KEY_ID": "AKIDOFGATEWAY", "AWS_SECRET_ACCESS_KEY": "of the gateway", "AWS_REGION": "us-east-1"}
"""An environment in which a gateway finds what to sign with."""


def upstreams_of(provider: SimulatedProvider) -> dict[str, str]:
    """The addresses of most that a simulated provider stands in for."""
    return {
        "openai": provider.openai_url,
        "anthropic": provider.anthropic_url,
        "gemini": provider.url,
        "bedrock": provider.url,
        "mistral": provider.url,
        "cohere": provider.url,
    }


def every_upstream_of(provider: SimulatedProvider) -> dict[str, str]:
    """The addresses of all that it stands in for, each as it has its own paths there."""
    url = provider.url
    return {
        **upstreams_of(provider),
        **dict.fromkeys(("vertex", "azure", "ollama"), url),
        "mistral": provider.mistral_url,
        "groq": f"{url}/groq/openai/v1",
        "openrouter": f"{url}/openrouter/api/v1",
        "deepseek": f"{url}/deepseek",
        "corp": f"{url}/corp/v1",
    }


@contextlib.contextmanager
def gateway(
    manager: BudgetManager,
    settings: GatewaySettings,
    callers: Callers | None = None,
    environment: Mapping[str, str] | None = None,
    limits: ConnectionLimits = LIMITS,
    observers: Observers | None = None,
) -> Iterator[str]:
    """A gateway that listens; gives its address."""
    app = create_gateway(manager, callers or OpenCallers(), settings, environment or {}, observers)
    server = HTTPServer(app, listen("127.0.0.1", 0), limits, log_level="critical")
    [(_, port)] = server.addresses
    thread = threading.Thread(target=server.run, name="gateway")
    token = attach(Context())  # not inside what the test itself is inside
    thread.start()
    detach(token)
    while not server.started:
        assert thread.is_alive()
        time.sleep(0.005)
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.stop()
        thread.join()
