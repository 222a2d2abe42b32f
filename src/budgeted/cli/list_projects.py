"""Which projects there are in a ledger."""

from __future__ import annotations

import click

from budgeted.cli.ledger_options import ledger_option
from budgeted.cli.table_output import Output, output_options, show
from budgeted.ledger.opening import projects_beside


@click.command()
@ledger_option
@output_options
def projects(ledger: str | None, *, output: Output) -> None:
    """List the projects of a ledger. Exit code 1: it does not tell them, or does not answer."""
    place, names = projects_beside(ledger)
    if names is None:
        msg = f"which projects there are in {place} cannot be told; name yours with --project"
        raise click.ClickException(msg)
    show(names, ("project",), [(name,) for name in names], output, nothing=f"there are no projects in {place}")
