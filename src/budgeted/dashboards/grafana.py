"""A Grafana dashboard, importable as it is: who spends what, how long the money lasts, and what was refused."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict

from budgeted.colours import NEARLY, OTHER, REFUSED, SPENT, UNCERTAIN
from budgeted.dashboards.panel_colours import AMOUNTS, OUTCOMES, Override, by_first_word, shades, steps
from budgeted.dashboards.promql import balance, estimated_share, lately, rate, time_left, used

WINDOW = "$__rate_interval"
RANGE = "$__range"
PROJECT = 'budgeted_project=~"$project"'
ACCOUNT = "{{budgeted_project}} {{budgeted_account}} {{budgeted_period}} {{budgeted_models}}"
MODEL = "{{gen_ai_request_model}}"

_SOURCE = {"type": "prometheus", "uid": "${datasource}"}
_WIDE, _HALF, _THIRD, _SIXTH = 24, 12, 8, 4


class GridPosition(TypedDict, total=False):
    """Where a panel is, and how large, in Grafana's grid of 24 columns."""

    w: int
    h: int
    x: int
    y: int


class Target(TypedDict):
    """A query of a panel."""

    refId: str
    expr: str
    legendFormat: str
    datasource: dict[str, str]
    instant: bool
    range: bool


class Panel(TypedDict, total=False):
    """A panel, or a row, which is the head of those below it."""

    id: int
    title: str
    type: str
    gridPos: GridPosition
    datasource: dict[str, str]
    fieldConfig: dict[str, object]
    options: dict[str, object]
    targets: list[Target]
    collapsed: bool
    panels: list[Panel]


def dashboard(title: str = "LLM spend") -> dict[str, object]:
    """The dashboard, as Grafana imports it.

    Args:
        title: its name.

    Returns:
        What to write as JSON.
    """
    return {
        "title": title,
        "uid": "budgeted",
        "tags": ["budgeted", "llm", "cost"],
        "description": "Spend on LLM calls, as budgeted enforces and measures it.",
        "schemaVersion": 39,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_datasource(), _projects()]},
        "panels": _placed(_panels()),
    }


def queries() -> list[str]:
    """Every query of the dashboard, with Grafana's variables in it."""
    return [target["expr"] for panel in _panels() for target in panel.get("targets", ())]


def _panels() -> list[Panel]:
    refused = 'budgeted_outcome="refused"'
    return [
        _row("How much is left"),
        _panel("Used, of each limit", "gauge", _HALF, "percentunit", (used(PROJECT), ACCOUNT), marks=(NEARLY, 1.0)),
        _panel("Time to exhaustion", "stat", _HALF, "s", (time_left(PROJECT), ACCOUNT), marks=(86_400, 3_600)),
        _panel("Remaining", "timeseries", _HALF, "currencyUSD", (balance("remaining", PROJECT), ACCOUNT), colour=OTHER),
        _panel(
            "Spent, held and limit",
            "timeseries",
            _HALF,
            "currencyUSD",
            (balance("spent", PROJECT), "spent " + ACCOUNT),
            (balance("held", PROJECT), "held " + ACCOUNT),
            (balance("limit", PROJECT), "limit " + ACCOUNT),
            overrides=by_first_word(AMOUNTS),
        ),
        _row("What is spent"),
        _panel("Burn rate (USD per hour)", "stat", _SIXTH, "currencyUSD", (f"{rate('spend_USD', WINDOW)} * 3600", "")),
        _panel("Spent in the time shown", "stat", _SIXTH, "currencyUSD", (lately("spend_USD", RANGE), "")),
        _panel(
            "Spend by model (USD per hour)",
            "timeseries",
            16,
            "currencyUSD",
            (f"{rate('spend_USD', WINDOW, 'gen_ai_request_model')} * 3600", MODEL),
            stacked=True,
        ),
        _panel(
            "Spent by model",
            "bargauge",
            _THIRD,
            "currencyUSD",
            (f"sort_desc({lately('spend_USD', RANGE, 'gen_ai_request_model')})", MODEL),
        ),
        _panel(
            "Spend by provider (USD per hour)",
            "timeseries",
            _THIRD,
            "currencyUSD",
            (f"{rate('spend_USD', WINDOW, 'gen_ai_provider_name')} * 3600", "{{gen_ai_provider_name}}"),
            stacked=True,
        ),
        _panel(
            "Tokens",
            "timeseries",
            _THIRD,
            "short",
            (rate("tokens", WINDOW, "gen_ai_token_type"), "{{gen_ai_token_type}} per second"),
            stacked=True,
        ),
        _row("What was refused, or went wrong"),
        _panel(
            "Calls by outcome",
            "timeseries",
            _THIRD,
            "reqps",
            (rate("calls", WINDOW, "budgeted_outcome"), "{{budgeted_outcome}}"),
            stacked=True,
            overrides=by_first_word(OUTCOMES),
        ),
        _panel(
            "Refusals",
            "timeseries",
            _THIRD,
            "short",
            (
                lately("calls", WINDOW, "budgeted_reason, budgeted_account_kind", refused),
                "{{budgeted_reason}} {{budgeted_account_kind}}",
            ),
            stacked=True,
            colour=REFUSED,
        ),
        _panel(
            "Thresholds reached",
            "timeseries",
            _THIRD,
            "short",
            (
                lately("alerts", WINDOW, "budgeted_project, budgeted_account_kind, budgeted_threshold"),
                "{{budgeted_project}} {{budgeted_account_kind}} {{budgeted_threshold}}",
            ),
            colour=UNCERTAIN,
        ),
        _panel(
            "Overruns: cost above what was held",
            "timeseries",
            _THIRD,
            "currencyUSD",
            (lately("overrun_USD", WINDOW, "gen_ai_request_model"), MODEL),
            colour=UNCERTAIN,
        ),
        _panel(
            "Estimated share of calls",
            "timeseries",
            _THIRD,
            "percentunit",
            (estimated_share(WINDOW), "estimated"),
            colour=UNCERTAIN,
        ),
        _panel(
            "Answers capped to fit",
            "timeseries",
            _THIRD,
            "short",
            (lately("clamped", WINDOW, "gen_ai_request_model"), MODEL),
            colour=UNCERTAIN,
        ),
    ]


def _datasource() -> dict[str, object]:
    return {"name": "datasource", "label": "Prometheus", "type": "datasource", "query": "prometheus"}


def _projects() -> dict[str, object]:
    query = "label_values(budgeted_limit_USD, budgeted_project)"
    return {
        "name": "project",
        "label": "Project",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": query, "refId": "projects"},
        "definition": query,
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }


def _row(title: str) -> Panel:
    return {"title": title, "type": "row", "collapsed": False, "panels": [], "gridPos": {"w": _WIDE, "h": 1}}


def _panel(
    title: str,
    kind: str,
    width: int,
    unit: str,
    *shown: tuple[str, str],
    marks: tuple[float, float] | None = None,
    stacked: bool = False,
    colour: str = SPENT,
    overrides: Sequence[Override] = (),
) -> Panel:
    """One panel: queries with their legends, in shades of a colour or turning amber and red at marks."""
    instant = kind != "timeseries"
    defaults: dict[str, object] = {"unit": unit, "min": 0, "color": shades(colour)}
    if kind == "gauge":
        defaults["max"] = 1
    if marks is not None:
        defaults["color"] = {"mode": "thresholds"}
        defaults["thresholds"] = {"mode": "absolute", "steps": steps(*marks)}
    if stacked:
        defaults["custom"] = {"stacking": {"mode": "normal"}, "fillOpacity": 30}
    return {
        "title": title,
        "type": kind,
        "datasource": _SOURCE,
        "gridPos": {"w": width, "h": 8},
        "fieldConfig": {"defaults": defaults, "overrides": [*overrides]},
        "options": {"reduceOptions": {"calcs": ["lastNotNull"]}} if instant else {"legend": {"showLegend": True}},
        "targets": [
            {
                "refId": chr(ord("A") + number),
                "expr": expr,
                "legendFormat": legend,
                "datasource": _SOURCE,
                "instant": instant,
                "range": not instant,
            }
            for number, (expr, legend) in enumerate(shown)
        ],
    }


def _placed(panels: list[Panel]) -> list[Panel]:
    """Give each panel its number and its place: rows are filled from the left."""
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        place = panel["gridPos"]
        if x + place["w"] > _WIDE:
            x, y, height = 0, y + height, 0
        panel["id"] = number
        panel["gridPos"] = {**place, "x": x, "y": y}
        x, height = x + place["w"], max(height, place["h"])
    return panels
