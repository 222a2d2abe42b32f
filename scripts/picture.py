"""Make `docs/dashboard.svg`: the Grafana dashboard's own queries, asked of a real Prometheus while an application runs.

    make picture

The application of `tests/observed` (real SDKs, several users and models, two processes that share a ledger) is driven
for a minute against the simulated provider. Needs `prometheus` on the path.
"""

# ruff: noqa: INP001

from __future__ import annotations

import html
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "tests" / "observed"))

from prometheus import Prometheus, free_port  # noqa: E402 - found on the path above

from budgeted.dashboards import grafana  # noqa: E402
from budgeted.testing import SimulatedProvider  # noqa: E402

TARGET = ROOT / "docs" / "dashboard.svg"
SECONDS = 60
STEPS = 60
USERS = {"alice": "gpt-5", "bob": "gpt-5-mini", "carol": "claude-sonnet-4-5", "dave": "gpt-4o"}
LIMITS = {"alice": "$0.03/day", "bob": "$0.01/day", "carol": "$0.06/day", "dave": "$0.07/day"}
VARIABLES = {"$__rate_interval": "12s", "$__range": f"{SECONDS}s", "$project": "shop"}
PANELS = (
    "Used, of each limit",
    "Spend by model (USD per hour)",
    "Remaining",
    "Spent by model",
    "Calls by outcome",
    "Refusals",
)
COLOURS = ("#73bf69", "#f2cc0c", "#5794f2", "#ff9830", "#f2495c", "#b877d9", "#8ab8ff", "#96d98d")
WIDTH, HEIGHT, GAP, HEAD = 320, 190, 12, 26


def drive(folder: Path) -> Prometheus:
    """Run the application for a while; the Prometheus that watched it."""
    ports = free_port(), free_port()
    prometheus = Prometheus(folder / "prometheus", *(f"127.0.0.1:{port}" for port in ports))
    settings = {
        "project_name": "shop",
        "max_budget": "$0.22/day",
        "default_user_limits": LIMITS,
        "ledger": str(folder / "ledger"),
        "metric_users": True,
        "wait": 0,
    }
    chance = random.Random(7)  # noqa: S311 - the same traffic each time
    with SimulatedProvider() as provider:
        provider.reply(lambda _: _reply(chance))
        processes = [_start(provider, port, settings) for port in ports]
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            user = chance.choice(list(USERS))
            _do(chance.choice(processes), "ask", user, USERS[user], chance.choice((200, 400, 800)))
            if chance.random() < 0.03:
                _do(processes[0], "trouble", user)
            time.sleep(0.25 + 0.2 * chance.random())
        prometheus.wait(lambda: prometheus.ask("budgeted_spend_USD_total"))
        for process in processes:
            process.kill()
            process.communicate()
    return prometheus


def _reply(chance: random.Random) -> Any:
    from budgeted.testing import Reply

    return Reply(output_tokens=chance.randrange(50, 200))


def _start(provider: SimulatedProvider, port: int, settings: dict[str, Any]) -> subprocess.Popen[str]:
    variables = {
        "OPENAI_BASE_URL": provider.openai_url,
        "OPENAI_API_KEY": "none",
        "ANTHROPIC_BASE_URL": provider.anthropic_url,
        "ANTHROPIC_API_KEY": "none",
        "PROMETHEUS_PORT": str(port),
        "CONFIGURE": json.dumps(settings),
    }
    return subprocess.Popen(  # noqa: S603 - this Python, and a file of this repository
        [sys.executable, str(ROOT / "tests" / "observed" / "application.py")],
        env={**os.environ, **variables},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _do(process: subprocess.Popen[str], *command: Any) -> None:
    assert process.stdin is not None  # noqa: S101
    assert process.stdout is not None  # noqa: S101
    process.stdin.write(json.dumps(command) + "\n")
    process.stdin.flush()
    process.stdout.readline()


# -- drawing

Line = tuple[str, list[tuple[float, float]]]
"""A legend, and points of time and value."""


def ask(prometheus: Prometheus, panel: dict[str, Any], now: float) -> list[Line]:
    """What a panel shows: for each query, each series over the time shown."""
    lines: list[Line] = []
    for target in panel["targets"]:
        expr = target["expr"]
        for variable, value in VARIABLES.items():
            expr = expr.replace(variable, value)
        span = {"start": str(now - SECONDS), "end": str(now), "step": str(SECONDS / STEPS)}
        for one in prometheus.get("query_range", query=expr, **span)["result"]:
            legend = target["legendFormat"]
            for label in ("budgeted_project", "budgeted_models"):
                legend = legend.replace("{{" + label + "}}", "")
            for label, value in one["metric"].items():
                legend = legend.replace("{{" + label + "}}", value)
            lines.append((" ".join(legend.split()), [(at, float(value)) for at, value in one["values"]]))
    return sorted(lines, key=lambda line: -line[1][-1][1])[: len(COLOURS)]


def draw(panels: list[tuple[dict[str, Any], list[Line]]]) -> str:
    """All panels as one picture."""
    columns = 3
    rows = -(-len(panels) // columns)
    width, height = columns * (WIDTH + GAP) + GAP, rows * (HEIGHT + GAP) + GAP
    parts = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" '
            'font-family="sans-serif" font-size="10">'
        ),
        f'<rect width="{width}" height="{height}" fill="#111217"/>',
    ]
    for number, (panel, lines) in enumerate(panels):
        x = GAP + number % columns * (WIDTH + GAP)
        y = GAP + number // columns * (HEIGHT + GAP)
        title = html.escape(panel["title"])
        parts.append(
            f'<g transform="translate({x},{y})"><rect width="{WIDTH}" height="{HEIGHT}" rx="3" fill="#1f2128"/>'
        )
        parts.append(f'<text x="10" y="18" fill="#d8d9da" font-size="12">{title}</text>')
        parts += _curves(panel, lines) if panel["type"] == "timeseries" else _bars(panel, lines)
        parts.append("</g>")
    return "\n".join([*parts, "</svg>"]) + "\n"


def _bars(panel: dict[str, Any], lines: list[Line]) -> list[str]:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    most = 1.0 if unit == "percentunit" else max(points[-1][1] for _, points in lines)
    parts = []
    for row, (legend, points) in enumerate(lines):
        value, y = points[-1][1], HEAD + 8 + row * 30
        colour = COLOURS[row]
        if unit == "percentunit":
            colour = "#f2495c" if value >= 1 else "#f2cc0c" if value >= 0.8 else "#73bf69"
        long = round((WIDTH - 90) * min(1.0, value / most), 1)
        parts += [
            f'<text x="10" y="{y + 6}" fill="#9fa7b3">{html.escape(legend)}</text>',
            f'<rect x="10" y="{y + 10}" width="{WIDTH - 90}" height="10" fill="#2c2f38"/>',
            f'<rect x="10" y="{y + 10}" width="{long}" height="10" fill="{colour}"/>',
            f'<text x="{WIDTH - 10}" y="{y + 19}" fill="{colour}" text-anchor="end">{_shown(value, unit)}</text>',
        ]
    return parts


def _curves(panel: dict[str, Any], lines: list[Line]) -> list[str]:
    unit = panel["fieldConfig"]["defaults"]["unit"]
    times = [at for _, points in lines for at, _ in points]
    first, last = min(times), max(times)
    most = max(value for _, points in lines for _, value in points) * 1.05 or 1.0
    left, bottom, wide, high = 52, 136, WIDTH - 64, 104
    parts = []
    for part in (0.0, 0.5, 1.0):
        y = bottom - high * part
        parts.append(f'<path d="M{left} {y}h{wide}" stroke="#2c2f38"/>')
        parts.append(
            f'<text x="{left - 5}" y="{y + 3}" fill="#9fa7b3" text-anchor="end">{_shown(most * part, unit)}</text>'
        )
    for number, (legend, points) in enumerate(lines):
        places = [
            f"{left + wide * (at - first) / (last - first):.0f} {bottom - high * value / most:.0f}"
            for at, value in points
        ]
        x, y = 10 + number % 3 * 104, bottom + 18 + number // 3 * 13
        parts += [
            f'<path d="M{"L".join(places)}" fill="none" stroke="{COLOURS[number]}" stroke-width="1.5"/>',
            f'<path d="M{x} {y - 3}h8" stroke="{COLOURS[number]}" stroke-width="3"/>',
            f'<text x="{x + 11}" y="{y}" fill="#9fa7b3">{html.escape(legend)}</text>',
        ]
    return parts


def _shown(value: float, unit: str) -> str:
    if unit == "percentunit":
        return f"{value:.0%}"
    return f"${value:.3g}" if unit == "currencyUSD" else f"{value:.2g}"


def main() -> None:
    """Drive, ask, draw, write."""
    with tempfile.TemporaryDirectory() as folder:
        prometheus = drive(Path(folder))
        try:
            board = {panel["title"]: panel for panel in grafana.dashboard()["panels"]}
            now = time.time() - 1
            found = [(board[title], ask(prometheus, board[title], now)) for title in PANELS]
        finally:
            prometheus.close()
    TARGET.parent.mkdir(exist_ok=True)
    TARGET.write_text(draw(found), encoding="utf-8")
    print(f"{TARGET}: {TARGET.stat().st_size} bytes")  # noqa: T201


if __name__ == "__main__":
    main()
