"""All commands in one group. A new one is imported here, and listed."""

from __future__ import annotations

import os

import click

from budgeted.cli import (
    agent_settings,
    alert_destinations,
    backup_and_restore,
    balances_and_limits,
    change_accounts,
    copy_to_other_ledger,
    demo,
    doctor,
    estimate_request,
    export_books,
    export_dashboards,
    gateway,
    gateway_keys,
    import_litellm_budgets,
    list_projects,
    list_users,
    run_program,
    serve,
    set_and_show_limits,
    show_price,
    show_report,
    show_settings,
    suggest_limits,
    verify_and_repair,
)
from budgeted.cli.long_work import Interrupted
from budgeted.errors import BudgetError
from budgeted.manager import stated_settings
from budgeted.manager.environment import unknown_variables


class _Commands(click.Group):
    """Commands whose errors are told in one line, as are interruptions, and variables that are misspelt."""

    def invoke(self, ctx: click.Context) -> object:
        for problem in unknown_variables(os.environ):
            stated_settings.told.add(problem)
            click.echo(f"Warning: {problem}", err=True)
        try:
            return super().invoke(ctx)
        except (BudgetError, ValueError, TypeError) as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            raise Interrupted("start again") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="budgeted")
def budgeted() -> None:
    """Hard spending limits on LLM calls: look at budgets, set them, move them, serve them."""


for _command in (
    agent_settings.claude_code,
    agent_settings.codex,
    alert_destinations.alerts,
    balances_and_limits.accounts,
    balances_and_limits.balance,
    balances_and_limits.reconcile,
    show_report.report,
    balances_and_limits.reset,
    balances_and_limits.uncertain,
    change_accounts.assign,
    change_accounts.resume,
    change_accounts.stop,
    change_accounts.top_up,
    list_projects.projects,
    list_users.users,
    set_and_show_limits.limits,
    show_price.price,
    estimate_request.estimate,
    export_books.export,
    export_dashboards.dashboard,
    import_litellm_budgets.take_over,
    copy_to_other_ledger.migrate,
    demo.demo,
    doctor.doctor,
    gateway.gateway,
    gateway_keys.keys,
    run_program.run,
    serve.serve,
    show_settings.config,
    suggest_limits.suggest,
    backup_and_restore.backup,
    backup_and_restore.restore,
    verify_and_repair.verify,
    verify_and_repair.repair,
):
    budgeted.add_command(_command)
