"""``budgeted demo``: the race is run, told in plain words, and leaves nothing behind, however it ends."""

from __future__ import annotations

import os
import pty
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from click.testing import CliRunner

from budgeted.cli.command_group import budgeted

pytestmark = pytest.mark.slow

THREADS = 4


class Ran(NamedTuple):
    """A demo that came to its end."""

    code: int
    output: str
    files: list[str]
    processes: list[int]


def started(folder: Path, output: int, *options: str) -> subprocess.Popen[bytes]:
    # What is set for the user's own programs is not for the demo; and no file of the user's is taken for a module.
    (folder / "json.py").write_text("raise SystemExit('taken for the standard library')")
    settings = {"BUDGETED_MAX_BUDGET": "1", "BUDGETED_UNPRICED": "free", "BUDGETED_LEDGER": "redis://127.0.0.1:1"}
    environment = {**os.environ, **settings, "TMPDIR": str(folder / "temporary"), "TERM": "xterm"}
    (folder / "temporary").mkdir()
    command = [Path(sys.executable).with_name("budgeted"), "demo", "--threads", str(THREADS), *options]
    return subprocess.Popen(command, env=environment, cwd=folder, stdout=output, stderr=output, start_new_session=True)


def alive(folder: Path) -> list[int]:
    """The processes that were started with this folder for temporary files."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if f"TMPDIR={folder / 'temporary'}".encode() in (process / "environ").read_bytes().split(b"\0"):
                found.append(int(process.name))
        except OSError:  # it has ended, or is another user's
            continue
    return found


def left_by(process: subprocess.Popen[bytes], folder: Path, output: str) -> Ran:
    files = [str(path) for path in (folder / "temporary").rglob("*")]
    return Ran(process.wait(60), output, files, alive(folder))


@pytest.fixture(scope="module")
def through(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ran]:
    """A demo without a terminal, to its end."""
    folder = tmp_path_factory.mktemp("demo")
    with started(folder, subprocess.PIPE, "--seed", "7") as process:
        output, _ = process.communicate(timeout=120)
        yield left_by(process, folder, output.decode())


def cells(output: str, row: str) -> list[str]:
    """What is in a row of the table, for everybody, alice and bob."""
    line = next(line for line in output.splitlines() if line.strip().startswith(row))
    return line.strip().removeprefix(row).split()


def nano(cell: str) -> int:
    found = re.fullmatch(r"\$(\d+)\.(\d{2,9})", cell)
    assert found, cell
    return int(found[1]) * 10**9 + int(found[2].ljust(9, "0"))


def test_it_ends_as_promised(through: Ran) -> None:
    assert through.code == 0, through.output
    assert through.output.rstrip().endswith("as promised")
    assert through.output.count("kill -9") == 2


def test_its_table_has_what_was_billed_equal_to_the_ledger(through: Ran) -> None:
    assert cells(through.output, "billed, and told in the answer") == cells(
        through.output, "the same calls in the ledger"
    )
    billed, held = (
        [nano(cell) for cell in cells(through.output, row)]
        for row in ("billed, and told to nobody", "the same calls, as they were held")
    )
    assert all(one <= other for one, other in zip(billed, held, strict=True))


def test_its_counters_pass_the_limit_and_its_budgets_do_not(through: Ran) -> None:
    limit, alices, _ = cells(through.output, "the limit")
    assert nano(cells(through.output, "1. counters: billed")[0]) > nano(limit)
    spent = cells(through.output, "all that is charged in the ledger")
    assert nano(spent[0]) <= nano(limit)
    assert nano(spent[1]) <= nano(alices)
    assert nano(spent[0]) == nano(spent[1]) + nano(spent[2])


def test_without_a_terminal_it_is_plain_text(through: Ran) -> None:
    assert "\x1b" not in through.output
    assert "█" not in through.output


def test_it_leaves_nothing_behind(through: Ran) -> None:
    assert through.files == []
    assert through.processes == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_interrupted_amid_the_race_on_a_terminal_it_leaves_nothing_behind(number: int, tmp_path: Path) -> None:
    terminal, slave = pty.openpty()
    process = started(tmp_path, slave)
    os.close(slave)
    shown = b""
    while b"goes on as" not in shown:
        shown += os.read(terminal, 4096)
    assert re.search("█.* settled.*▒.* held", shown.decode(errors="replace"), re.DOTALL)
    assert len(alive(tmp_path)) >= 2
    for _ in range(2):  # who is impatient
        process.send_signal(number)
    try:
        while read := os.read(terminal, 4096):
            shown += read
    except OSError:  # nobody has it open any more
        pass
    os.close(terminal)
    ran = left_by(process, tmp_path, shown.decode(errors="replace"))
    assert ran.code not in (0, -signal.SIGKILL)
    assert (ran.files, ran.processes) == ([], [])
    assert "Traceback" not in ran.output


@pytest.mark.parametrize("threads", ["0", "65", "many"])
def test_a_number_of_threads_that_makes_no_sense_is_refused(threads: str) -> None:
    result = CliRunner().invoke(budgeted, ["demo", "--threads", threads])
    assert result.exit_code == 2
    assert threads in result.output
