"""Instructions per call, counted by valgrind: unlike times, they are the same on a busy machine.

Valgrind tells how many instructions a process has executed when it ends, and so it does of a fork, which has those of
its parent so far. So what is counted forks a child that ends at once, calls, and forks again, and once more: the
difference of the last two is what a fork takes.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

VALGRIND = shutil.which("valgrind")
TOLD = re.compile(r"I\s+refs:\s+([\d,]+)")


def counting(folder: str) -> tuple[str, ...]:
    """What to write before a command, so that its instructions are counted."""
    assert VALGRIND is not None
    options = ("--tool=cachegrind", "--cache-sim=no", "--cachegrind-out-file=/dev/null")
    return VALGRIND, *options, f"--log-file={folder}/executed-%p"


def added(result: Mapping[str, Any], folder: str) -> float:
    """Instructions that a call takes more where it is guarded, of what `peer_runs.instructions` says."""
    alone, guarded = (between(folder, result[name]) / result["calls"] for name in ("alone", "guarded"))
    return guarded - alone


def between(folder: str, children: Sequence[int]) -> int:
    """Instructions from the end of the first of three children to that of the second, without what forks take."""
    first, second, third = (executed(folder, child) for child in children)
    return (second - first) - (third - second)


def executed(folder: str, child: int) -> int:
    """Instructions that a process and those that it was forked from had executed at its end."""
    told = TOLD.search(Path(folder, f"executed-{child}").read_text())
    assert told is not None, f"valgrind has not told of process {child}"
    return int(told[1].replace(",", ""))
