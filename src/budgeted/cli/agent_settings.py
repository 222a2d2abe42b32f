"""What coding agents are told for good, so that they send what they ask through a gateway that is always there."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Final, NamedTuple
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

_KEY: Final = re.compile(f"{PREFIX}[A-Za-z0-9]+")
_LOOPBACK: Final = ("127.0.0.1", "localhost", "::1")


class Agent(NamedTuple):
    """A coding agent.

    Args:
        command: that sets its limit, and names who pays unless somebody else is named.
        title: what people call it.
        place: the file of its settings.
        settings: what belongs there, by the address of a gateway, a header and what that holds.
    """

    command: str
    title: str
    place: str
    settings: Callable[[str, str, str], str]


def _of_claude_code(url: str, header: str, value: str) -> str:
    return json.dumps({"env": {"ANTHROPIC_BASE_URL": url, "ANTHROPIC_CUSTOM_HEADERS": f"{header}: {value}"}}, indent=2)


def _of_codex(url: str, header: str, value: str) -> str:
    return (
        'model_provider = "budgeted"\n\n[model_providers.budgeted]\nname = "budgeted"\n'
        f'base_url = {json.dumps(f"{url}/v1")}\nwire_api = "responses"\nenv_key = "OPENAI_API_KEY"\n'
        f"http_headers = {{ {json.dumps(header)} = {json.dumps(value)} }}"
    )


def _command(agent: Agent) -> click.Command:
    """The command that sets what an agent may spend, and prints what to put into its settings."""

    @click.command(
        agent.command,
        help=f"Set what {agent.title} may spend, and print what to put into its settings for good.",
    )
    @on_books
    @click.option("--limit", help="What the user may spend, such as '$10/day'. It counts from now on.")
    @click.option(
        "--user", shell_complete=completions.users, help=f"Who pays, if no key is given.  [default: {agent.command}]"
    )
    @click.option("--key", help="One of the gateway's keys, where it wants one: its user pays.")
    @click.option("--gateway", default="http://127.0.0.1:8788", show_default=True, help="Where it listens.")
    @click.option("--settings-only", is_flag=True, help="Print the settings and nothing else, for a script.")
    def command(
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
        url = _checked(gateway)
        header, value = _who_pays(user, key, url, agent.command, limit)
        _set_limit(limit, value, ledger, project, timezone)
        _print(agent.settings(url, header, value), agent.place, key, limit, value, settings_only=settings_only)

    return command


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
        texts, _ = told_apart((limit,), user, "--limit")
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


claude_code: Final = _command(Agent("claude-code", "Claude Code", "~/.claude/settings.json", _of_claude_code))
codex: Final = _command(Agent("codex", "Codex", "~/.codex/config.toml", _of_codex))
