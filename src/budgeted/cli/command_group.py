"""All commands in one group. A new one is imported here, and listed under what it is for."""

from __future__ import annotations

import itertools
import os
from typing import Final

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
    shell_completion,
    show_price,
    show_report,
    show_settings,
    show_status,
    suggest_limits,
    top,
    verify_and_repair,
)
from budgeted.cli.error_words import of_wrong_option, speak_of_command_line
from budgeted.cli.help_examples import commands_in, show_examples
from budgeted.cli.long_work import Interrupted
from budgeted.errors import BudgetError
from budgeted.manager import stated_settings
from budgeted.manager.environment import unknown_variables


@click.command("help")
@click.argument("words", metavar="[COMMAND]...", nargs=-1)
@click.pass_context
def show_help(ctx: click.Context, words: tuple[str, ...]) -> None:
    """Show what `COMMAND --help` does."""
    found = ctx.find_root()
    for word in words:
        command = found.command.get_command(found, word) if isinstance(found.command, click.Group) else None
        if command is None:
            msg = f"there is no command {' '.join(words)!r}; `budgeted --help` lists them"
            raise click.UsageError(msg)
        found = click.Context(command, info_name=word, parent=found)
    click.echo(found.get_help())


SECTIONS: Final[dict[str, tuple[click.Command, ...]]] = {
    "Look": (
        show_status.status,
        top.top,
        balances_and_limits.balance,
        show_report.report,
        list_users.users,
        balances_and_limits.accounts,
        list_projects.projects,
        balances_and_limits.uncertain,
    ),
    "Limit and correct": (
        set_and_show_limits.limits,
        change_accounts.top_up,
        change_accounts.stop,
        change_accounts.resume,
        change_accounts.assign,
        balances_and_limits.reset,
        balances_and_limits.reconcile,
        suggest_limits.suggest,
    ),
    "Run programs": (run_program.run, agent_settings.claude_code, agent_settings.codex, demo.demo),
    "Serve": (
        serve.serve,
        gateway.gateway,
        gateway_keys.keys,
        export_dashboards.dashboard,
        alert_destinations.alerts,
    ),
    "Prices": (show_price.price, estimate_request.estimate),
    "Keep and move": (
        export_books.export,
        backup_and_restore.backup,
        backup_and_restore.restore,
        copy_to_other_ledger.migrate,
        import_litellm_budgets.take_over,
        verify_and_repair.verify,
        verify_and_repair.repair,
    ),
    "Set up": (show_settings.config, doctor.doctor, shell_completion.completion, show_help),
}
"""Commands by what somebody wants, the most used first."""


class _Commands(click.Group):
    """Commands whose errors are told in one line, as are interruptions, and variables that are misspelt."""

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands under the headings of :data:`SECTIONS`."""
        names = [len(name) for name in self.list_commands(ctx)]
        room = formatter.width - 6 - max(names)
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                rows = [(command.name or "", command.get_short_help_str(room)) for command in commands]
                formatter.write_dl(rows, col_max=max(names), col_spacing=max(names) + 2 - max(map(len, dict(rows))))

    def invoke(self, ctx: click.Context) -> object:
        for problem in unknown_variables(os.environ):
            stated_settings.told.add(problem)
            click.echo(f"Warning: {problem}", err=True)
        try:
            return super().invoke(ctx)
        except (BudgetError, ValueError, TypeError) as error:
            raise click.ClickException(str(error)) from error
        except click.NoSuchOption as error:
            raise of_wrong_option(error) from None
        except KeyboardInterrupt:
            raise Interrupted("start again") from None


@click.group(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="budgeted")
def budgeted() -> None:
    """Hard spending limits on LLM calls: look at budgets, set them, move them, serve them."""


for _command in itertools.chain.from_iterable(SECTIONS.values()):
    budgeted.add_command(_command)
show_examples(budgeted)
speak_of_command_line(command for _, command in commands_in(budgeted))
