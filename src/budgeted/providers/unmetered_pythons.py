"""Python that is started so that it takes no notice of who pays: what it spends is not seen by `budgeted run`."""

from __future__ import annotations

import logging
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from typing import Final

logger = logging.getLogger("budgeted")

_PYTHON: Final = re.compile(r"(?:python|pypy)[\d.]*t?(?:\.exe)?")
_ISOLATING: Final = frozenset("IES")
_WITH_VALUE: Final = frozenset("cmWX")
_PROGRAM: Final = frozenset("cm")
_NEEDED: Final = ("BUDGETED_PAYERS", "PYTHONPATH")

_told: set[str] = set()
"""What this process has warned of."""


def is_python(word: str) -> bool:
    """Whether a command, without or with its folder, is called as Python is."""
    return _PYTHON.fullmatch(PurePath(word).name) is not None


def isolating_option(arguments: Sequence[str]) -> str:
    """The option, among Python's arguments, that keeps what runs at its start away; "" if there is none."""
    words = iter(arguments)
    for word in words:
        if not word.startswith("-") or word == "-" or word.startswith("--"):
            return ""
        for index, letter in enumerate(word[1:], 1):
            if letter in _ISOLATING:
                return f"-{letter}"
            if letter in _WITH_VALUE:
                if letter in _PROGRAM:
                    return ""
                if index == len(word) - 1:  # its value is the next word
                    next(words, None)
                break
    return ""


def starts_python(command: object) -> bool:
    """Whether a command is Python's, as :class:`subprocess.Popen` takes one, in words."""
    words = _words(command)
    return bool(words) and is_python(words[0])


def _words(command: object) -> list[str]:
    if not isinstance(command, (list, tuple)):
        return []
    return [os.fsdecode(word) for word in command if isinstance(word, (str, bytes, os.PathLike))]


def warn(command: object, environment: object) -> None:
    """Say once if a process of a run starts Python in a way in which nothing of it is metered.

    Args:
        command: as :class:`subprocess.Popen` takes it.
        environment: the one that the program gets; None for this process's.
    """
    if not os.environ.get("BUDGETED_RUN") or not starts_python(command):
        return
    words = _words(command)
    how = isolating_option(words[1:])
    if not how and isinstance(environment, Mapping):
        how = next((f"an environment without {name}" for name in _NEEDED if not environment.get(name)), "")
    if how and how not in _told:
        _told.add(how)
        logger.warning(
            "budgeted: Python is started with %s, so nothing that it spends is metered, nor limited (said once)", how
        )
