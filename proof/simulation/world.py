"""Simulated processes: threads of which one runs at a time, switched, stopped and killed at system calls by a seed.

A process that is killed has no effect any more: every call it makes from then on raises :class:`Killed`, while its
Python code unwinds. Its files are closed and its locks are given back at once, as a kernel does.
"""

from __future__ import annotations

import errno
import itertools
import os
import random
import threading
from collections.abc import Callable

from proof.simulation.disk import Directory, Disk, File

BEGINNING = 4_000_000_000.0
"""Unix seconds at which a machine starts: no real clock is there."""

TICK = 2e-6
"""Seconds that a system call takes."""


_descriptors = itertools.count(1000)
"""Of all machines: a finaliser that comes late closes nothing of another one."""


class Killed(BaseException):
    """The process was killed."""


class OpenFile:
    """A file as a process has it open: what a lock belongs to."""

    def __init__(self, node: File | Directory, flags: int, path: str) -> None:
        self.node, self.flags, self.path = node, flags, path
        self.fd = next(_descriptors)
        self.position = 0
        self.errors = node.errors if isinstance(node, File) else 0


class Process:
    """One process. ``life`` is what it does."""

    def __init__(self, world: World, pid: int, life: Callable[[], None]) -> None:
        self.world, self.pid, self.life = world, pid, life
        self.files: dict[int, OpenFile] = {}
        self.jobs: list[Callable[[], object]] = []
        self.dead = self.ended = False
        self.wakes_at = 0.0
        self.spared = 0
        """Above 0, no fault is injected into what it does."""
        self.turn = threading.Lock()
        self.turn.acquire()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def _run(self) -> None:
        self.turn.acquire()
        try:
            if not self.dead:
                self.life()
        except Killed:
            pass
        except BaseException as error:  # noqa: BLE001 - told where the run is
            self.world.failed = self.world.failed or error
        self.die()
        self.ended = True
        self.world.go_on()

    def die(self) -> None:
        """Have it no more; the kernel closes its files."""
        self.dead = True
        for file in self.files.values():
            release_lock(file)
        self.files.clear()
        self.jobs.clear()


def release_lock(file: OpenFile) -> None:
    """Give back the lock that an open file has, if it has one."""
    if isinstance(file.node, File) and file.node.locked_by is file:
        file.node.locked_by = None


class Faults:
    """How likely each fault is at a system call, by its name."""

    def __init__(self, rates: dict[str, float], tell: Callable[[str, str], None], note: Callable[[str], None]) -> None:
        self.rates, self.tell, self.note = rates, tell, note

    def strikes(self, kind: str, rng: random.Random) -> bool:
        """Whether this fault comes now."""
        rate = self.rates.get(kind)
        return rate is not None and rng.random() < rate


class World:
    """The machine.

    Args:
        rng: what everything comes of.
        faults: how often what goes wrong.
        switching: how likely another process goes on at a system call.
    """

    def __init__(self, rng: random.Random, faults: Faults, switching: float) -> None:
        self.rng, self.faults, self.switching = rng, faults, switching
        self.disk = Disk()
        self.now = BEGINNING
        self.boot = 1
        self.processes: list[Process] = []
        self.current: Process | None = None
        self.failed: BaseException | None = None
        self.power_cuts = 0
        self.events: dict[str, Callable[[], None]] = {}
        """What else may happen at a system call, by its name among the faults."""
        self.on_power_cut: Callable[[], None] = lambda: None
        self.calls = 0
        self._pids = 100
        self._main = threading.Lock()
        self._main.acquire()

    # -- processes

    def start(self, life: Callable[[], None]) -> Process:
        """A new process; it runs when it is its turn."""
        self._pids += 1
        process = Process(self, self._pids, life)
        self.processes.append(process)
        process.thread.start()
        return process

    def run(self) -> None:
        """Let all processes run until they have ended."""
        self.go_on()
        self._main.acquire()
        if self.failed is not None:
            raise self.failed

    def alone(self, life: Callable[[], None]) -> None:
        """Run one more process, while all others have ended and nothing goes wrong."""
        process = self.start(life)
        process.spared = 1
        self.run()

    def go_on(self) -> None:
        """Give the turn to a process, or to who waits for all of them."""
        following = self._next()
        self.current = following
        (self._main if following is None else following.turn).release()

    def _next(self) -> Process | None:
        there = [one for one in self.processes if not one.ended]
        if not there:
            return None
        ready = [one for one in there if one.dead or one.wakes_at <= self.now]
        if not ready:
            first = min(there, key=lambda one: (one.wakes_at, one.pid))
            self.now = max(self.now, first.wakes_at)
            return first
        return ready[0] if len(ready) == 1 else self.rng.choice(ready)

    def switch(self) -> None:
        """Let another process go on, and this one later."""
        here = self.current
        assert here is not None
        following = self._next()
        if following is not here and following is not None:
            self.current = following
            following.turn.release()
            here.turn.acquire()
        if here.dead:
            raise Killed

    def sleep(self, seconds: float) -> None:
        """Have the current process do nothing for so long."""
        here = self.current
        assert here is not None
        here.wakes_at = self.now + seconds
        self.switch()

    # -- what goes wrong

    def call(self, name: str, path: str = "", errors: tuple[int, ...] = ()) -> Process:
        """A system call begins: another process may go on before it, or it may go wrong.

        Args:
            name: which.
            path: of the file.
            errors: the numbers of errors that it may fail with.

        Returns:
            Whose call it is.
        """
        here = self.current
        if here is None or here.dead:
            raise Killed
        self.calls += 1
        self.now += TICK
        rng, faults = self.rng, self.faults
        if rng.random() < self.switching:
            self.switch()
        if here.spared:
            return here
        if faults.strikes("kill -9", rng):
            self.tell("kill -9", f"{here.pid} before {name} {path}")
            here.die()
            raise Killed
        if faults.strikes("SIGSTOP", rng):
            seconds = rng.choice([0.01, 1, 12])
            self.tell("SIGSTOP", f"{here.pid} for {seconds} s before {name} {path}")
            self.sleep(seconds)
        if faults.strikes("power cut", rng):
            self.cut_power(f"{here.pid} before {name} {path}")
            raise Killed
        for kind, event in self.events.items():
            if faults.strikes(kind, rng):
                event()
        if errors and faults.strikes(f"failed {name}", rng):
            number = rng.choice(errors)
            self.tell(f"failed {name}", f"{here.pid} {errno.errorcode[number]} {path}")
            raise OSError(number, os.strerror(number), path)
        return here

    def after(self, name: str, path: str = "") -> None:
        """A system call has been done: the process may be killed before it learns of that."""
        here = self.current
        if here is not None and not here.spared and self.faults.strikes("kill -9", self.rng):
            self.tell("kill -9", f"{here.pid} after {name} {path}")
            here.die()
            raise Killed

    def cut_power(self, when: str) -> None:
        """End all processes, and have on the disk what was synced and some of the rest."""
        self.tell("power cut", when)
        self.power_cuts += 1
        self.boot += 1
        for process in self.processes:
            process.die()
        self.disk.lose_power(self.rng)
        self.on_power_cut()

    def tell(self, kind: str, detail: str) -> None:
        """Tell of a fault."""
        self.faults.tell(kind, detail)

    def note(self, what: str) -> None:
        """Note what the current process has learned, for the story of the run."""
        here = self.current
        self.faults.note(f"{self.now - BEGINNING:12.6f} {here.pid if here else 0}: {what}")
