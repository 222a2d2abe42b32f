"""Reports of ledgers on servers: they add up there as well, and know what would have been refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import redis_server
import servers

from budgeted import BudgetManager


@pytest.fixture(scope="module")
def redis_url() -> Iterator[str]:
    with redis_server.RedisServer() as server:
        yield server.url


@pytest.fixture(params=["postgresql", "redis", "http"])
def manager(request: pytest.FixtureRequest) -> Iterator[BudgetManager]:
    urls = {"postgresql": servers.postgres_url, "http": servers.http_url}
    url = request.getfixturevalue("redis_url") if request.param == "redis" else urls[request.param]()
    with BudgetManager(servers.project(), ledger=url) as made:
        yield made


def spend(manager: BudgetManager, usd: float, user: str | None = None) -> None:
    with manager.hold(cost=usd, user=user) as held:
        held.settle(cost=usd)


@pytest.mark.slow
def test_reports_add_up_and_tell_what_would_have_been_refused(manager: BudgetManager) -> None:
    spend(manager, 7)
    manager.set_limits("alice", "$1/day", "3 calls")
    with manager.budget("alice", on_exceed="warn"):
        for _ in range(4):
            spend(manager, 0.5)
    with manager.budget("team:search", cap=5, key="nightly"):
        spend(manager, 0.25, "bob")
    spent = {by: {name: row.spent for name, row in manager.report(by).items()} for by in ("user", "key")}
    assert spent == {
        "user": {"alice": 2, "bob": 0.25, "team:search": 0.25, "(nobody)": 7},
        "key": {"nightly": 0.25, "(no key)": 9},
    }
    assert (manager.report().total.spent, manager.report().shared.spent) == (9.25, 0.25)
    refused = {name: (row.spent, row.calls) for name, row in manager.report("would_refuse").items()}
    assert refused == {"alice: $1/day": (1, 2), "alice: 3 calls": (0.5, 1)}
    assert [one.name for one in manager.accounts("key:")] == ["key:nightly"]
    assert manager.balance("key:nightly").remaining == 4.75
    assert [one.account for one in manager.suggest()] == [None, "alice", "bob", "team:search"]
