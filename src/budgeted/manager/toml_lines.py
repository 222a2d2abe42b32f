"""On which line of a TOML file each key stands: what reads TOML does not tell."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator

Keys = tuple[str, ...]
"""A key and the tables around it, from the outermost on."""

_NAME = r"(?P<name>(?:\"(?:[^\"\\]|\\.)*\"|'[^']*'|[\w.\s-])+?)"
_HEADER = re.compile(rf"\s*\[\[?{_NAME}\]\]?\s*(?:#.*)?")
_KEY = re.compile(rf"\s*{_NAME}\s*=")
_AT = re.compile(r"\(at (?:line (\d+), column \d+|end of document)\)")


def lines_of(text: str) -> dict[Keys, int]:
    """The line, from 1 on, of each table and key of a file that is well-formed.

    What looks like a key inside a text of several lines is listed as well.
    """
    found: dict[Keys, int] = {}
    table: Keys = ()
    for number, line in enumerate(text.splitlines(), 1):
        header, key = _HEADER.fullmatch(line), _KEY.match(line)
        if header is not None:
            table = next(_read(header["name"]), table)
            found.setdefault(table, number)
        elif key is not None:
            for inner in _read(key["name"]):
                found.setdefault(table + inner, number)
    return found


def _read(name: str) -> Iterator[Keys]:
    """The keys that a dotted name stands for, if it is one."""
    try:
        table = tomllib.loads(f"{name} = 0")
    except tomllib.TOMLDecodeError:
        return
    keys: list[str] = []
    inside: object = table
    while isinstance(inside, dict):
        [(key, inside)] = inside.items()
        keys.append(key)
    yield tuple(keys)


def problem_of(error: tomllib.TOMLDecodeError, text: str) -> tuple[int | None, str]:
    """The line of what is no TOML, if it is known, and what is wrong: the key there, never its value."""
    said = str(error)
    at = _AT.search(said)
    if at is None:
        return None, said
    lines = text.splitlines()
    number = int(at[1] or len(lines))
    key = _KEY.match(lines[number - 1]) if 0 < number <= len(lines) else None
    problem = _AT.sub("", said).strip()
    return number, f"{key['name']}: {problem}" if key is not None else problem
