"""Errors in the words of the command line: ``--user``, not ``user=``; commands, not methods."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from typing import Final

import click

from budgeted.errors import BudgetError

_NEGATIVE: Final = re.compile(r"-[\d.$]")
_KEYWORD: Final = re.compile(r"\b([a-z_]+)=(?=['\"\d-])")
_SUBJECT: Final = re.compile(r"([a-z_]+)(?= (must|'|\"))")
"""What an error is about, which begins with it."""

_SAID_OTHERWISE: Final = (
    (re.compile(r"\buncertain\(\)"), "`budgeted uncertain`"),
    (re.compile(r"create_budget\(10, ('.*?'|\".*?\")\) makes it one"), "`budgeted users` lists those who are"),
    (re.compile(r"give it (one|another amount) with set_limits(\(.*?\))?"), r"give it \1 with `budgeted limits set`"),
    (re.compile(r"default_user_limits=\{'(.*?)': \.\.\.\}"), r'[users."\1"] in budgeted.toml'),
    (re.compile(r", as text, date or datetime\b"), ""),
    (re.compile(r"the first day as since, the last as until"), "the first day as --since, the last as --until"),
    (re.compile(r"^no time zone"), "--timezone: there is none called"),
    (re.compile(r"^--(\w+): \1 must"), r"--\1 must"),
)
"""What is said in Python, and how it is said here."""


def speak_of_command_line(commands: Iterable[click.Command]) -> None:
    """Have commands tell what is refused in the words of the command line.

    Exit code 2 is for what is wrong with the command line itself, 1 for everything else.
    """
    for command in commands:
        if command.callback is not None and not isinstance(command, click.Group):
            command.callback = _telling(command.callback)


def as_click_error(error: BudgetError | ValueError | TypeError, ctx: click.Context) -> click.ClickException:
    """What is refused, as the command line says it.

    Args:
        error: of the code that does the work.
        ctx: of the command that asked for it.
    """
    options = _options(ctx.command)
    text, about = str(error), ""

    def as_option(found: re.Match[str]) -> str:
        nonlocal about
        about = options.get(found[1], about)
        return f"{options[found[1]]}{' ' if found.re is _KEYWORD else ''}" if found[1] in options else found[0]

    text = _KEYWORD.sub(as_option, text)
    if (subject := _SUBJECT.match(text)) is not None:
        text = as_option(subject) + text[subject.end() :]
        about = about or ("USER" if subject[1] == "user" and isinstance(error, ValueError) else "")
    for pattern, otherwise in _SAID_OTHERWISE:
        text = pattern.sub(otherwise, text)
    if not isinstance(error, BudgetError) and (about or text.startswith("--")):
        return click.UsageError(text, ctx)
    return click.ClickException(text)


def of_wrong_option(error: click.NoSuchOption) -> click.UsageError:
    """The error for an option that there is not, if more can be said: it is an amount below zero, or names a user."""
    if _NEGATIVE.match(error.option_name):
        return click.UsageError(f"{error.option_name!r} is no amount: none may be negative", error.ctx)
    if error.option_name == "--user" and error.ctx is not None:
        named = [one for one in error.ctx.command.params if isinstance(one, click.Argument) and one.name == "user"]
        if named:
            msg = f"a user is named without --user, as in `{error.ctx.command_path} alice`"
            return click.UsageError(msg, error.ctx)
    return error


def _telling(callback: Callable[..., object]) -> Callable[..., object]:
    @functools.wraps(callback)
    def told(*args: object, **given: object) -> object:
        try:
            return callback(*args, **given)
        except (BudgetError, ValueError, TypeError) as error:
            raise as_click_error(error, click.get_current_context()) from error

    return told


def _options(command: click.Command) -> dict[str, str]:
    """The options of a command, by what code calls them."""
    found = dict[str, str]()
    for one in command.params:
        if isinstance(one, click.Option):
            longest = max(one.opts, key=len)
            found |= dict.fromkeys((one.name or "", longest.removeprefix("--").replace("-", "_")), longest)
    return {**found, "project_name": "--project"} if "project" in found else found
