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
import yaml
from page_examples import ROOT, blocks

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
    """The settings file of the proxies: the page's, with another ledger and the models' prices."""
    prices = "".join(
        f'[prices."{name}"]\ninput = {input}\noutput = {output}\nmax_output_tokens = 4096\n'
        for name, (input, output) in PRICES.items()
    )
    of_page = of_the_page("toml").replace("redis://localhost:6379/0", ledger)
    assert ledger in of_page
    return f"wait = 20\n{of_page}{prices}"


def of_the_page(language: str) -> str:
    """The one example in a language that the page on the proxy has."""
    (found,) = (text for name, text in blocks(ROOT / "docs" / "how-to" / "litellm-proxy.md") if name == language)
    return found


def config(provider: SimulatedProvider, failing: SimulatedProvider) -> dict[str, Any]:
    """The proxy's config: the page's, with groups that are served here, some of them at a provider that fails."""
    found: dict[str, Any] = yaml.safe_load(of_the_page("yaml"))
    for one in found["model_list"]:
        one["litellm_params"]["api_base"] = provider.openai_url
    found["model_list"] += deployments(provider, failing)
    found["router_settings"] = {
        "fallbacks": [{"failing-first": ["dime"]}],
        "disable_cooldowns": True,
        "num_retries": 0,
        "model_group_retry_policy": {"retried": {"InternalServerErrorRetries": 1}},
    }
    found["litellm_settings"] |= {"cache": True, "cache_params": {"type": "local", "mode": "default_off"}}
    flat = f"{provider.openai_url}/chat/completions"
    found["general_settings"] |= {
        "custom_auth": "keys_by_header.user_api_key_auth",
        "pass_through_endpoints": [
            {"path": "/flat", "target": flat, "headers": {}, "cost_per_request": 0.1},
            {"path": "/mine", "target": provider.url, "headers": {}, "include_subpath": True},
        ],
    }
    return found


def deployments(provider: SimulatedProvider, failing: SimulatedProvider) -> list[dict[str, Any]]:
    """The proxy's model groups, nearly all of one deployment each."""

    def deployment(group: str, model: str, where: SimulatedProvider, **params: Any) -> dict[str, Any]:
        base = where.openai_url if model.startswith("openai/") else where.anthropic_url
        return {
            "model_name": group,
            "litellm_params": {"model": model, "api_base": base, "api_key": "any", **params},
            "model_info": {"id": f"{group} {where.url} {model}"},
        }

    return [
        deployment("dime", "openai/dime", provider),
        deployment("claude", "anthropic/claude-dime", provider),
        deployment("failing", "openai/dime", failing),
        deployment("failing-first", "openai/penny", failing),
        deployment("retried", "openai/dime", failing),
        deployment("mixed", "openai/dime", provider),
        deployment("mixed", "openai/penny", provider),
        deployment("openai/*", "openai/*", provider),
        deployment("made-up", "openai/dime", provider, mock_response="Paris"),
    ]


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

    def post(self, path: str, body: Any, user: str = "somebody", **told: Any) -> httpx.Response:
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
