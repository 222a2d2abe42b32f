"""What coding agents are told for good, so that they send what they ask through a gateway that is always there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, TypeVar
from urllib.parse import urlsplit

import click

from budgeted.cli import completions
from budgeted.cli.ledger_options import books, on_books
from budgeted.cli.limits_and_users import told_apart
from budgeted.gateway.callers import USER
from budgeted.gateway.key_callers import OWN
from budgeted.gateway.keys import PREFIX
from budgeted.gateway.upstreams import Upstreams
from budgeted.validation import check_user, looks_like_a_limit, shown

F = TypeVar("F", bound=Callable[..., None])

_KEY: Final = re.compile(f"{PREFIX}[A-Za-z0-9]+")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


def _options(user: str) -> Callable[[F], F]:
    """The options of both agents.

    Args:
        user: who pays where nobody is named.
    """

    def added(command: F) -> F:
        for option in (
            click.option("--settings-only", is_flag=True, help="Print the settings and nothing else, for a script."),
            click.option("--gateway", default="http://127.0.0.1:8788", show_default=True, help="Where it listens."),
            click.option("--key", help="One of the gateway's keys, where it wants one: its user pays."),
            click.option(
                "--user", shell_complete=completions.users, help=f"Who pays, if no key is given.  [default: {user}]"
            ),
            click.option("--limit", help="What the user may spend, such as '$10/day'. It counts from now on."),
        ):
            command = option(command)
        return on_books(command)

    return added


@click.command("claude-code")
@_options("claude-code")
def claude_code(
    limit: str | None,
    user: str | None,
    key: str | None,
    gateway: str,
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    settings_only: bool,
) -> None:
    """Set what Claude Code may spend, and print what to put into its settings for good."""
    url = _checked(gateway)
    header, value = _who_pays(user, key, url, "claude-code", limit)
    told = {"env": {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_CUSTOM_HEADERS": f"{header}: {value}"}}
    _set_limit(limit, value, ledger, project, timezone)
    _print(json.dumps(told, indent=2), "~/.claude/settings.json", key, limit, value, settings_only=settings_only)


@click.command()
@_options("codex")
def codex(
    limit: str | None,
    user: str | None,
    key: str | None,
    gateway: str,
    ledger: str | None,
    project: str,
    timezone: str,
    *,
    settings_only: bool,
) -> None:
    """Set what Codex may spend, and print what to put into its settings for good."""
    url = _checked(gateway)
    header, value = _who_pays(user, key, url, "codex", limit)
    told = (
        'model_provider = "budgeted"\n\n[model_providers.budgeted]\nname = "budgeted"\n'
        f'base_url = {json.dumps(f"{url}/v1")}\nwire_api = "responses"\nenv_key = "OPENAI_API_KEY"\n'
        f"http_headers = {{ {json.dumps(header)} = {json.dumps(value)} }}"
    )
    _set_limit(limit, value, ledger, project, timezone)
    _print(told, "~/.codex/config.toml", key, limit, value, settings_only=settings_only)


def _who_pays(user: str | None, key: str | None, url: str, usual: str, limit: str | None) -> tuple[str, str]:
    """The header that tells a gateway who pays, and what it holds."""
    if key is None:
        if urlsplit(url).hostname not in _LOOPBACK:
            msg = f"a gateway that is not on this machine wants a key; give --key {PREFIX}..."
            raise click.UsageError(msg)
        named = check_user(usual if user is None else user)
        if looks_like_a_limit(named):
            raise click.UsageError(f"name a user; {named!r} is a limit, which is given by --limit '{named}'")
        if not named.isascii() or named != named.strip():
            msg = f"an agent can name its user in ASCII alone, got {shown(named)}"
            raise click.UsageError(msg)
        return USER.decode(), named
    if user is not None or limit is not None:
        msg = "the user of a key, and what may be spent with it, were told when it was made: see `budgeted keys show`"
        raise click.UsageError(msg)
    if not _KEY.fullmatch(key):
        msg = f"a key is {PREFIX} with letters and digits behind it, and this is none: `budgeted keys create` makes one"
        raise click.UsageError(msg)
    return OWN.decode(), key


def _checked(gateway: str) -> str:
    try:
        return Upstreams({"gateway": gateway}).by_name["gateway"].url
    except ValueError:
        msg = f"--gateway must be an address such as http://127.0.0.1:8788, got {shown(gateway)}"
        raise click.UsageError(msg) from None


def _set_limit(limit: str | None, user: str, ledger: str | None, project: str, timezone: str) -> None:
    if limit is not None:
        texts, _ = told_apart((limit,), user)
        with books(ledger, project, timezone, create=True) as found:
            found.set_limits(user, *texts)


def _print(settings: str, place: str, key: str | None, limit: str | None, user: str, *, settings_only: bool) -> None:
    if settings_only:
        click.echo(settings)
        return
    if limit is not None:
        click.echo(f"{user} may spend {limit} from now on; `budgeted balance {user}` tells what is left.\n")
    click.echo(f"Put this into {place}:\n\n{settings}\n")
    if key is None:
        click.echo("and have the gateway run: budgeted gateway --open")
