"""What Prometheus answers is what the provider bills; and every query of the dashboards answers something."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus import Prometheus, free_port

from budgeted.dashboards import grafana, prometheus_rules
from budgeted.testing import SimulatedProvider

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("prometheus") is None, reason="asks a real one: apt-get install prometheus"),
]

USERS = {"alice": ("gpt-5-mini", "claude-sonnet-4-5"), "bob": ("gpt-5-mini", "gpt-4o"), "carol": ("claude-haiku-4-5",)}


SHOP = {"project_name": "shop", "metric_users": True}


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Callable[..., Prometheus]]:
    """Starts a Prometheus that scrapes these ports."""
    opened: list[Prometheus] = []

    def run(*ports: int, loaded: str = "") -> Prometheus:
        opened.append(Prometheus(tmp_path / "prometheus", *(f"127.0.0.1:{port}" for port in ports), rules=loaded))
        return opened[-1]

    yield run
    for one in opened:
        one.close()


def billed(provider: SimulatedProvider, model: str = "") -> float:
    """USD on the provider's bill, of one model or of all."""
    return sum(one.nano_usd for one in provider.bill if model in ("", one.model)) / 1e9


def test_answers_equal_the_providers_bill_by_model_and_by_user(
    watch: Callable[..., Prometheus], start: Callable[..., Any], provider: SimulatedProvider, tmp_path: Path
) -> None:
    ports = free_port(), free_port()
    limits = {"max_budget": "$100/day", "default_user_limits": "$10/day"}
    applications = [
        start({"PROMETHEUS_PORT": str(port)}, ledger=str(tmp_path / "l"), **SHOP, **limits) for port in ports
    ]
    prometheus = watch(*ports)
    owed: dict[str, float] = {}
    for number, application in enumerate(applications):
        for user, models in USERS.items():
            for model in models:
                before = billed(provider)
                assert application.do("ask", user, model, 100 + number) == "answered"
                owed[user] = owed.get(user, 0) + billed(provider) - before
    total = pytest.approx(billed(provider), abs=1e-12)
    prometheus.wait(lambda: prometheus.one("sum(budgeted_spend_USD_total)") == total)
    models = {one.model for one in provider.bill}
    assert prometheus.ask("sum by (gen_ai_request_model) (budgeted_spend_USD_total)") == {
        (model,): pytest.approx(billed(provider, model), abs=1e-12) for model in models
    }
    assert prometheus.ask("sum by (user_id) (budgeted_spend_USD_total)") == {
        (user,): pytest.approx(cost, abs=1e-12) for user, cost in owed.items()
    }
    assert prometheus.one("sum(budgeted_calls_total)") == len(provider.bill)
    assert prometheus.one("sum(budgeted_tokens_total)") == provider.billed_tokens()
    # Both processes show the ledger that they share: the same figure twice, and once with max.
    everybody = 'budgeted_spent_USD{budgeted_account="global"}'
    assert prometheus.wait(lambda: set(prometheus.ask(everybody).values()) == {billed(provider)})
    assert len(prometheus.ask(everybody)) == 2
    assert prometheus.one(f"max({everybody})") == total
    assert prometheus.ask('max by (budgeted_account) (budgeted_remaining_USD{user_id!=""})') == {
        (user,): pytest.approx(10 - cost, abs=1e-9) for user, cost in owed.items()
    }


def test_every_query_of_the_dashboard_and_every_rule_answers_something(
    watch: Callable[..., Prometheus], start: Callable[..., Any], provider: SimulatedProvider
) -> None:
    port = free_port()
    prometheus = watch(port, loaded=re.sub("for: [0-9]+m", "for: 0m", prometheus_rules.rules()))
    assert {rule["name"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]} == {
        one.name for one in (*prometheus_rules.RECORDINGS, *prometheus_rules.ALERTS)
    }

    def firing() -> set[str]:
        return {one["labels"]["alertname"] for one in prometheus.get("alerts")["alerts"] if one["state"] == "firing"}

    prometheus.wait(lambda: firing() == {"BudgetedBalancesMissing"})
    users = {"carol": "$0.01/day", "*": "$0.00025/day"}
    application = start(
        {"PROMETHEUS_PORT": str(port)},
        max_budget="$1/day",
        default_user_limits=users,
        wait=0,
        ledger="memory://",
        **SHOP,
    )
    for round_ in range(2):  # a rate is seen where a counter rises from one scrape to another
        provider.reply(output_tokens=100)
        assert application.do("ask", f"alice-{round_}", "gpt-5-mini", 100) == "answered"
        assert application.do("ask", f"alice-{round_}", "claude-haiku-4-5", 100) == "spent"
        assert application.do("ask", "carol", "gpt-5-mini", None) == "answered"
        assert application.do("trouble", f"bob-{round_}") == "done"
        prometheus.wait(lambda so_far=5 * (round_ + 1): prometheus.one("sum(budgeted_calls_total)") == so_far)
    assert prometheus.one("sum(budgeted_clamped_total)") == 2
    answers = {expr: prometheus.ask(_filled(expr)) for expr in grafana.queries()}
    assert len(answers) > 15
    assert [expr for expr, found in answers.items() if not found] == []
    expected = {one.name for one in prometheus_rules.ALERTS} - {"BudgetedBalancesMissing"}
    assert prometheus.wait(lambda: firing() == expected)
    for recording in prometheus_rules.RECORDINGS:
        prometheus.wait(lambda name=recording.name: prometheus.ask(name))
    (spent,) = {value for labels, value in prometheus.ask("budgeted:used:ratio").items() if "alice-0" in labels}
    assert 0.8 < spent < 1
    healthy = [rule["health"] for group in prometheus.get("rules")["groups"] for rule in group["rules"]]
    assert set(healthy) == {"ok"}


def _filled(expr: str) -> str:
    """A query as Grafana sends it."""
    for variable, value in {"$__rate_interval": "1m", "$__range": "1h", "$project": "shop"}.items():
        expr = expr.replace(variable, value)
    assert "$" not in expr
    return expr
