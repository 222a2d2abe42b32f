"""What a part is given: time, randomness, a folder, and where cases, faults and violations are counted.

A case has a subject and a number, and all its randomness comes of the seed, the subject and the number: it is repeated
alone, by ``--case SUBJECT:NUMBER``.
"""

from __future__ import annotations

import random
import shutil
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeVar

import msgspec
import pytest

Item = TypeVar("Item")

MOST_VIOLATIONS = 5
"""Violations after which a part ends: more would tell nothing new."""

MOST_TOLD = 60
"""Lines of a case's story that are shown with its violation."""


class CannotRun(Exception):  # noqa: N818 - it tells of the machine, and is no error of the part
    """What a part needs is not on this machine; the text says what."""


class Enough(Exception):  # noqa: N818 - it ends a part
    """There were as many violations as anybody reads."""


class Report(msgspec.Struct):
    """What came of a part with one seed."""

    part: str
    title: str
    seed: int
    cases: dict[str, int] = {}
    faults: dict[str, int] = {}
    violations: list[str] = []
    left_out: list[str] = []
    seconds: float = 0.0


class Case:
    """One case: its own randomness, a folder of its own, its faults, and its story, which is told if it goes wrong."""

    def __init__(self, trial: Trial, subject: str, number: int) -> None:
        self.trial, self.subject, self.number = trial, subject, number
        self.rng = random.Random(f"{trial.part} {trial.seed} {subject} {number}")
        self.faults = 0
        self.story: list[str] = []
        self._directory: Path | None = None

    @property
    def name(self) -> str:
        """What ``--case`` takes."""
        return f"{self.subject}:{self.number}"

    @property
    def directory(self) -> Path:
        """An empty folder, removed after the case."""
        if self._directory is None:
            self._directory = self.trial.directory / self.name.replace("/", "_").replace(" ", "_")
            self._directory.mkdir(mode=0o700)
        return self._directory

    def fault(self, kind: str, detail: str = "") -> None:
        """Count a fault that is injected, and tell of it."""
        self.faults += 1
        self.trial.fault(kind)
        self.tell(f"fault: {kind} {detail}".rstrip())

    def tell(self, line: str) -> None:
        """Add a line to what is shown if the case goes wrong."""
        self.story.append(line)

    def close(self) -> None:
        """Remove its folder; one that is repeated alone leaves it to be looked at."""
        if self._directory is not None and self.trial.only is None:
            shutil.rmtree(self._directory, ignore_errors=True)


class Trial:
    """A run of a part.

    Args:
        part: its name.
        title: what it is about.
        seed: what all randomness of the run comes of.
        seconds: how long the part is to take.
        directory: a folder of its own, removed afterwards.
        long: whether it is the long form.
        only: the one case to run, as ``SUBJECT:NUMBER``.
        tell: told of each violation when it is found.
    """

    def __init__(
        self,
        part: str,
        title: str,
        seed: int,
        seconds: float,
        directory: Path,
        *,
        long: bool = False,
        only: str | None = None,
        tell: Callable[[str], None] = print,
    ) -> None:
        self.part, self.seed, self.seconds, self.directory = part, seed, seconds, directory
        self.long, self.only = long, only
        self.rng = random.Random(f"{part} {seed}")
        self._tell = tell
        self._started = time.monotonic()
        self._cases: Counter[str] = Counter()
        self._faults: Counter[str] = Counter()
        self._report = Report(part, title, seed, violations=[], left_out=[])

    @property
    def left(self) -> float:
        """Seconds that are left of what the part is to take."""
        return self._started + self.seconds - time.monotonic()

    # -- counting

    def case(self, subject: str = "", count: int = 1) -> None:
        """Count a case, or several."""
        self._cases[subject or self.part] += count

    def fault(self, kind: str, count: int = 1) -> None:
        """Count a fault that is injected, by what it is ("torn write", "kill -9")."""
        self._faults[kind] += count

    def violation(self, text: str, repeat: str | None = None) -> None:
        """Say what should never have happened, at once.

        Args:
            text: which invariant, and what was found.
            repeat: the command line that shows it again; that of the whole part by default.

        Raises:
            Enough: there have been many.
        """
        text = f"{text.rstrip()}\nrepeat: {repeat or self.command()}"
        self._report.violations.append(text)
        self._tell(text)
        if len(self._report.violations) >= MOST_VIOLATIONS:
            raise Enough

    def left_out(self, reason: str) -> None:
        """Say that something could not be tried on this machine. It fails the run where ``SKIPS_FAIL`` is set."""
        if reason not in self._report.left_out:
            self._report.left_out.append(reason)

    def command(self, case: str | None = None) -> str:
        """The command line that repeats this run, or one case of it."""
        words = ["python -m proof --part", self.part, f"--seed {self.seed}"]
        if self.long:
            words.append("--long")
        if case is not None:
            words.append(f"--case {case!r}" if " " in case else f"--case {case}")
        return " ".join(words)

    def report(self) -> Report:
        """What came of it so far."""
        self._report.cases, self._report.faults = dict(self._cases), dict(self._faults)
        self._report.seconds = time.monotonic() - self._started
        return self._report

    # -- cases that are repeated alone

    def wants(self, subject: str) -> bool:
        """Whether the subject's cases are to be run: all are, unless one case is asked for."""
        return self.only is None or self.only.rpartition(":")[0] == subject

    def random_cases(self, subject: str, attempt: Callable[[Case], None], share: float = 1.0) -> None:
        """Try one case after the other, for a share of the part's seconds.

        Args:
            subject: what they are about; with a number, it is a case's name.
            attempt: one case. Whatever it raises is a violation.
            share: of the part's seconds.
        """
        if not self.wants(subject):
            return
        until = time.monotonic() + min(self.seconds * share, max(self.left, 0.0))
        number = self._number() or 0
        while True:
            self._attempt(Case(self, subject, number), attempt)
            number += 1
            if self.only is not None or time.monotonic() >= until:
                return

    def each_case(
        self, subject: str, items: Sequence[Item], attempt: Callable[[Case, Item], None], most: int | None = None
    ) -> None:
        """Try each item; in the short form at most so many of them, drawn by the seed.

        Args:
            subject: what they are about.
            items: what is tried, the same whenever it is repeated.
            attempt: one case. Whatever it raises is a violation.
            most: how many the short form tries; None for all.
        """
        if not self.wants(subject):
            return
        numbers: Sequence[int] = range(len(items))
        if most is not None and not self.long and most < len(items):
            numbers = sorted(random.Random(f"{self.part} {self.seed} {subject}").sample(numbers, most))
        only = self._number()
        for number in numbers if only is None else [only]:
            self._attempt(Case(self, subject, number), lambda case: attempt(case, items[case.number]))

    def _number(self) -> int | None:
        return None if self.only is None else int(self.only.rpartition(":")[2])

    def _attempt(self, case: Case, attempt: Callable[[Case], None]) -> None:
        self.case(case.subject)
        try:
            attempt(case)
        except (CannotRun, Enough, pytest.skip.Exception):
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, it was not to happen
            self.violation(f"case {case.name}: {described(error)}\n{story(case)}", self.command(case.name))
        finally:
            case.close()


def described(error: BaseException) -> str:
    """An exception's text, and where it comes from."""
    text = "".join(traceback.format_exception_only(error)).strip()
    frames = traceback.extract_tb(error.__traceback__)[-6:]
    where = "".join(f"\n  {frame.filename}:{frame.lineno} {frame.name}: {frame.line}" for frame in frames)
    return text + where


def story(case: Case) -> str:
    """The end of what a case told."""
    left_away = len(case.story) - MOST_TOLD
    lines = [f"  ({left_away} lines before)"] if left_away > 0 else []
    return "\n".join([*lines, *(f"  {line}" for line in case.story[-MOST_TOLD:])])
