"""Prometheus rules: what to record, and when to wake somebody."""

from __future__ import annotations

from typing import NamedTuple

from budgeted.dashboards.promql import balance, estimated_share, lately, rate, time_left, used


class Recording(NamedTuple):
    """A query that Prometheus evaluates regularly, and keeps under a name."""

    name: str
    expr: str


class Alert(NamedTuple):
    """A query whose every series is an alert, once it has been there for a while."""

    name: str
    expr: str
    wait: str
    severity: str
    summary: str


WHOSE = "{{ $labels.budgeted_account }} ({{ $labels.budgeted_project }}, {{ $labels.budgeted_period }})"

RECORDINGS = (
    Recording("budgeted:spend_usd:rate1h", f"{rate('spend_USD', '1h', 'gen_ai_request_model')} * 3600"),
    Recording("budgeted:spent_usd:max", balance("spent")),
    Recording("budgeted:remaining_usd:max", balance("remaining")),
    Recording("budgeted:used:ratio", used()),
    Recording("budgeted:time_to_exhaustion_seconds:min", time_left()),
    Recording("budgeted:estimated:ratio1h", estimated_share("1h")),
)

ALERTS = (
    Alert(
        "BudgetedLimitNearlySpent",
        f"({used()}) >= 0.8 < 1",
        "0m",
        "warning",
        f"{{{{ $value | humanizePercentage }}}} of the limit of {WHOSE} is spent",
    ),
    Alert(
        "BudgetedLimitSpent", f"({used()}) >= 1", "0m", "critical", f"The limit of {WHOSE} is spent: calls are refused"
    ),
    Alert(
        "BudgetedExhaustionSoon",
        f"{time_left()} < 3600",
        "5m",
        "warning",
        f"The limit of {WHOSE} will be reached in {{{{ $value | humanizeDuration }}}} at the present rate",
    ),
    Alert(
        "BudgetedCallsRefused",
        lately("calls", "5m", "budgeted_reason, budgeted_account_kind", 'budgeted_outcome="refused"') + " > 0",
        "0m",
        "warning",
        "Calls are refused ({{ $labels.budgeted_reason }}) by {{ $labels.budgeted_account_kind }} limits",
    ),
    Alert(
        "BudgetedOverruns",
        lately("overrun_USD", "1h", "gen_ai_request_model") + " > 0",
        "0m",
        "warning",
        "Calls of {{ $labels.gen_ai_request_model }} cost more than was held for them",
    ),
    Alert(
        "BudgetedManyEstimates",
        f"({estimated_share('1h')}) > 0.1",
        "15m",
        "warning",
        "{{ $value | humanizePercentage }} of the calls are charged estimates: nobody says what they cost",
    ),
    Alert(
        "BudgetedBalancesMissing",
        "absent(budgeted_limit_USD)",
        "10m",
        "critical",
        "No process shows a balance: none runs, or the ledger cannot be read",
    ),
)


def rules() -> str:
    """The rules as the YAML file that Prometheus takes in ``rule_files``."""
    lines = ["# Written by `budgeted dashboard alerts`.", "groups:", "  - name: budgeted-recordings", "    rules:"]
    for recording in RECORDINGS:
        lines += [f"      - record: {recording.name}", f"        expr: {_quoted(recording.expr)}"]
    lines += ["  - name: budgeted-alerts", "    rules:"]
    for alert in ALERTS:
        lines += [
            f"      - alert: {alert.name}",
            f"        expr: {_quoted(alert.expr)}",
            f"        for: {alert.wait}",
            "        labels:",
            f"          severity: {alert.severity}",
            "        annotations:",
            f"          summary: {_quoted(alert.summary)}",
        ]
    return "\n".join(lines) + "\n"


def _quoted(text: str) -> str:
    """A YAML scalar in single quotes, in which nothing but they is special."""
    return "'" + text.replace("'", "''") + "'"
