"""``budgeted run`` on a terminal: a line tells what is spent and left while the program runs."""

from __future__ import annotations

import os
import subprocess
import sys
import tty
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import COMMAND

from budgeted.system import current as system

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="its terminals are others"),
]

SPENDS = """
import sys, budgeted
with budgeted.hold(cost=1.25) as held:
    held.settle(cost=1.25)
sys.stdin.read()
"""

LINE = b"budgeted: $1.25 spent, $3.75 left"


@pytest.fixture
def terminal() -> Iterator[tuple[int, int]]:
    ours, theirs = os.openpty()
    yield ours, theirs
    for one in (ours, theirs):
        os.close(one)


def start(terminal: int, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [*COMMAND, "--limit", "$5", "--", sys.executable, "-c", SPENDS],
        cwd=folder,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
        stdin=subprocess.PIPE,
        stderr=terminal,
    )


def read_until(terminal: int, wanted: bytes) -> bytes:
    found = b""
    while wanted not in found:
        found += os.read(terminal, 4096)
    return found


def test_a_line_below_tells_what_is_spent_and_left(terminal: tuple[int, int], tmp_path: Path) -> None:
    ours, theirs = terminal
    with start(theirs, tmp_path) as process:
        assert read_until(ours, LINE).count(LINE) == 1
        assert process.stdin is not None
        process.stdin.close()
        rest = read_until(ours, b"left of $5")
    assert process.returncode == 0
    assert b"\x1b[2K" in rest.partition(b"budgeted run")[0]  # it is gone before the table comes


def test_a_terminal_that_a_program_has_to_itself_is_not_drawn_upon(terminal: tuple[int, int]) -> None:
    assert system.takes_lines(terminal[1])
    tty.setraw(terminal[1])
    assert not system.takes_lines(terminal[1])
