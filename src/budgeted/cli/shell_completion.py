"""``budgeted completion``: what makes a shell complete commands, options, projects, users and models."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import click
from click.shell_completion import add_completion_class, get_completion_class

from budgeted.cli.bash_completion import ColonsInWords

PROGRAM: Final = "budgeted"
VARIABLE: Final = "_BUDGETED_COMPLETE"
"""What the shell's part asks by: https://click.palletsprojects.com/shell-completion/"""

INSTALLED_BY: Final = {
    "bash": 'put this line into ~/.bashrc:  eval "$(budgeted completion bash)"',
    "zsh": 'put this line into ~/.zshrc, behind compinit:  eval "$(budgeted completion zsh)"',
    "fish": "budgeted completion fish > ~/.config/fish/completions/budgeted.fish",
}

add_completion_class(ColonsInWords, "bash")


@click.command()
@click.argument("shell", type=click.Choice(list(INSTALLED_BY)), required=False)
def completion(shell: str | None) -> None:
    """Print what makes SHELL complete commands, options, projects, users, headings of reports and models.

    SHELL is the one of $SHELL if it is not given. What is printed says in its first line how to install it. Users are
    those of the project that the line names so far; a ledger that does not answer at once offers none.
    """
    name = shell or Path(os.environ.get("SHELL", "")).name
    found = get_completion_class(name) if name in INSTALLED_BY else None
    if found is None:
        msg = f"$SHELL is {os.environ.get('SHELL', '')!r}; write which shell it is for: {', '.join(INSTALLED_BY)}"
        raise click.UsageError(msg)
    root = click.get_current_context().find_root().command
    click.echo(f"# To install it: {INSTALLED_BY[name]}")
    click.echo(found(root, {}, PROGRAM, VARIABLE).source())
