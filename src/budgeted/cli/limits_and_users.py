"""Telling limits from users on a command line: they stand in any order, and a shell may have taken a part away."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Final, NamedTuple

import click

from budgeted.limits.limit import Limit
from budgeted.validation import looks_like_a_limit, shown

QUOTE: Final = "a shell takes $5 for a variable of its own: write it in single quotes, as in '$5/day'"

FEW_EXAMPLES: Final = "write one such as '$10/day', '$5/30 days', '60 calls/minute' or '$1/day on gpt-5*'"

_PERIODS: Final = re.compile(r"write hourly, .*")
_EXAMPLES: Final = 'write one such as "$10/day", "$5", '
"""How the examples begin that follow what is wrong with a limit: there are nine of them."""

_LEFT_BY_SHELL: Final = re.compile(r"0+(?![\d.])|00+|0?,\d|\.\d|\S*sh\.\d|[/+]|-\d")
"""How what is left of ``$10/day``, ``$2.50``, ``$1,000``, ``$0.50`` and ``$5/day`` begins: the shell has read ``$1``,
``$2`` or ``$0``, which is its own name."""

_BARE: Final = re.compile(r"[\d.,_]+(?:e[+-]?\d+)?\s*[kmb]?", re.IGNORECASE)
_UNIT: Final = re.compile(r"(?:(?:input|output|tool)\s+)?(?:tokens?|calls?|usd|[rt]p[smhd])\b", re.IGNORECASE)


class Words(NamedTuple):
    """What words of a command line say.

    Args:
        limits: the words that are limits, as they were written.
        user: the one that is a user; None if there is none.
    """

    limits: tuple[str, ...]
    user: str | None


def told_apart(words: Sequence[str], user: str | None = None, option: str = "") -> Words:
    """Which of some words are limits, and which one is a user.

    Args:
        words: in any order.
        user: who was named by an option; then all of the words are limits.
        option: the one that the words were given by, such as ``"--limit"``; "" if they are arguments.

    Raises:
        UsageError: a word may be either, or neither, or there are two users; the text quotes it.
    """
    limits, users = [], [] if user is None else [user]
    for word in words:
        if user is not None or _is_limit(word):
            _check_whole(word, option)
            limits.append(word)
        else:
            users.append(word)
    if len(users) > 1:
        for word in filter(_BARE.fullmatch, users):  # an amount that is too large; a user, beside what is a limit
            raise click.UsageError(f"{_problem(word)}; a user of that name is given by --user")
        several = " and ".join(map(shown, users))
        raise click.UsageError(f"one user is wanted, and neither of {several} is a limit; {QUOTE}")
    bare = next((word for word in limits if _BARE.fullmatch(word.strip())), None)
    if bare is not None and len(limits) > 1 and not users:
        raise click.UsageError(
            f"{shown(bare)} beside {shown(next(word for word in limits if word is not bare))} may be a user or an "
            f"amount; write --user {bare} or '${bare}'"
        )
    return Words(tuple(limits), users[0] if users else None)


def _is_limit(word: str) -> bool:
    """Whether a word is a limit, and no user.

    Raises:
        UsageError: it is neither.
    """
    problem = _problem(word)
    if problem is None:
        return True
    if not word.strip():
        raise click.UsageError(f"{shown(word)} is neither a limit nor a user; {QUOTE}")
    if _meant_as_limit(word):
        hint = "a user of that name is given by --user" if word.lstrip().startswith("$") else QUOTE
        raise click.UsageError(f"{problem}; {hint}")
    return False


def _meant_as_limit(word: str) -> bool:
    """Whether a word that is no limit is one with a mistake, or what a shell has left of one."""
    if looks_like_a_limit(word) or _LEFT_BY_SHELL.match(word):
        return True
    return any(_problem(f"{begin}{word}") is None for begin in ("1 ", "1/"))  # its unit, or its period


def _problem(text: str) -> str | None:
    """Why a text is no limit; None if it is one."""
    try:
        Limit.parse_all(text)
    except ValueError as error:
        return in_brief(str(error))
    return None


def in_brief(problem: str) -> str:
    """What is wrong with a limit, without more examples than fit in a line or two."""
    reason, more, _ = problem.partition(_EXAMPLES)
    if not more:
        return problem
    return _PERIODS.sub("", reason).replace(". ", "; ") + FEW_EXAMPLES


def _check_whole(word: str, option: str) -> None:
    """Refuse what is to be a limit, and is none, or most probably not the one that was written.

    Raises:
        UsageError: it is none, or a shell seems to have taken its beginning away.
    """
    which = f"{option}: " if option else ""
    if _LEFT_BY_SHELL.match(word.strip()) and not _UNIT.search(word):
        raise click.UsageError(
            f"{which}{shown(word)} is what a shell leaves of an amount such as '$1{word.strip()}', as it takes $1 for "
            f"a variable of its own: write it in single quotes, and '$0' or '0 usd' for none at all"
        )
    if (problem := _problem(word)) is not None:
        raise click.UsageError(f"{which}{problem}")
