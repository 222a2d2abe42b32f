"""The files of snapshots: each is the state at the start of the segment of its number."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError
from budgeted.ledger.journal.checked_lines import crc32
from budgeted.ledger.journal.origin import Origin, Position
from budgeted.ledger.journal.segment_files import snapshot_path, write_new
from budgeted.ledger.memory.state import State
from budgeted.system import current as system

logger = logging.getLogger("budgeted")


class _Origin(msgspec.Struct):
    """What a snapshot's content begins with; those of versions that knew no identity have nothing before the state."""

    segment: int
    ledger: str
    ends: tuple[Position, ...]


_decode_origin = msgspec.json.Decoder(_Origin).decode


def write_snapshot(directory: Path, segment: int, pieces: Iterable[bytes], origin: Origin) -> None:
    """Put a snapshot in place durably, without having all of it in memory."""
    path = snapshot_path(directory, segment)
    temporary = path.with_name(f".{path.name}")
    temporary.unlink(missing_ok=True)
    check = _Check()
    content = check.each(itertools.chain((msgspec.json.encode(_Origin(segment, *origin)) + b"\n",), pieces))
    write_new(temporary, itertools.chain((check.head,), content), lambda fd: system.write_at(fd, check.head, 0))
    # Renamed when all of it is on the disk: half of one is never found under its name.
    system.replace(temporary, path)
    system.sync_directory(directory)


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


def read_snapshot(directory: Path, segment: int) -> tuple[Origin, State]:
    """Which ledger a snapshot is of, and the state, read without having all of the file in memory.

    Raises:
        LedgerCorruptError: it fails its check, or is another one.
        msgspec.DecodeError: it is no snapshot all the same.
    """
    path = snapshot_path(directory, segment)
    check = _Check()
    with path.open("rb") as file:
        head = file.read(len(check.head))
        for _ in check.each(file):
            pass
        if head != check.head:
            msg = f"{path} is damaged: it fails its check. Nothing was changed; restore it from a backup"
            raise LedgerCorruptError(msg)
        file.seek(len(head))
        return _read(file, path, segment)


def _read(lines: Iterable[bytes], path: Path, segment: int) -> tuple[Origin, State]:
    lines = iter(lines)
    first = next(lines, b"")
    if not first.startswith(b"{"):
        return Origin(), State.read(itertools.chain((first,), lines))
    said = _decode_origin(first)
    if said.segment != segment:
        msg = f"{path} is the snapshot of segment {said.segment}: files were mixed up. Nothing was changed"
        raise LedgerCorruptError(msg)
    return Origin(said.ledger, said.ends), State.read(lines)


def newest(directory: Path, snapshots: Iterable[int], journals: list[int]) -> tuple[State, int, Origin]:
    """The state to start from, the segment that follows it, and which ledger it is of."""
    damage: LedgerCorruptError | None = None
    for number in sorted(snapshots, reverse=True):
        try:
            origin, state = read_snapshot(directory, number)
        except (LedgerCorruptError, msgspec.DecodeError) as error:
            # What a snapshot folds is mostly still there to be folded again.
            logger.warning("budgeted: %s; looking for the one before it", error)
            damage = error if isinstance(error, LedgerCorruptError) else LedgerCorruptError(f"{directory}: {error}")
        else:
            return state, number, origin
    if 1 in journals:
        return State(), 1, Origin()
    msg = f"{directory} has journals from {min(journals, default=0)} on but no snapshot: files are missing"
    raise damage or LedgerCorruptError(msg)
