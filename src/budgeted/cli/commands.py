"""All commands in one group. A new one is imported here, and listed."""

from __future__ import annotations

import os
from typing import Any

import click

from budgeted.cli import budgets, dashboard, importing, migrating, serving
from budgeted.errors import BudgetError
from budgeted.settings import unknown_variables


class _Commands(click.Group):
    """Commands whose errors are told in one line, as are variables that are misspelt."""

    def invoke(self, ctx: click.Context) -> Any:
        for problem in unknown_variables(os.environ):
            click.echo(f"Warning: {problem}", err=True)
        try:
            return super().invoke(ctx)
        except (BudgetError, ValueError, TypeError) as error:
            raise click.ClickException(str(error)) from error


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="budgeted")
def budgeted() -> None:
    """Hard spending limits on LLM calls: look at budgets, set them, move them, serve them."""


for _command in (
    budgets.accounts,
    budgets.balance,
    budgets.limits,
    budgets.reconcile,
    budgets.report,
    budgets.reset,
    budgets.uncertain,
    dashboard.dashboard,
    importing.take_over,
    migrating.migrate,
    serving.serve,
):
    budgeted.add_command(_command)
