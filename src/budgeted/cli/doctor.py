"""What of this environment is metered, and what is set in it."""

from __future__ import annotations

import os
import platform
import sys
from typing import Final

import click
import msgspec

from budgeted import __version__, providers
from budgeted.cli.table_output import Output, output_options, show
from budgeted.errors import LedgerError
from budgeted.ledger.default_place import default_directory
from budgeted.manager.environment import shown_variables, unknown_variables
from budgeted.providers.what_is_metered import MeteredPackage

BY_HAND: Final = "hold what they may cost by hand, `with budgeted.hold(cost=USD) as held: ...; held.settle(cost=USD)`"


class Diagnosis(msgspec.Struct, frozen=True):
    """What there is to know of an environment.

    Args:
        healthy: whether all that could be hooked is, and no installed package makes paid calls that nothing meters.
        python: the interpreter's version.
        budgeted: this package's version.
        default_ledger: the folder of ledgers that nobody has named another place for; "" if there is none.
        variables: the ``BUDGETED_*`` variables that are set, without their secrets.
        problems: what is wrong with some of them or with that folder, in sentences.
        packages: the installed packages that make paid calls.
        unmetered: the names of those that nothing meters.
    """

    healthy: bool
    python: str
    budgeted: str
    default_ledger: str
    variables: dict[str, str]
    problems: tuple[str, ...]
    packages: tuple[MeteredPackage, ...]
    unmetered: tuple[str, ...]


@click.command()
@output_options
def doctor(*, output: Output) -> None:
    """Say what is metered in this Python environment: run it where the application runs.

    Of each installed package that makes paid calls: its version, whether it is hooked, and what of it could not be, as
    in a version that is too old or too new. None of them is imported for that. And what is set in the environment.

    Exit code 0: everything is metered. 1: something is not, or could not be hooked.
    """
    found = _diagnosis()
    if output.for_people:
        click.echo(f"budgeted {found.budgeted}, Python {found.python}")
        if found.default_ledger:
            click.echo(f"ledgers are kept in {found.default_ledger} unless another place is named")
        else:
            click.echo(found.problems[-1])
        for name, value in found.variables.items():
            click.echo(f"{name}={value}")
        click.echo()
    rows = [(one.package, one.version, one.state) for one in found.packages]
    nothing = "no package is installed that is known to make paid calls"
    show(found, ("package", "version", "state"), rows, output, nothing=nothing)
    if found.unmetered and output.for_people:
        click.echo(f"\nnothing meters the calls of {', '.join(found.unmetered)}: {BY_HAND}")
    if not found.healthy:
        sys.exit(1)


def _diagnosis() -> Diagnosis:
    metered = providers.instrumented(ahead=True)
    problems = unknown_variables(os.environ)
    try:
        default_ledger = str(default_directory())
    except LedgerError as error:
        default_ledger = ""
        problems = [*problems, str(error)]
    return Diagnosis(
        healthy=metered.complete,
        python=platform.python_version(),
        budgeted=__version__,
        default_ledger=default_ledger,
        variables=shown_variables(os.environ),
        problems=tuple(problems),
        packages=metered.packages,
        unmetered=metered.unmetered,
    )
