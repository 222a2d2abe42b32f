"""Walking through a page of the documentation: its programs and commands, in order and in one folder."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Final, NamedTuple

from page_examples import run

from budgeted.testing import SimulatedProvider

_FENCE: Final = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```', re.MULTILINE | re.DOTALL)

_CHANGING: Final = (
    (re.compile(r"\d{4}-\d\d-\d\d([ T]\d\d:\d\d(:\d\d)?)?(\+00:00)?"), "DAY"),
    (re.compile(r"\b[0-9a-f]{10}\.\d+\b"), "ID"),
    (re.compile(r"^budgeted: a call for \S+ has waited .* tokenizer .*\n", re.MULTILINE), ""),  # on a slow machine
    (re.compile(r"[ \t]+"), " "),
)
"""What differs from day to day and from place to place, and what stands in its place here."""

_BASH: Final = shutil.which("bash") or "bash"

_END: Final = "-- the end of this command --"


class Step(NamedTuple):
    """A block of a page.

    Args:
        language: of it.
        title: the file that it is kept in, or nothing.
        text: of it.
    """

    language: str
    title: str
    text: str


def steps(page: Path) -> list[Step]:
    return [Step(*found) for found in _FENCE.findall(page.read_text(encoding="utf-8"))]


def walk(
    page: Path,
    provider: SimulatedProvider,
    folder: Path,
    instead: Mapping[str, str] = MappingProxyType({}),
    **variables: str,
) -> list[str]:
    """Take each step of a page in turn; returns their languages.

    A program with a title is kept as that file, another one is run, and "text" is what it printed. Of "console", each
    command prints what the page shows below it.

    Args:
        page: to take the steps of.
        provider: that SDKs call.
        folder: to be in.
        instead: of what the page says in commands, such as a day, what is typed in.
        variables: of the environment, for commands.
    """
    printed = ""
    for language, title, text in steps(page):
        if title:
            (folder / title).write_text(text, encoding="utf-8")
        elif language == "python":
            done = run(text, provider, folder)
            assert done.returncode == 0, done.stderr
            printed = done.stdout
        elif language == "text":
            assert _steady(printed) == _steady(text)
        elif language == "console":
            _type_in(_typed(text, instead), provider, folder, variables)
    return [step.language for step in steps(page)]


def _typed(text: str, instead: dict[str, str]) -> str:
    """The text as it is typed in; all at once, as what is typed in for one day may be another day that is shown."""
    if not instead:
        return text
    return re.sub("|".join(map(re.escape, instead)), lambda shown: instead[shown[0]], text)


def _type_in(text: str, provider: SimulatedProvider, folder: Path, variables: dict[str, str]) -> None:
    """Give a shell the commands of a block, and compare what it answers."""
    commands = [part.partition("\n") for part in re.split(r"^\$ ", text, flags=re.MULTILINE)[1:]]
    script = "".join(f'{line}\ncode=$?\necho "{_END}"\n(exit $code)\n' for line, _, _ in commands)
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "BUDGETED_HOME": str(folder / "home"),
        "OPENAI_BASE_URL": provider.openai_url,
        "OPENAI_API_KEY": "none",
        "COLUMNS": "200",
        **variables,
    }
    done = subprocess.run(
        [_BASH], input=script, env=environment, cwd=folder, text=True, timeout=120, check=False,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    answers = done.stdout.split(f"{_END}\n")
    for (line, _, expected), answer in zip(commands, answers, strict=False):
        pattern = ".*".join(map(re.escape, _steady(expected).split("...")))
        assert re.fullmatch(pattern, _steady(answer), re.DOTALL), f"$ {line}\n{answer}"
    assert len(answers) == len(commands) + 1


def _steady(text: str) -> str:
    for pattern, same in _CHANGING:
        text = pattern.sub(same, text)
    return "\n".join(line.strip() for line in text.strip().splitlines())
