"""Keys of a gateway: making, listing, revoking and replacing them."""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Sequence
from typing import Final

import click
import msgspec

from budgeted.cli import completions
from budgeted.cli.balances_and_limits import COLUMNS as OF_LIMITS
from budgeted.cli.balances_and_limits import row
from budgeted.cli.bars import REFUSED
from budgeted.cli.ledger_options import books, books_to_read, on_books
from budgeted.cli.limits_and_users import told_apart
from budgeted.cli.table_cells import Amount, for_people, marked, spelt_out
from budgeted.cli.table_output import Output, output_options, print_json, show
from budgeted.cli.terminal_table import Column, Row
from budgeted.gateway import key_secret
from budgeted.gateway.key_books import KeyBooks, KeyInfo
from budgeted.gateway.key_expiry import expires_at
from budgeted.gateway.stated_gateway import stated_gateway
from budgeted.validation import looks_like_a_limit

COLUMNS = (
    Column("id", whole=True),
    Column("user"),
    Column("name", worth=3),
    Column("limits", worth=1, none="none"),
    Column("spent"),
    Column("models", worth=4, none="any"),
    Column("created", worth=5),
    Column("expires", worth=2, none="never"),
    Column("state"),
)

_NEVER: Final = "never"

json_of_key = click.option("--json", "as_json", is_flag=True, help="Print JSON, with the key in it.")


@click.group()
def keys() -> None:
    """Make, list and revoke keys of a gateway, by which it tells who pays."""


@keys.command()
@click.argument("user", shell_complete=completions.users)
@click.option("--limit", "limits", multiple=True, help="What may be spent with this key, such as '$5/day'. Repeatable.")
@click.option("--user-limit", "user_limits", multiple=True, help="What USER may spend with all keys. Repeatable.")
@click.option(
    "--expires", help="After some time, such as 30d, or with a day, such as 2027-01-31; never is the default."
)
@click.option("--model", "models", multiple=True, help="A model that may be asked for, such as 'gpt-5*'. Repeatable.")
@click.option("--name", default="", help="What it is called in lists, such as laptop.")
@on_books
@json_of_key
def create(
    user: str,
    *,
    limits: tuple[str, ...],
    user_limits: tuple[str, ...],
    expires: str | None,
    models: tuple[str, ...],
    name: str,
    ledger: str | None,
    project: str,
    timezone: str,
    as_json: bool,
) -> None:
    """Make a key that USER pays with, and print it: this once, as nothing keeps it.

    What is not given is as [gateway.keys] of the settings file has it: limit, expires, models.
    """
    usual = stated_gateway(os.environ).keys
    limits = limits or tuple(map(str, usual.limit))
    expires = (usual.expires or _NEVER) if expires is None else expires
    if looks_like_a_limit(user):
        raise click.UsageError(f"name a user; {user!r} is a limit, which is given by --limit '{user}'")
    of_key, of_user = _read(limits, user, "--limit"), _read(user_limits, user, "--user-limit")
    with books(ledger, project, timezone, create=True) as found:
        payer = found.payer
        until = _until(expires, payer.clock(), payer.timezone)
        text, key = KeyBooks(found).create(
            user,
            _secret(),
            name=name,
            limits=of_key,
            user_limits=of_user or None,
            expires=until,
            models=models or usual.models,
        )
    _print_new(text, key, as_json=as_json)


@keys.command("list")
@click.option("--user", shell_complete=completions.users, help="Only keys of this user.")
@on_books
@output_options
def list_keys(user: str | None, ledger: str | None, project: str, timezone: str, *, output: Output) -> None:
    """List keys, the oldest first: whose they are, what was spent with them, and whether they were revoked."""
    with books_to_read(ledger, project, timezone) as found:
        made = KeyBooks(found).every(user)
    nothing = "there are no keys" if user is None else f"{user} has no keys"
    show(made, COLUMNS, map(_row, made), output, nothing=f"{nothing}; `budgeted keys create` makes one")


@keys.command("show")
@click.argument("id")
@on_books
@output_options
def show_key(id: str, ledger: str | None, project: str, timezone: str, *, output: Output) -> None:
    """Show what is known of a key, by its ID or the key itself, and what is left of its limits."""
    with books_to_read(ledger, project, timezone) as found:
        key = KeyBooks(found).find(id)
    if not output.for_people:
        show(key, COLUMNS, [_row(key)], output, nothing="")
        return
    for column, cell in zip(COLUMNS, _row(key), strict=True):
        if column.head != "limits":
            click.echo(f"{column.head}: {for_people(cell, column.none, exact=output.exact).plain}")
    show(key, OF_LIMITS, map(row, key.limits), output, nothing="no limits of its own")


@keys.command()
@click.argument("id")
@click.option("--reason", default="", help="Is told with every refusal.")
@on_books
def revoke(id: str, reason: str, ledger: str | None, project: str, timezone: str) -> None:
    """Refuse every call with a key, by its ID or the key itself, at once and for all gateways."""
    with books(ledger, project, timezone) as found:
        key = KeyBooks(found).revoke(id, reason)
    click.echo(spelt_out(f"{_called(key)} is revoked: {key.revoked}"))
    click.echo(f"`budgeted keys restore {key.id}` lets its calls pass again")


@keys.command()
@click.argument("id")
@on_books
def restore(id: str, ledger: str | None, project: str, timezone: str) -> None:
    """Let calls with a key pass again that was revoked. Exit code 1: it was not."""
    with books(ledger, project, timezone) as found:
        made = KeyBooks(found)
        before = made.find(id)
        if before.state != "revoked":
            raise click.ClickException(f"{_called(before)} is not revoked; `budgeted keys list` tells which are")
        key = made.restore(id)
    click.echo(spelt_out(f"{_called(key)} is {key.state}"))


@keys.command()
@click.argument("id")
@on_books
@json_of_key
def rotate(id: str, ledger: str | None, project: str, timezone: str, *, as_json: bool) -> None:
    """Revoke a key, and print one that replaces it, with its limits and what was spent of them."""
    with books(ledger, project, timezone) as found:
        text, key = KeyBooks(found).rotate(id, _secret())
    _print_new(text, key, as_json=as_json)


def _read(limits: Sequence[str], user: str, option: str) -> tuple[str, ...]:
    return told_apart(limits, user, option).limits


def _until(expires: str, now: float, tz: dt.tzinfo) -> int:
    """When a key expires, in unix seconds; 0 for never."""
    if expires == _NEVER:
        return 0
    try:
        return expires_at(expires, now, tz)
    except ValueError as error:
        raise click.UsageError(f"--expires: {error}") from None


def _secret() -> bytes:
    """The secret that keys are signed with; where it is made, or is a weak one, that is said."""
    secret, made = key_secret.find_or_make(os.environ)
    if made is not None:
        click.echo(
            spelt_out(
                f"keys are signed with a secret that was made in {made}. Gateways on other hosts take them with the "
                f"same {key_secret.VARIABLE} only: set one there and here before you make keys for them"
            ),
            err=True,
        )
    if weakness := key_secret.weakness(secret):
        click.echo(f"Warning: {weakness}", err=True)
    return secret


def _print_new(text: str, key: KeyInfo, *, as_json: bool) -> None:
    """Print a key that was made: alone on standard output, so that a script can take it."""
    if as_json:
        told = {"key": text, **msgspec.structs.asdict(key)}
        print_json(told)
        return
    limits = f", {_limits(key)}" if key.limits else ""
    until = "" if key.expires is None else f", until {key.expires.isoformat(' ', 'minutes')}"
    click.echo(spelt_out(f"{_called(key)} of {key.user}{limits}{until}; it is not shown again:"), err=True)
    click.echo(text)


def _called(key: KeyInfo) -> str:
    return f"key {key.id}" + (f" ({key.name})" if key.name else "")


def _limits(key: KeyInfo) -> str:
    return " + ".join(balance.text for balance in key.limits)


def _row(key: KeyInfo) -> Row:
    state = f"revoked: {key.revoked}" if key.revoked else key.state
    return (
        key.id,
        key.user,
        key.name or None,
        _limits(key) or None,
        Amount(key.spent),
        " ".join(key.models) or None,
        key.created,
        key.expires,
        marked(state, "" if key.state == "active" else REFUSED),
    )
