"""LiteLLM's proxy as its command runs it, with providers that are simulated, for tests of what it bills."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Self

import httpx

from budgeted import BudgetManager
from budgeted.testing import SimulatedProvider

AUTH = '''
from litellm.proxy._types import UserAPIKeyAuth


async def user_api_key_auth(request, api_key):
    """What the header `x-told` says of whoever asks; a key is a user's name otherwise."""
    import json

    told = json.loads(request.headers.get("x-told", "{}"))
    return UserAPIKeyAuth(**{"api_key": api_key, "user_id": api_key.removeprefix("sk-"), **told})
'''

DIME = 10
"""Output tokens that cost ten cents, of the models called so: each is $10,000 per million."""

QUESTION = {"messages": [{"role": "user", "content": "Name a city."}], "max_tokens": DIME}

CENTS = 10**8
"""What that costs, in nano-USD."""

PRICES = {"dime": (0, 10_000), "claude-dime": (0, 10_000), "penny": (0, 1_000)}


def settings(ledger: str) -> str:
    """The settings file of the proxies."""
    prices = "".join(
        f'[prices."{name}"]\ninput = {input}\noutput = {output}\nmax_output_tokens = 4096\n'
        for name, (input, output) in PRICES.items()
    )
    return f'ledger = "{ledger}"\nproject_name = "proxy"\nwait = 20\n{prices}'


def config(provider: SimulatedProvider, failing: SimulatedProvider, **litellm_settings: Any) -> dict[str, Any]:
    """The proxy's config: groups of one deployment each, and those that begin at a provider that fails."""

    def deployment(group: str, model: str, where: SimulatedProvider, **params: Any) -> dict[str, Any]:
        base = where.openai_url if model.startswith("openai/") else where.anthropic_url
        return {
            "model_name": group,
            "litellm_params": {"model": model, "api_base": base, "api_key": "any", **params},
            "model_info": {"id": f"{group} {where.url} {model}"},
        }

    return {
        "model_list": [
            deployment("dime", "openai/dime", provider),
            deployment("claude", "anthropic/claude-dime", provider),
            deployment("failing", "openai/dime", failing),
            deployment("failing-first", "openai/penny", failing),
            deployment("retried", "openai/dime", failing),
            deployment("mixed", "openai/dime", provider),
            deployment("mixed", "openai/penny", provider),
            deployment("openai/*", "openai/*", provider),
            deployment("made-up", "openai/dime", provider, mock_response="Paris"),
        ],
        "router_settings": {
            "fallbacks": [{"failing-first": ["dime"]}],
            "disable_cooldowns": True,
            "num_retries": 0,
            "model_group_retry_policy": {"retried": {"InternalServerErrorRetries": 3, "TimeoutErrorRetries": 3}},
        },
        "litellm_settings": {
            "callbacks": "budgeted.integrations.litellm_proxy.handler",
            "cache": True,
            "cache_params": {"type": "local", "mode": "default_off"},
            **litellm_settings,
        },
        "general_settings": {
            "master_key": "sk-master",
            "custom_auth": "keys_by_header.user_api_key_auth",
            "pass_through_endpoints": [
                {
                    "path": "/flat",
                    "target": f"{provider.openai_url}/chat/completions",
                    "headers": {},
                    "cost_per_request": 0.1,
                },
                {"path": "/mine", "target": f"{provider.url}", "headers": {}, "include_subpath": True},
            ],
        },
    }


class Proxy:
    """A proxy on a port of its own.

    Args:
        folder: where its config and its log are kept.
        config: the proxy's.
        environment: variables besides those of this process.
    """

    def __init__(self, folder: Path, config: dict[str, Any], environment: dict[str, str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder, self.port = folder, free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log.txt"
        (folder / "keys_by_header.py").write_text(AUTH)
        (folder / "config.yaml").write_text(json.dumps(config))  # which is YAML as well
        command = [str(Path(sys.executable).with_name("litellm")), "--config", "config.yaml"]
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [*command, "--host", "127.0.0.1", "--port", str(self.port)],
                cwd=folder,
                env={**os.environ, "LITELLM_LOCAL_MODEL_COST_MAP": "True", "NO_PROXY": "*", **environment},
                stdout=log,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def wait_until_ready(self, seconds: float = 120) -> None:
        """Wait until it serves."""
        until = time.monotonic() + seconds
        while True:
            try:
                httpx.get(f"{self.url}/health/liveliness", timeout=5)
            except httpx.TransportError:
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < until, self.log.read_text()
                time.sleep(0.1)
            else:
                return

    def ended(self, seconds: float = 120) -> str:
        """Wait until it has ended by itself. Returns what it said."""
        self.process.wait(seconds)
        return self.log.read_text()

    def post(self, path: str, body: Any, user: str = "alice", **told: Any) -> httpx.Response:
        """Ask it.

        Args:
            path: such as ``"/v1/chat/completions"``.
            body: what is asked, as JSON.
            user: whose key it is.
            told: what else LiteLLM is told of the key.
        """
        return httpx.post(self.url + path, json=body, headers=headers(user, **told), timeout=60)

    def close(self) -> None:
        """Stop it."""
        self.process.terminate()
        self.process.wait(30)


def headers(user: str, **told: Any) -> dict[str, str]:
    """Those of a request of somebody's."""
    return {"authorization": f"Bearer sk-{user}", "x-told": json.dumps(told)}


def free_port() -> int:
    import socket

    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        return int(listening.getsockname()[1])


@contextmanager
def running(proxies: Sequence[Proxy]) -> Iterator[Sequence[Proxy]]:
    """Proxies that serve, until the block ends."""
    try:
        for proxy in proxies:
            proxy.wait_until_ready()
        yield proxies
    finally:
        for proxy in proxies:
            proxy.close()


def spent(manager: BudgetManager, user: str | None = None) -> int:
    """What an account was charged, in nano-USD."""
    return round(manager.balance(user).spent * 1e9)


def settled(manager: BudgetManager, *providers: SimulatedProvider) -> int:
    """What the providers have billed, in nano-USD, once nothing is in flight any more."""
    for provider in providers:
        assert provider.wait_idle()
    until = time.monotonic() + 20
    while manager.balance().held and time.monotonic() < until:
        time.sleep(0.01)
    assert manager.balance().held == 0
    return sum(provider.billed_nano() for provider in providers)
