"""What processes of a ``budgeted run`` note in its folder, since no ledger keeps it: which took part, what was refused.

Each process has files of its own, named by its pid. They are written at once, so that a killed process has told too.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Final

STARTED, REFUSED, ENDED_BY_REFUSAL = "started", "refused", "ended-by-refusal"
ENDED_BY_PROGRAM = "ended-by-program"
FORKING, FORKED = "forking", "forked"

_folders: Final[list[Path]] = []


def write_to(folders: Iterable[Path]) -> None:
    """Have this process, and those that are forked from it, note what they do there from now on."""
    _folders[:] = folders


def write_also_to(folder: Path) -> None:
    """Have this process note what happens in one more folder: it sends something on for the programs of a run.

    Args:
        folder: of the run.
    """
    if folder not in _folders:
        _folders.append(folder)


def note(what: str) -> None:
    """Note that something has happened once more; where nobody runs this program, or has ended doing so, do nothing."""
    for folder in _folders:
        with contextlib.suppress(OSError):
            descriptor = os.open(folder / f"{os.getpid()}.{what}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
            try:
                os.write(descriptor, b".")
            finally:
                os.close(descriptor)


def counts(folder: Path, what: str) -> dict[int, int]:
    """How often something was noted in a folder, by pid."""
    return {int(file.stem): file.stat().st_size for file in folder.glob(f"*.{what}")}


def has_forks_on_the_way(folder: Path) -> bool:
    """Whether a process has forked a child that has not noted yet that it has started."""
    return sum(counts(folder, FORKING).values()) > sum(counts(folder, FORKED).values())
