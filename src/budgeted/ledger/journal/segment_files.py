"""The files of a journal's segments, by number: where they are, how they are made, and when they go.

``journal-N`` holds one record a line (:mod:`budgeted.ledger.journal.checked_lines`), ``snapshot-N`` is the state at the
start of ``journal-N``.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterable
from pathlib import Path

from budgeted.errors import LedgerError
from budgeted.ledger.journal.checked_lines import first_line
from budgeted.ledger.journal.origin import Origin
from budgeted.ledger.mounted_file_systems import NETWORK, kind_of_file_system
from budgeted.system import current as system

logger = logging.getLogger("budgeted")


def journal_path(directory: Path, segment: int) -> Path:
    """The file of a segment."""
    return directory / f"journal-{segment:08d}"


def snapshot_path(directory: Path, segment: int) -> Path:
    """The file of the state at the start of a segment."""
    return directory / f"snapshot-{segment:08d}"


def number_of(path: Path) -> int:
    """The segment that a journal or a snapshot is of."""
    return int(path.name.partition("-")[2])


def numbers(directory: Path, kind: str) -> list[int]:
    """The numbers of the segments (``"journal"``) or snapshots there are, ascending."""
    found = []
    for name in os.listdir(directory):  # noqa: PTH208 - a path for each name is not wanted
        head, _, number = name.partition("-")
        if head == kind and number.isdecimal() and number.isascii():
            found.append(int(number))
    return sorted(found)


def in_use(directory: Path) -> list[int]:
    """The numbers of the segments that lead to each other, ascending, without those that somebody else keeps open."""
    found = numbers(directory, "journal")
    if system.OPEN_FILES_ARE_REMOVED:
        return found
    # Those behind the last gap, if they begin as a ledger can.
    gaps = [at for at in range(1, len(found)) if found[at] != found[at - 1] + 1]
    behind = found[gaps[-1] if gaps else 0 :]
    beginnings = {1, *numbers(directory, "snapshot")}
    return next((behind[at:] for at, number in enumerate(behind) if number in beginnings), behind)


def create(directory: Path, segment: int, origin: Origin) -> None:
    """Make an empty segment, with its header; whatever a crash left under that name is replaced."""
    path = journal_path(directory, segment)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    write_new(temporary, (first_line(segment, origin),))
    # Renamed when all of it is on the disk: half a header is never found under its name.
    system.replace(temporary, path)
    system.sync_directory(directory)


def write_new(path: Path, parts: Iterable[bytes], finish: Callable[[int], object] | None = None) -> None:
    """Write a file in full and make it durable, or leave nothing behind. Mode 0600.

    Args:
        path: of the file.
        parts: what it holds.
        finish: called with the open file when all parts are written, before they are made durable.
    """
    fd = system.open_file(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[os.write(fd, view) :]
        if finish is not None:
            finish(fd)
        system.sync(fd)
    except BaseException:
        system.close_and_remove(fd, path)
        raise
    os.close(fd)


def drop_before(directory: Path, segment: int) -> None:
    """Remove the files of earlier segments. The caller holds the lock: who reads must find what it has listed."""
    for kind in ("snapshot", ".snapshot", "journal", ".journal"):
        for old in numbers(directory, kind):
            if old < segment:
                system.remove(directory / f"{kind}-{old:08d}")


def is_empty(directory: Path, segment: int) -> bool:
    """Whether a segment has no line but its header."""
    return journal_path(directory, segment).read_bytes().count(b"\n") <= 1


def refuse_other_files(directory: Path) -> None:
    """Refuse a directory that holds something else than a ledger.

    Raises:
        LedgerError: it does; the text names some of it.
    """
    names = os.listdir(directory)  # noqa: PTH208 - names are what is wanted
    others = [
        name for name in names if name not in ("lock", "owners") and not name.startswith((".", "journal-", "snapshot-"))
    ]
    if others and "lock" not in names:
        msg = (
            f"{directory} holds other files ({', '.join(sorted(others)[:3])}), not a ledger; "
            f"give the ledger a directory of its own"
        )
        raise LedgerError(msg)


def refuse_symlink(directory: Path) -> None:
    """Refuse a directory that somebody may lead elsewhere while it is in use.

    Raises:
        LedgerError: it is a symbolic link.
    """
    if directory.is_symlink():
        msg = (
            f"{directory} is a symbolic link, and a ledger's own directory must not be one: who changes it would have "
            f"limits forgotten. Move the directory that it leads to in its place, or name another path; the path above "
            f"it may be a link"
        )
        raise LedgerError(msg)


def warn_of_network(directory: Path) -> None:
    """Warn if other hosts may have the same files: their processes share no memory, by which a ledger is read."""
    kind = kind_of_file_system(directory)
    if kind in NETWORK:
        logger.warning(
            "budgeted: %s is on a network file system (%s). Its limits hold for the processes of one host: if others "
            "open the same directory, they may pass them together, and need a ledger that hosts share (redis://, "
            "postgresql+psycopg://, https://)",
            directory,
            kind,
        )


def warn_of_writers(directory: Path) -> None:
    """Warn if others than the owner may remove or replace a ledger's files, or its directory."""
    for path in (directory, directory.parent):
        with contextlib.suppress(OSError):
            who = system.who_may_write(path)
            if who:
                logger.warning(
                    "budgeted: %s may be written by %s, who could remove or replace the ledger; chmod %s %s",
                    path,
                    who,
                    "go-w" if who == "everybody" else "g-w",
                    path,
                )
