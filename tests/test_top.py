"""``budgeted top`` on a terminal: what it shows, its keys, any size, and the terminal as it was in the end."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyte
import pytest
from click.testing import CliRunner
from serving import Served

from budgeted import BudgetExceededError, BudgetManager
from budgeted.cli.command_group import budgeted

pytestmark = pytest.mark.slow

WAIT = 30.0
"""Seconds after which what is waited for will not come."""

BACK = "\x1b[?1049l"
"""Leaves the screen that programs draw on as a whole."""


class Terminal:
    """A terminal, and ``budgeted top`` on it."""

    def __init__(self, *options: str, size: tuple[int, int] = (110, 20), **environment: str) -> None:
        self.ours, self.theirs = pty.openpty()
        self.screen = pyte.Screen(*size)
        self.stream = pyte.ByteStream(self.screen)
        self.written = b""
        self.resize(*size)
        self.before = termios.tcgetattr(self.theirs)
        command = [Path(sys.executable).with_name("budgeted"), "top", *options]
        settings = {**os.environ, "TERM": "xterm-256color", **environment}
        self.process = subprocess.Popen(
            command, stdin=self.theirs, stdout=self.theirs, stderr=self.theirs, env=settings, process_group=0
        )

    def resize(self, columns: int, lines: int) -> None:
        self.screen.resize(lines, columns)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def until(self, seen: Callable[[list[str]], bool]) -> list[str]:
        """Read what is drawn until something is seen; its lines."""
        end = time.monotonic() + WAIT
        while not seen(lines := [line.rstrip() for line in self.screen.display]):
            assert time.monotonic() < end, "\n".join(lines)
            if select.select([self.ours], [], [], 0.1)[0]:
                read = os.read(self.ours, 65_536)
                self.written += read
                self.stream.feed(read)
        return lines

    def press(self, keys: str) -> None:
        os.write(self.ours, keys.encode())

    def ended(self) -> int:
        """The exit code, once it has ended, and left the terminal as it was."""
        self.until(lambda _: self.process.poll() is not None and not select.select([self.ours], [], [], 0)[0])
        assert termios.tcgetattr(self.theirs) == self.before
        assert self.written.decode().count(BACK) == self.written.decode().count(BACK.replace("l", "h"))
        assert b"Traceback" not in self.written
        return self.process.wait()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@contextlib.contextmanager
def shown(*options: str, size: tuple[int, int] = (110, 20), **environment: str) -> Iterator[Terminal]:
    terminal = Terminal(*options, size=size, **environment)
    try:
        yield terminal
    finally:
        terminal.close()


def users(lines: list[str]) -> list[str]:
    """The first word of each user's line."""
    return [line.split()[0] for line in lines if "$1/day" in line]


@pytest.fixture
def spent(budgeted_home: Path) -> Path:
    """A project whose users have spent less, one after the other."""
    with BudgetManager("default", max_budget="$10/day", default_user_limits="$1/day") as manager:
        for number, name in enumerate(("alice", "bob", "\x3cscript>alert(1)", *(f"user-{at:02}" for at in range(40)))):
            with manager.hold(cost=0.75 / (number + 1), user=name) as held:
                held.settle(cost=0.75 / (number + 1))
    return budgeted_home


def test_it_shows_limits_as_bars_and_what_changes(spent: Path) -> None:
    with shown() as terminal, BudgetManager("default") as manager:
        lines = terminal.until(lambda lines: users(lines)[:1] == ["alice"] and "users 1-" in lines[-1])
        assert "today $3.26 in 43 calls" in lines[0]
        [everybody] = [line for line in lines if line.startswith("(everybody)")]
        assert "█" in everybody
        assert "of 43" in lines[-1]
        with manager.hold(cost=0.5, user="bob"):
            terminal.until(lambda lines: "in flight 1, $0.50 held" in lines[0] and users(lines)[0] == "bob")
            assert any("▒" in line for line in terminal.screen.display)
        terminal.press("q")
        assert terminal.ended() == 0


def test_its_keys_sort_filter_and_page(spent: Path) -> None:
    with shown() as terminal:
        terminal.until(lambda lines: users(lines)[:1] == ["alice"])
        terminal.press("n")
        terminal.until(lambda lines: "by name" in lines[-1] and users(lines)[:2] == ["<script>alert(1)", "alice"])
        terminal.press("\x1b[6~")
        terminal.until(lambda lines: users(lines)[0] == "user-13")
        terminal.press("\x1b[F")
        terminal.until(lambda lines: users(lines)[-1] == "user-39")
        terminal.press("\x1b[A\x1b[A")
        terminal.until(lambda lines: users(lines)[-1] == "user-37")
        terminal.press("/ALI")
        terminal.until(lambda lines: lines[-1] == "/ALI_" and users(lines) == ["alice"])
        terminal.press("\x7f\x7f\x7f-3\r")
        terminal.until(lambda lines: "with '-3'" in lines[-1] and len(users(lines)) == 10)
        terminal.press("\x1b")
        terminal.until(lambda lines: "of 43" in lines[-1])
        terminal.press("?")
        terminal.until(lambda lines: any("PgUp and PgDn a page" in line for line in lines))
        terminal.press("?s")
        terminal.until(lambda lines: "by spent" in lines[-1] and users(lines)[:2] == ["alice", "bob"])
        terminal.press("q")
        assert terminal.ended() == 0


def test_users_are_found_among_more_than_are_looked_at(budgeted_home: Path) -> None:
    with BudgetManager("default", max_budget="$10/day") as manager:
        for number in range(1100):
            manager.set_limits(f"user-{number:04}", "$1/day")
        with manager.hold(cost=0.25, user="user-0007") as held:
            held.settle(cost=0.25)
    with shown() as terminal:
        terminal.until(lambda lines: users(lines) == ["user-0007"] and "/ finds others" in lines[-1])
        terminal.press("/user-109\r")
        terminal.until(lambda lines: users(lines) == [f"user-{number}" for number in range(1090, 1100)])
        terminal.press("q")
        assert terminal.ended() == 0


def test_it_fits_any_size_whatever_variables_say(spent: Path) -> None:
    with shown(COLUMNS="80", LINES="24") as terminal:
        terminal.until(lambda lines: users(lines)[:1] == ["alice"])
        terminal.resize(40, 10)
        terminal.until(lambda lines: any(re.fullmatch(r"alice +█+·+ +\$0\.25", line) for line in lines))
        terminal.resize(12, 3)
        terminal.until(lambda lines: lines[-1].startswith("users"))
        terminal.press("q")
        assert terminal.ended() == 0


def test_names_have_room_beside_the_longest_figures(budgeted_home: Path) -> None:
    with BudgetManager("default", max_budget="$1,000,000,000") as manager:
        manager.set_limits("alexandrina", "900,000,000 tokens/hour")
    with shown(size=(64, 12)) as terminal:
        for columns in (64, 40):
            terminal.resize(columns, 12)
            terminal.until(lambda lines: any("alexandrina" in line and "900,000,000 tokens" in line for line in lines))
        terminal.press("q")
        assert terminal.ended() == 0


def test_what_is_told_of_all_together_is_not_broken_within_a_figure(spent: Path) -> None:
    with shown(size=(60, 12)) as terminal:
        terminal.until(lambda lines: lines[1] == "in flight 0, $0.00 held")
        terminal.press("q")
        assert terminal.ended() == 0


def test_it_has_no_colours_where_none_are_wanted(spent: Path) -> None:
    with shown(NO_COLOR="1") as terminal:
        terminal.until(lambda lines: users(lines)[:1] == ["alice"])
        terminal.press("q")
        assert terminal.ended() == 0
        assert b"38;" not in terminal.written


def test_a_ledger_that_goes_away_is_said_and_asked_again(tmp_path: Path) -> None:
    server = Served(tmp_path / "served")
    try:
        with (
            BudgetManager("default", ledger=server.url, max_budget="$10/day", default_user_limits="$1/day") as manager,
            manager.hold(cost=0.25, user="alice") as held,
        ):
            held.settle(cost=0.25)
        with shown("--ledger", server.url) as terminal:
            terminal.until(lambda lines: users(lines) == ["alice"])
            server.kill()
            terminal.until(
                lambda lines: any("the ledger is away" in line for line in lines) and users(lines) == ["alice"]
            )
            assert not any("upkeep" in line for line in terminal.screen.display)  # which is logged
            server.start()
            terminal.until(lambda lines: not any("the ledger is away" in line for line in lines))
            terminal.press("q")
            assert terminal.ended() == 0
    finally:
        server.stop()


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129), (signal.SIGINT, 130)], ids=["TERM", "HUP", "INT"]
)
def test_what_ends_it_leaves_the_terminal_as_it_was(number: int, code: int, spent: Path) -> None:
    with shown() as terminal:
        terminal.until(lambda lines: users(lines)[:1] == ["alice"])
        terminal.process.send_signal(number)
        assert terminal.ended() == code


def test_it_can_be_stopped_and_goes_on(spent: Path) -> None:
    with shown() as terminal:
        terminal.until(lambda lines: users(lines)[:1] == ["alice"])
        terminal.process.send_signal(signal.SIGTSTP)
        assert os.WIFSTOPPED(os.waitpid(terminal.process.pid, os.WUNTRACED)[1])
        assert termios.tcgetattr(terminal.theirs) == terminal.before
        terminal.process.send_signal(signal.SIGCONT)
        terminal.press("n")
        terminal.until(lambda lines: "by name" in lines[-1])
        terminal.press("q")
        assert terminal.ended() == 0


def test_what_goes_on_is_told_with_its_reasons(spent: Path) -> None:
    with BudgetManager("default") as manager, shown() as terminal:
        with pytest.raises(BudgetExceededError), manager.hold(cost=0.5, user="alice"):
            pass
        with manager.hold(cost=0.5, user="bob"):
            reason = "ago  alice  needs $0.50, $0.25 left of $1/day"
            terminal.until(lambda lines: any(re.fullmatch(rf"refused .*{re.escape(reason)}", line) for line in lines))
            terminal.until(lambda lines: any(line.startswith("in flight") and "bob" in line for line in lines))
        terminal.press("q")
        assert terminal.ended() == 0


def test_what_is_no_terminal_gets_the_status(spent: Path) -> None:
    shown_once = [CliRunner().invoke(budgeted, [name], catch_exceptions=False) for name in ("top", "status")]
    assert [result.exit_code for result in shown_once] == [0, 0]
    top, status = (result.stdout.splitlines()[1:] for result in shown_once)  # without the time
    assert top == status


def test_a_project_that_is_not_there_is_told_at_once(budgeted_home: Path) -> None:
    with shown("--project", "misspelt") as terminal:
        assert terminal.process.wait(WAIT) == 1
        assert BACK not in terminal.written.decode()
