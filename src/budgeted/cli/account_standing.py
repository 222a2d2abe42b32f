"""What commands say of an account besides its limits: that it is stopped, and which team it belongs to."""

from __future__ import annotations

from collections.abc import Iterable

import click

from budgeted.cli.table_cells import spelt_out
from budgeted.cli.table_output import Output
from budgeted.manager.administrative_manager import Books
from budgeted.manager.balances import AccountInfo


def state(info: AccountInfo) -> str:
    """That an account is stopped, and why; "" if it is not."""
    return f"stopped: {info.stopped}" if info.stopped else ""


def told(books: Books, user: str | None) -> list[str]:
    """What there is to say of an account, of those that pay what it pays, and of all calls together.

    Args:
        books: the project's.
        user: the user, or None for the global account.

    Returns:
        Sentences; none, as nearly always, if it is not stopped and belongs to nothing.
    """
    found: list[str] = []
    infos: dict[str, AccountInfo] = {}
    name = user
    while name is not None and name not in infos and (info := books.info(name)) is not None:
        infos[name], name = info, info.team
    for one in infos.values():
        whose = "" if one.name == user else f"{one.name} "
        found += [f"{whose}{'is ' if whose else ''}{state(one)}"] if one.stopped else []
        found += [f"{whose}belongs to {one.team}"] if one.team is not None else []
    everybody = books.info(None)
    if everybody is not None and everybody.stopped:
        found.append(f"all calls are {state(everybody)}")
    return found


def tell_standing(lines: Iterable[str], output: Output) -> None:
    """Print what there is to say of an account; on standard error where a program reads the rest."""
    for line in lines:
        click.echo(spelt_out(line), err=not output.for_people)
