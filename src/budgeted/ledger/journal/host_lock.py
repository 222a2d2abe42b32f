"""One lock for all processes of a host, with a deadline that names who keeps it."""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

from budgeted.errors import LedgerLockedError
from budgeted.ledger.backoff import pauses
from budgeted.ledger.journal.disk_errors import unavailable
from budgeted.ledger.journal.origin import Origin, Position, boot_id
from budgeted.system import current as system

_PID = struct.Struct("<q")
_POSITION = struct.Struct("<qq")
_SIZE = 128
PID = slice(0, 8)
"""Where in ``HostLock.memory`` the last holder signs."""

MARK = slice(8, 24)
"""Where in ``HostLock.memory`` its holders leave each other 16 bytes: up to where the journal was acknowledged."""

SIGNED = slice(0, 24)
"""The same behind the pid of the last holder."""

ORIGIN = slice(24, 56)
"""Which ledger it is: its identity, its generation, and a check of both."""

_ORIGIN = struct.Struct("<16sqq")
_BOOT = slice(56, 72)
_SYNCED = slice(72, 88)

WRITING = 23
"""A byte of the mark that is :data:`YES` while a line is being written: whoever dies then leaves half a line."""

YES = 0x40
_OFFSET_BITS = (1 << 56) - 1


class HostLock:
    """An exclusive lock on a small file, which also carries what the lock's holders leave each other.

    That is a mark, up to where the journal was written, which is read far faster than a file's size is asked for; which
    ledger it is; and up to where the journal was on the disk. The mark holds for as long as the machine runs; after
    that the file may be older than the journal, and the journal than the mark.

    Args:
        path: the file.
        create: whether to make it, or to raise :class:`FileNotFoundError` where it is missing.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self.path = path
        made = os.O_CREAT if create else 0
        self.fd = system.open_file(path, os.O_RDWR | made)
        try:
            if os.fstat(self.fd).st_size < _SIZE:
                self._fill()
            self.memory = mmap.mmap(self.fd, _SIZE)
        except BaseException:
            os.close(self.fd)
            raise
        # Packed once: every verb writes it. A forked child opens a lock of its own.
        self._pid = _PID.pack(os.getpid())

    def _fill(self) -> None:
        """Have all of the file written: touching a hole on a full disk kills the process."""
        # Under the lock: another process may be at it, and has written in it what zeros must not replace.
        self._take(10)
        try:
            size = os.fstat(self.fd).st_size
            if size < _SIZE:
                system.write_at(self.fd, bytes(_SIZE - size), size)
        finally:
            self.release()

    # -- locking

    def acquire(self, timeout: float) -> None:
        """Take the lock within ``timeout`` seconds, or raise :class:`LedgerLockedError` with the holder's pid."""
        self._take(timeout)
        self.sign()

    def _take(self, timeout: float) -> None:
        try:
            system.lock(self.fd)
        except BlockingIOError:
            self.wait(timeout)

    def sign(self) -> None:
        """Say who has the lock: whoever takes it does so, unless the last holder was the same process."""
        self.memory[PID] = self._pid

    def release(self) -> None:
        """Give the lock back. Where that fails, the next who is done with it in this process does, or its end."""
        with contextlib.suppress(OSError):  # something else is the matter mostly, and is what is to be told
            system.unlock(self.fd)

    def holder(self) -> int:
        """The pid of the process that took the lock last; 0 if none has signed, or the disk does not say."""
        pid = system.first_bytes(self.fd, self.path, 8)
        return int(_PID.unpack(pid.ljust(8, b"\0"))[0])

    def in_place(self) -> bool:
        """Whether the file still stands where others find it: if not, they lock another one."""
        return system.is_at(self.fd, self.path)

    def close(self) -> None:
        """Close the file; a lock still held is given back, unless a forked relative has the file open too."""
        self.memory.close()
        with contextlib.suppress(OSError):
            os.close(self.fd)

    def wait(self, timeout: float, meanwhile: Callable[[], None] = lambda: None) -> None:
        """Take the lock that somebody else has, or raise as :meth:`acquire`; the taker signs for itself.

        ``meanwhile`` is done before each further try.
        """
        # A lock has no deadline of its own, and a stopped process would block us for ever.
        # Looking again sooner costs more than it brings: with eight processes at it, a quarter of what they get done.
        for _ in pauses(timeout, 0.0005, 0.002):
            meanwhile()
            try:
                system.lock(self.fd)
            except BlockingIOError:
                continue
            except OSError as error:
                raise unavailable(error, f"{self.path} cannot be locked") from error
            return
        pid = self.holder()
        msg = (
            f"{self.path} is locked by process {pid} for more than {timeout:g} seconds; "
            f"if that process hangs or is stopped, {system.how_to_end(pid)}"
        )
        raise LedgerLockedError(msg)

    # -- what its holders leave each other

    def _origin(self) -> tuple[str, int] | None:
        """The identity and the generation; None if something else was put there."""
        said = self.memory[ORIGIN]
        if not any(said):
            return "", 0
        identity, generation, check = _ORIGIN.unpack(said)
        sound = any(identity) and generation >= 0 and check == zlib.crc32(said[:24])
        return (identity.hex(), generation) if sound else None

    @property
    def damaged(self) -> bool:
        """Whether it tells of no ledger, and not that there is none."""
        return self._origin() is None

    @property
    def ledger(self) -> str:
        """The ledger's identity; "" if it was given none yet, or that is damaged."""
        return (self._origin() or ("", 0))[0]

    @property
    def generation(self) -> int:
        """How often the ledger was written anew."""
        return (self._origin() or ("", 0))[1]

    def begin(self, origin: Origin) -> None:
        """Say which ledger this is, durably. The files of that generation are on the disk before."""
        said = _ORIGIN.pack(bytes.fromhex(origin.ledger), origin.generation, 0)
        # In one step: nobody dies in between.
        self.memory[ORIGIN] = said[:24] + _PID.pack(zlib.crc32(said[:24]))
        system.sync_memory(self.memory, self.fd)

    def give_up(self, origin: Origin) -> None:
        """Have those who share this lock see that the ledger goes on under another one."""
        self.begin(origin)
        # Nobody's own mark any more: not by the pid, which may be another's in another container.
        self.memory[WRITING] = YES

    @property
    def mark(self) -> Position:
        """Up to where lines were acknowledged."""
        segment, offset = _POSITION.unpack(self.memory[MARK])
        return segment, offset & _OFFSET_BITS

    def set_mark(self, position: Position) -> None:
        """Say up to where lines are acknowledged."""
        self.memory[MARK] = _POSITION.pack(*position)

    def writing(self) -> bool:
        """Whether somebody was writing a line and has not finished it."""
        return bool(self.memory[WRITING] & YES)

    @property
    def synced(self) -> Position:
        """Up to where the journal was on the disk when somebody last had it synced."""
        segment, offset = _POSITION.unpack(self.memory[_SYNCED])
        return segment, offset

    @synced.setter
    def synced(self, position: Position) -> None:
        self.memory[_SYNCED] = _POSITION.pack(*position)

    def of_this_boot(self) -> bool:
        """Whether the mark was left while the machine ran as it runs now, so that nothing behind it can be lost."""
        return any(_booted) and self.memory[_BOOT] == _booted

    def note_boot(self) -> None:
        """Say that the mark holds for as long as the machine runs."""
        if self.memory[_BOOT] != _booted:
            self.memory[_BOOT] = _booted


_booted = boot_id()
