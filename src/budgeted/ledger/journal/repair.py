"""Cutting a damaged ledger back to what is intact: explicit, never on its own."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal.host_lock import MARK, HostLock


def repair(directory: str | os.PathLike[str]) -> int:
    """Keep everything before the first damage; set the rest aside as ``*.damaged``.

    Args:
        directory: the ledger's own directory, as the error named it. No process may have it open.

    Returns:
        How many bytes were set aside.
    """
    directory = Path(directory)
    if not directory.is_dir():
        msg = f"{directory} is no directory; name the ledger's own, as the error did"
        raise LedgerError(msg)
    lock = HostLock(directory / "lock")
    lock.acquire(10)
    try:
        start = _first_segment(directory)
        lost = 0
        cut = False
        for number in [n for n in segment_files.numbers(directory, "journal") if n >= start]:
            path = segment_files.journal_path(directory, number)
            size = path.stat().st_size
            # Behind a damage nothing can be trusted to belong together.
            good, ends_here = (0, True) if cut else checked_lines.intact(path)
            if good < size:
                _set_aside(path)
                lost += size - good
                if cut:
                    path.unlink()
                else:
                    os.truncate(path, good)
            cut = cut or ends_here
        lock.memory[MARK] = bytes(16)  # whoever has it open after all reads it again
        return lost
    finally:
        lock.release()
        lock.close()


def _first_segment(directory: Path) -> int:
    """The segment of the newest snapshot that can be read; those that cannot are set aside."""
    for number in reversed(segment_files.numbers(directory, "snapshot")):
        try:
            snapshot_files.read_snapshot(directory, number)
        except (LedgerCorruptError, ValueError):
            path = segment_files.snapshot_path(directory, number)
            _set_aside(path)
            path.unlink()
        else:
            return number
    return 1


def _set_aside(path: Path) -> None:
    shutil.copy2(path, path.with_name(path.name + ".damaged"))
