"""What to type where a ledger on disk is damaged."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote

from budgeted.system import current as system


def repair_command(directory: Path) -> str:
    """The command that keeps what is intact of a ledger.

    Args:
        directory: the ledger's own: it has the project's name, below the path that ``ledger=`` names.

    Example:
        >>> repair_command(Path("/var/lib/budgeted/my-app"))
        'budgeted repair --ledger /var/lib/budgeted --project my-app'
    """
    return system.command_line(
        ["budgeted", "repair", "--ledger", str(directory.parent), "--project", unquote(directory.name)]
    )
