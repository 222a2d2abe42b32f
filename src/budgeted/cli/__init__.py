"""The command ``budgeted``: see ``budgeted --help``."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command with this process's arguments."""
    try:
        from budgeted.cli.command_group import budgeted
    except ImportError as error:
        if (error.name or "").partition(".")[0] not in ("click", "rich"):
            raise
        sys.exit("the command needs packages that are not installed: pip install 'budgeted[cli]'")
    except KeyboardInterrupt:  # that soon
        sys.exit(130)
    budgeted(prog_name="budgeted")
