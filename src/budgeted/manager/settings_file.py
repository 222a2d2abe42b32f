"""The file that settings are stated in: where it is looked for, and what is in it.

It is the one that ``BUDGETED_CONFIG`` names; else ``budgeted.toml``, or ``pyproject.toml`` with a table
``[tool.budgeted]``, of the working directory or the nearest directory above it that has one.
"""

from __future__ import annotations

import functools
import os
import re
import stat
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import msgspec

from budgeted.manager.toml_lines import Keys, lines_of, problem_of
from budgeted.validation import shown

VARIABLE: Final = "BUDGETED_CONFIG"

_MEANT: Final = re.compile(r"^\s*(?:\[[^\n]*|tool[^\n=]*)?\bbudgeted\b", re.MULTILINE)
"""A line of what is no TOML that looks as if it were about our table."""

_OWN, _OF_PROJECTS = "budgeted.toml", "pyproject.toml"


class SettingsFile(msgspec.Struct, frozen=True):
    """What a file states.

    Args:
        path: of the file.
        table: the settings and tables, as TOML has them.
        lines: by the keys from the file's outermost table on.
        inside: the keys of the table that the settings are in.
    """

    path: Path
    table: dict[str, object]
    lines: dict[Keys, int]
    inside: Keys = ()

    def where(self, *keys: str) -> str:
        """Where a key stands, for an error's text: the file, the line and the key."""
        whole = self.inside + keys
        line = None
        for count in range(len(whole), 0, -1):  # where it begins, else what it is in
            line = min((at for one, at in self.lines.items() if one[:count] == whole[:count]), default=None)
            if line is not None:
                break
        return f"{self.path}, {'' if line is None else f'line {line}, '}{dotted(keys)}"


def dotted(keys: Keys) -> str:
    """Keys as TOML has them: ``users."team:*"``."""
    return ".".join(key if key.replace("_", "a").replace("-", "a").isalnum() else f'"{key}"' for key in keys)


def find_file(environment: Mapping[str, str]) -> SettingsFile | None:
    """The file whose settings hold for a program that is run here, with this environment.

    Raises:
        ValueError: it is named and not there, cannot be read, or is no TOML; the text tells the line and the key.
    """
    named = environment.get(VARIABLE, "").strip()
    if named == os.devnull:
        return None
    if named:
        try:
            path = Path(named).expanduser().absolute()
        except RuntimeError:
            path = Path(named)
        found = _read(path, named=True)
        if found is None:
            msg = f"{VARIABLE}={shown(named)} names no file with settings; write the path of one, or leave it out"
            raise ValueError(msg)
        return found
    try:
        here = Path.cwd()
    except OSError:  # it was removed
        return None
    for directory in _searched(here):
        for name in (_OWN, _OF_PROJECTS):
            found = _read(directory / name)
            if found is not None:
                return found
    return None


def _searched(here: Path) -> Iterator[Path]:
    """A directory and those above it: up to the root of its repository, else to the home directory, else to the top.

    Above a directory that everybody may write to, such as ``/tmp``, and in it, a stranger might have put a file.
    """
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    for directory in (here, *here.parents):
        if directory != here and _is_everybodys(directory):
            return
        yield directory
        if directory == home or (directory / ".git").exists():
            return


def _is_everybodys(directory: Path) -> bool:
    try:
        return bool(directory.stat().st_mode & stat.S_IWOTH) and os.name == "posix"
    except OSError:
        return True


def _read(path: Path, *, named: bool = False) -> SettingsFile | None:
    """What a file states; None where there is none, or it is a project's without such a table."""
    try:
        # Not opened where it is no file: a pipe would keep this process for ever.
        found = path.stat()
        if not stat.S_ISREG(found.st_mode):
            if named or path.name == _OWN:
                msg = f"{path} is no file; name one with settings, or leave it out"
                raise ValueError(msg)
            return None
        return _parsed(path, found.st_mtime_ns, found.st_size, found.st_ino)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        if not named and path.name != _OWN:
            return None
        msg = f"{path} cannot be read, so its limits cannot be kept: {error.strerror or error}"
        raise ValueError(msg) from error


@functools.lru_cache(maxsize=64)
def _parsed(path: Path, *_changed: int) -> SettingsFile | None:
    project = path.name == _OF_PROJECTS
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        if project:
            return None
        msg = f"{path} is not in UTF-8: {error.reason} at byte {error.start}"
        raise ValueError(msg) from error
    if project and "budgeted" not in text:
        return None
    try:
        table: dict[str, object] = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        if project and not _MEANT.search(text):
            return None
        line, problem = problem_of(error, text)
        msg = f"{path}, {'' if line is None else f'line {line}, '}{problem}"
        raise ValueError(msg) from error
    inside = ("tool", "budgeted") if project else ()
    for key in inside:
        inner = table.get(key)
        if inner is None:
            return None
        if not isinstance(inner, dict):
            msg = f"{path}: {dotted(inside)} must be a table, got {shown(inner)}; write [tool.budgeted]"
            raise ValueError(msg)  # noqa: TRY004 - as whatever is wrong in a file
        table = inner
    return SettingsFile(path, table, lines_of(text), inside)
