"""Dashboards and alerts as files."""

from __future__ import annotations

import json
from pathlib import Path

import click

from budgeted.dashboards import grafana as boards
from budgeted.dashboards import prometheus_rules

_OUTPUT = click.option(
    "-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="The file to write; else it is printed."
)


@click.group()
def dashboard() -> None:
    """Write a Grafana dashboard, or Prometheus rules, for the metrics that budgeted emits."""


@dashboard.command()
@_OUTPUT
@click.option("--title", default="LLM spend", show_default=True, help="The dashboard's name.")
def grafana(output: Path | None, title: str) -> None:
    """Write a Grafana dashboard as JSON: import it with "Dashboards, New, Import"."""
    _write(json.dumps(boards.dashboard(title), indent=2) + "\n", output)


@dashboard.command()
@_OUTPUT
def alerts(output: Path | None) -> None:
    """Write Prometheus recording and alerting rules as YAML: name the file in rule_files."""
    _write(prometheus_rules.rules(), output)


def _write(text: str, output: Path | None) -> None:
    if output is None:
        click.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        msg = f"cannot write {output}: {error.strerror}"
        raise click.ClickException(msg) from error
