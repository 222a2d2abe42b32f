"""Coding agents that are started as programs of their own: nothing that they send is seen in this process."""

from __future__ import annotations

import logging
import os
import shlex
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from budgeted.payers.scope import Scope, current, inherited, whole
from budgeted.providers import addresses_of_run, unmetered_pythons
from budgeted.providers.monkeypatching import Hook, enabled
from budgeted.providers.unmeterable_requests import held_by_hand

logger = logging.getLogger("budgeted")

_AGENTS = {
    **{name: name for name in ("aider", "amp", "auggie", "claude", "cline", "codex", "crush", "cursor-agent", "droid")},
    **{name: name for name in ("gemini", "goose", "kilocode", "opencode", "openhands", "plandex", "qwen")},
    "aider-chat": "aider",
    "amp-cli": "amp",
    "claude-code": "claude",
    "gemini-cli": "gemini",
    "opencode-ai": "opencode",
    "qwen-code": "qwen",
}
"""Commands of coding agents, and what the packages are called that have them run without being installed."""

_STARTERS = frozenset("bunx doas env exec nice nohup npx pipx pnpm pnpx stdbuf sudo timeout uv uvx xargs yarn".split())
"""What starts a command that comes among its arguments."""

_SHELLS = frozenset("bash dash fish ksh sh zsh".split())
_BETWEEN = frozenset(("&", "&&", ";", "|", "||", "("))
_COMMAND, _ARGUMENTS, _ELSEWHERE = range(3)
_MOST_WORDS = 50
"""Words of a command line that are looked at."""

_told: set[str] = set()
"""Programs of which this process has warned."""

TOLD: Final = frozenset(("aider", "claude", "codex", "gemini", "qwen"))
"""Those of them that send what they ask where variables, or options, of `budgeted run` say: to its gateway."""

_ENVIRONMENT: Final = 10
"""Which argument of :class:`subprocess.Popen` that is."""


def _open(wrapped: Callable[..., Any], process: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    if not enabled():
        return wrapped(*args, **kwargs)
    if len(args) > _ENVIRONMENT:
        *given, environment = args[: _ENVIRONMENT + 1]
        passed = addresses_of_run.for_program(environment)
        args = (*given, passed, *args[_ENVIRONMENT + 1 :])
    else:
        environment = kwargs.get("env")
        passed = addresses_of_run.for_program(environment)
        kwargs = {**kwargs, "env": passed}
    command = args[0] if args else kwargs.get("args")
    unmetered_pythons.warn(command, environment)
    scope = whole(current())
    if scope is not None and not _is_paid_for(scope, environment):
        _warn_of_agent(command, scope)
        _warn_of_addresses(command, passed)
    return wrapped(*args, **kwargs)


def _warn_of_addresses(command: object, environment: object) -> None:
    """Say once of each variable that it sends a program past the gateway of the run, unless that is metered itself."""
    names = [name for name in addresses_of_run.elsewhere(environment) if name not in _told]
    if names and not unmetered_pythons.starts_python(command):
        _told.update(names)
        logger.warning(
            "budgeted: a program is started with an address of its own in %s, past the gateway of this run: unless it "
            "is Python, nothing that it sends there is metered, nor limited (said once); name the address where the "
            "run is started, to have it metered",
            ", ".join(names),
        )


def _warn_of_agent(command: object, scope: Scope) -> None:
    """Say once if a command starts an agent for somebody who pays here, and nothing meters it."""
    agent = agent_in(command)
    if agent in TOLD and scope in inherited and addresses_of_run.addresses(os.environ).gateway:
        return  # who pays there pays by the gateway
    if agent is not None and agent not in _told:
        _told.add(agent)
        logger.warning(
            "budgeted: %s is started in a block, and nothing of what it spends is metered in this process; send it "
            "through a gateway that holds for it (said once)",
            agent,
        )


def _is_paid_for(scope: Scope, environment: object) -> bool:
    """Whether somebody holds for the program: its user by hand, or the hook of the SDK that starts it."""
    variable, value = addresses_of_run.BY_SDK
    by_sdk = isinstance(environment, Mapping) and environment.get(variable) == value
    return by_sdk or held_by_hand(scope)


def agent_in(command: object) -> str | None:
    """The coding agent that a command line starts, as :class:`subprocess.Popen` takes it; None if it starts none."""
    if isinstance(command, (str, bytes, os.PathLike)):
        return _in_words(_split(os.fsdecode(command)))
    if not isinstance(command, (list, tuple)):  # others may be used up by looking
        return None
    words = [os.fsdecode(word) for word in command[:_MOST_WORDS] if isinstance(word, (str, bytes, os.PathLike))]
    if words and _name(words[0]) in _SHELLS:  # bash -lc "..."
        return next((found for word in words[1:] if (found := _in_words(_split(word))) is not None), None)
    return _in_words(words)


def _in_words(words: list[str]) -> str | None:
    found = agent_at(words)
    return None if found is None else found[1]


def agent_at(words: Sequence[str]) -> tuple[int, str] | None:
    """The agent that stands where a command does, or among the arguments of what starts one, and which word it is.

    Args:
        words: of a command line.
    """
    where = _COMMAND
    for index, word in enumerate(words[:_MOST_WORDS]):
        if word in _BETWEEN:
            where = _COMMAND
        elif where != _ELSEWHERE:
            name = _name(word)
            if name in _AGENTS:
                return index, _AGENTS[name]
            assigns = "=" in word and not word.startswith("-")
            if where == _COMMAND and not assigns:
                starts = name in _STARTERS or (name.startswith("python") and words[index + 1 : index + 2] == ["-m"])
                where = _ARGUMENTS if starts else _ELSEWHERE
    return None


def _split(text: str) -> list[str]:
    try:
        words = shlex.shlex(text, posix=True, punctuation_chars=True)
        words.whitespace_split = True
        return list(words)[:_MOST_WORDS]
    except ValueError:  # a quotation that nothing ends
        return text.split()[:_MOST_WORDS]


def _name(word: str) -> str:
    """A program's or a package's name, without its folder, scope, version and ending."""
    name = word.replace("\\", "/").rpartition("/")[2].lower()
    for ending in (".exe", ".cmd", ".js", ".py"):
        name = name.removesuffix(ending)
    return name.partition("@")[0]


HOOKS = (Hook("subprocess", "Popen.__init__", _open, watched=False), *addresses_of_run.HOOKS)
