"""Collects this folder where LiteLLM's proxy can run; two of them, on one Redis, for all its tests."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence

import pytest

if importlib.util.find_spec("fastapi_sso") is None or importlib.util.find_spec("litellm") is None:
    collect_ignore_glob = ["*.py"]
else:
    from ledger.redis_server import RedisServer
    from running_proxy import PRICES, Proxy, config, running, settings

    from budgeted import BudgetManager, register_price, uninstrument
    from budgeted.testing import SimulatedProvider

    @pytest.fixture(scope="session")
    def providers() -> Iterator[tuple[SimulatedProvider, SimulatedProvider]]:
        with SimulatedProvider(prices=PRICES) as healthy, SimulatedProvider(prices=PRICES) as failing:
            yield healthy, failing

    @pytest.fixture(scope="session")
    def redis_url() -> Iterator[str]:
        with RedisServer() as server:
            yield server.url

    @pytest.fixture(scope="session")
    def proxies(
        providers: tuple[SimulatedProvider, SimulatedProvider],
        redis_url: str,
        tmp_path_factory: pytest.TempPathFactory,
    ) -> Iterator[Sequence[Proxy]]:
        """Two proxies that share a ledger."""
        healthy, failing = providers
        file = tmp_path_factory.mktemp("settings") / "budgeted.toml"
        file.write_text(settings(redis_url))
        environment = {
            "BUDGETED_CONFIG": str(file),
            "BUDGETED_HOME": str(file.parent),
            "LITELLM_MASTER_KEY": "sk-master",
            "INITIAL_RETRY_DELAY": "0.01",
            "MAX_RETRY_DELAY": "0.02",
            "OPENAI_API_KEY": "any",
            "OPENAI_API_BASE": healthy.url,
            "ANTHROPIC_API_KEY": "any",
            "ANTHROPIC_API_BASE": healthy.url,
            "GEMINI_API_KEY": "any",
            "GEMINI_API_BASE": healthy.url,
        }
        made = [
            Proxy(tmp_path_factory.mktemp(f"proxy-{number}"), config(healthy, failing), environment)
            for number in (1, 2)
        ]
        with running(made):
            yield made

    @pytest.fixture(scope="session")
    def books(proxies: Sequence[Proxy], redis_url: str) -> Iterator[BudgetManager]:
        """The proxies' ledger."""
        for name, (asked, answered) in PRICES.items():
            register_price(name, input=asked, output=answered)
        with BudgetManager("proxy", ledger=redis_url) as manager:
            uninstrument()  # it is the proxies that meter, and not this process
            yield manager

    @pytest.fixture
    def manager(books: BudgetManager, providers: tuple[SimulatedProvider, SimulatedProvider]) -> BudgetManager:
        """The proxies' ledger, of which nothing is spent yet, with a dollar for everybody together."""
        for provider in providers:
            provider.reset()
            provider.reply(output_tokens=10)
        books.set_limits(None, "$1")
        books.reset_cost(None)
        return books

    @pytest.fixture
    def provider(providers: tuple[SimulatedProvider, SimulatedProvider], manager: BudgetManager) -> SimulatedProvider:
        """Where everything goes but what begins at a provider that fails."""
        return providers[0]

    @pytest.fixture
    def failing(providers: tuple[SimulatedProvider, SimulatedProvider], manager: BudgetManager) -> SimulatedProvider:
        """Where that begins."""
        return providers[1]

    @pytest.fixture
    def proxy(proxies: Sequence[Proxy], manager: BudgetManager) -> Proxy:
        """One of the proxies."""
        return proxies[0]
