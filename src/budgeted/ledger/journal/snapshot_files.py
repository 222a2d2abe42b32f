"""The files of snapshots: each is the state at the start of the segment of its number."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError
from budgeted.ledger.journal.checked_lines import crc32
from budgeted.ledger.journal.segment_files import snapshot_path, sync_directory, write_new
from budgeted.ledger.memory.state import State

logger = logging.getLogger("budgeted")


def write_snapshot(directory: Path, segment: int, data: bytes) -> None:
    """Put a snapshot in place durably."""
    path = snapshot_path(directory, segment)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    write_new(temporary, b"%08x " % crc32(data), data)
    # Renamed when all of it is on the disk: half of one is never found under its name.
    temporary.rename(path)
    sync_directory(directory)


def read_snapshot(directory: Path, segment: int) -> bytes:
    """A snapshot's content.

    Raises:
        LedgerCorruptError: it fails its check.
    """
    path = snapshot_path(directory, segment)
    with path.open("rb") as file:
        head, data = file.read(9), file.read()
    if head != b"%08x " % crc32(data):
        msg = f"{path} is damaged: it fails its check. Nothing was changed; restore it from a backup"
        raise LedgerCorruptError(msg)
    return data


def newest(directory: Path, snapshots: Iterable[int], journals: list[int]) -> tuple[State, int]:
    """The state to start from, and the segment that follows it."""
    damage: LedgerCorruptError | None = None
    for number in sorted(snapshots, reverse=True):
        try:
            return State.decode(read_snapshot(directory, number)), number
        except (LedgerCorruptError, msgspec.DecodeError) as error:
            # What a snapshot folds is mostly still there to be folded again.
            logger.warning("budgeted: %s; looking for the one before it", error)
            damage = error if isinstance(error, LedgerCorruptError) else LedgerCorruptError(f"{directory}: {error}")
    if 1 in journals:
        return State(), 1
    msg = f"{directory} has journals from {min(journals, default=0)} on but no snapshot: files are missing"
    raise damage or LedgerCorruptError(msg)
