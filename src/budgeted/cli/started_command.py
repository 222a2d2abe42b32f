"""What a command line starts, as far as it tells: Python, Python that takes no notice of us, or something else."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Final

from budgeted.providers.unmetered_programs import TOLD, agent_at
from budgeted.providers.unmetered_pythons import is_python, isolating_option

_LONGEST_LINE: Final = 1024


_BY_GATEWAY: Final = "to the addresses in OPENAI_BASE_URL, ANTHROPIC_BASE_URL and their like"


def unmetered_reason(command: Sequence[str], program: str, *, gateway: bool) -> str | None:
    """Why nothing, or not all, of a command is metered; None if it is Python, or an agent that the gateway meters.

    Args:
        command: with its arguments.
        program: the path of the file that is run.
        gateway: whether a gateway meters what programs send to it.
    """
    found = agent_at(command)
    if gateway and found is not None and found[1] in TOLD:
        return None
    words = [*command] if is_python(command[0]) else _shebang(program)
    for index, word in enumerate(words):
        if is_python(word):
            option = isolating_option(words[index + 1 :])
            if option:
                but = f" but what it sends {_BY_GATEWAY}" if gateway else ""
                return f"Python is started with {option}, which keeps the metering away: nothing is metered{but}"
            return None
    name = PurePath(command[0]).name
    if gateway:
        who = "only Python is metered wherever it sends to: of others, what they send"
        return f"{name} is not Python, and {who} {_BY_GATEWAY}"
    more = "pip install 'budgeted[gateway]' to have others metered that send where variables say"
    return f"{name} is not Python, and only Python is metered: that which it starts, if it does; {more}"


def _shebang(program: str) -> list[str]:
    """Who runs a script, with arguments; where the path of that is long, a shell is named first, and it in line two."""
    try:
        with Path(program).open("rb") as file:
            lines = [file.readline(_LONGEST_LINE).decode("utf-8", "replace") for _ in range(2)]
    except OSError:
        return []
    first = lines[0].removeprefix("#!").split() if lines[0].startswith("#!") else []
    return lines[1].replace("'", " ").split() if first == ["/bin/sh"] and lines[1].startswith("'''exec'") else first
