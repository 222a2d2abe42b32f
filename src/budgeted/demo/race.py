"""Two processes race; one is killed in the middle of its calls, as by ``kill -9``, and started again."""

from __future__ import annotations

import os
import queue
import subprocess
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import msgspec

from budgeted.demo.deferred_signals import deferred
from budgeted.demo.planned_calls import CALLS, STARTS, Race
from budgeted.demo.racing_process import MADE

TICK: Final = 0.1
"""Seconds between two looks at how it goes."""

KILL_AFTER: Final = CALLS // 3
"""The first process is killed when so many of its calls are through."""

_NEW_GROUP: Final = getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)
"""On Windows, what keeps Ctrl-C for the parent; elsewhere, a session of its own does."""


class Progress(msgspec.Struct):
    """How a race goes.

    Attributes:
        made: calls that were made, by number.
        refused: calls that were refused, by number.
        killed: the process that was killed; 0 before that.
    """

    made: set[int] = set()
    refused: set[int] = set()
    killed: int = 0


class RaceError(Exception):
    """A process of the race has failed; the text says how."""


class Starter(msgspec.Struct):
    """What processes of a race are started with.

    Attributes:
        race: what they are told.
        command: what begins each one's command line.
        folder: where they run, and write what goes wrong: nobody's own files are imported in place of theirs.
    """

    race: Race
    command: Sequence[str]
    folder: Path


class _Racer:
    """A process of the race. Ends with ``close()`` at the latest."""

    def __init__(self, starter: Starter, start: int, tell: Callable[[_Racer, bytes], None]) -> None:
        self.through = 0
        self.errors = starter.folder / f"errors-{start}.txt"
        with self.errors.open("wb") as errors:
            self.process = subprocess.Popen(  # noqa: S603 - our own program
                [*starter.command, msgspec.json.encode(starter.race).decode(), str(start)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                cwd=starter.folder,
                env=_environment(),
                start_new_session=True,
                creationflags=_NEW_GROUP,
            )
        self._reader = threading.Thread(target=self._read, args=(tell,), daemon=True)
        self._reader.start()

    def _read(self, tell: Callable[[_Racer, bytes], None]) -> None:
        assert self.process.stdout is not None  # noqa: S101 - it was asked for
        for line in self.process.stdout:
            if line.endswith(b"\n"):  # else it was killed while it wrote
                tell(self, line)
        tell(self, b"")

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def close(self) -> None:
        self.kill()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()

    def check(self) -> None:
        """Raise if it ended otherwise than it should, unless it was killed."""
        if self.process.wait() != 0:
            text = self.errors.read_text(errors="replace").strip()
            msg = f"a process of the race ended with {self.process.returncode}:\n{text[-4000:]}"
            raise RaceError(msg)


def _environment() -> dict[str, str]:
    """This process's, without what is set for the user's own programs; modules are found from elsewhere, too."""
    found = {name: value for name, value in os.environ.items() if not name.startswith("BUDGETED_")}
    if "PYTHONPATH" in found:
        found["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, found["PYTHONPATH"].split(os.pathsep)))
    return found


def run(starter: Starter, tick: Callable[[Progress], None], tell: Callable[[str], None]) -> Progress:
    """Run a race to its end.

    Args:
        starter: what its processes are started with.
        tick: called every moment, to show how it goes.
        tell: called with a sentence about what was done.

    Raises:
        RaceError: a process failed.
    """
    lines: queue.SimpleQueue[tuple[_Racer, bytes]] = queue.SimpleQueue()
    progress = Progress()
    with ExitStack() as stack:

        def start(number: int) -> _Racer:
            with deferred():  # a process that nobody knows of would run on
                racer = _Racer(starter, number, lambda racer, line: lines.put((racer, line)))
                stack.callback(racer.close)
            return racer

        doomed = start(0)
        running = {doomed, start(1)}
        while running:
            tick(progress)
            for racer, line in _arrived(lines):
                if not line:
                    running.discard(racer)
                    if racer.process.pid != progress.killed:
                        racer.check()
                    continue
                word, number = line.split()
                (progress.made if word == MADE else progress.refused).add(int(number))
                racer.through += 1
            if doomed.through >= KILL_AFTER and not progress.killed:
                doomed.kill()
                progress.killed = doomed.process.pid
                again = start(STARTS - 1)
                running.add(again)
                tell(f"   killed process {progress.killed} (kill -9) amid its calls; it goes on as {again.process.pid}")
        tick(progress)
    return progress


def _arrived(lines: queue.SimpleQueue[tuple[_Racer, bytes]]) -> list[tuple[_Racer, bytes]]:
    """What has been written meanwhile; if nothing, the next, or nothing within a moment."""
    found = []
    try:
        found.append(lines.get(timeout=TICK))
        while True:
            found.append(lines.get_nowait())
    except queue.Empty:
        return found
