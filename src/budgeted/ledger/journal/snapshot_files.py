"""The files of snapshots: each is the state at the start of the segment of its number."""

from __future__ import annotations

import itertools
import logging
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError
from budgeted.ledger.journal.checked_lines import crc32
from budgeted.ledger.journal.segment_files import snapshot_path, sync_directory, write_new
from budgeted.ledger.memory.state import State

logger = logging.getLogger("budgeted")


def write_snapshot(directory: Path, segment: int, pieces: Iterable[bytes]) -> None:
    """Put a snapshot in place durably, without having all of it in memory."""
    path = snapshot_path(directory, segment)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    check = _Check()
    write_new(temporary, itertools.chain((check.head,), check.each(pieces)), lambda fd: os.pwrite(fd, check.head, 0))
    # Renamed when all of it is on the disk: half of one is never found under its name.
    temporary.rename(path)
    sync_directory(directory)


class _Check:
    """The check of content that passes through piece by piece; it stands before that."""

    def __init__(self) -> None:
        self._crc = 0

    @property
    def head(self) -> bytes:
        return b"%08x " % self._crc

    def each(self, pieces: Iterable[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            self._crc = crc32(piece, self._crc)
            yield piece


def read_snapshot(directory: Path, segment: int) -> State:
    """A snapshot's content, read without having all of the file in memory.

    Raises:
        LedgerCorruptError: it fails its check.
        msgspec.DecodeError: it is no snapshot all the same.
    """
    path = snapshot_path(directory, segment)
    check = _Check()
    with path.open("rb") as file:
        head = file.read(len(check.head))
        state: State | msgspec.DecodeError
        try:
            state = State.read(check.each(file))
        except msgspec.DecodeError as error:
            state = error
        for _ in check.each(file):
            pass
    if head != check.head:
        msg = f"{path} is damaged: it fails its check. Nothing was changed; restore it from a backup"
        raise LedgerCorruptError(msg)
    if isinstance(state, msgspec.DecodeError):
        raise state
    return state


def newest(directory: Path, snapshots: Iterable[int], journals: list[int]) -> tuple[State, int]:
    """The state to start from, and the segment that follows it."""
    damage: LedgerCorruptError | None = None
    for number in sorted(snapshots, reverse=True):
        try:
            return read_snapshot(directory, number), number
        except (LedgerCorruptError, msgspec.DecodeError) as error:
            # What a snapshot folds is mostly still there to be folded again.
            logger.warning("budgeted: %s; looking for the one before it", error)
            damage = error if isinstance(error, LedgerCorruptError) else LedgerCorruptError(f"{directory}: {error}")
    if 1 in journals:
        return State(), 1
    msg = f"{directory} has journals from {min(journals, default=0)} on but no snapshot: files are missing"
    raise damage or LedgerCorruptError(msg)
