"""A ledger's directory as one of the processes has it open that share it: opening, catching up, and losing it.

What stands there may be gone, older, or another ledger's, at any time; it is refused then, and what was known is kept.
"""

from __future__ import annotations

import contextlib
import logging
import os
import struct
from pathlib import Path

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.interface import is_closed
from budgeted.ledger.journal import checked_lines, loading, segment_files, torn_ends, writing_back
from budgeted.ledger.journal.checked_lines import FORMAT, Header
from budgeted.ledger.journal.disk_errors import unavailable
from budgeted.ledger.journal.following import Follower, how_to_repair
from budgeted.ledger.journal.host_lock import ORIGIN, SIGNED, HostLock
from budgeted.ledger.journal.live_processes import Owners
from budgeted.ledger.journal.origin import Known, Origin, new_origin
from budgeted.ledger.memory.ledger import LOCK_SECONDS, MemoryLedger
from budgeted.system import current as system

logger = logging.getLogger("budgeted")

pack_mark = struct.Struct("<qqq").pack
"""A pid, a segment and an offset, as holders of the lock leave them."""


class SharedDirectory(MemoryLedger, Follower):
    """Balances that are read from a directory. A subclass writes to it.

    Args:
        directory: the ledger's own.
        synced_always: whether what is written is synced before it is acknowledged.
    """

    # For what was not made in full, and is thrown away.
    _host: HostLock | None = None
    _fd = -1

    def __init__(self, directory: str | os.PathLike[str], *, synced_always: bool) -> None:
        # Absolute: whoever changes the working directory goes on with the same ledger.
        self.directory = Path(os.path.abspath(directory))  # noqa: PTH100 - links are not to be followed
        self._owners = Owners(self.directory / "owners")
        self._origin = Origin()
        self._before: Known | None = None
        self._ahead: loading.Ahead | None = None
        self._refusal = ("", "")
        """Why the files are refused, if they are; and the same with what this process knows."""
        MemoryLedger.__init__(self, kept=True, synced_always=synced_always)

    # -- opening

    def _begin(self) -> None:
        super()._begin()
        # A forked child has to find what its parent knew, or more.
        if self._host is not None:
            self._before = self._last_known()
        self._start()
        self._pid = os.getpid()
        self._mark = b""
        self._about = b""
        self._unchanged = system.status_reader()
        self._detach()

    def _attach(self) -> HostLock:
        """Open the lock; the balances are read afterwards."""
        if self.closed:
            raise is_closed(str(self.directory))
        directory = self.directory
        try:
            segment_files.refuse_symlink(directory)
            if self._last_known() is None:
                directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                directory.mkdir(mode=0o700, exist_ok=True)
                segment_files.warn_of_writers(directory)
                segment_files.warn_of_network(directory)
                segment_files.refuse_other_files(directory)
                loading.refuse_without_lock(directory)
                host = HostLock(directory / "lock")
            else:
                host = self._standing_lock()
        except (FileExistsError, NotADirectoryError) as error:
            msg = f"the ledger needs a directory, and {directory} is (or runs through) a file; name another path"
            raise LedgerError(msg) from error
        except OSError as error:
            told = f"the ledger directory {directory} cannot be used{system.about_length(directory)}"
            raise unavailable(error, told) from error
        self._host = host
        return host

    def _standing_lock(self) -> HostLock:
        """The lock of a ledger that this process knew; nothing is made where it is gone."""
        try:
            return HostLock(self.directory / "lock", create=False)
        except (FileNotFoundError, NotADirectoryError) as error:
            msg = f"{self.directory / 'lock'} was removed while the ledger was in use. {how_to_repair(self.directory)}"
            raise LedgerCorruptError(msg) from error

    def _last_known(self) -> Known | None:
        """How far this process has read the ledger at least, or the one that it was forked from."""
        return self._known() or self._before

    def _detach(self) -> None:
        """Let go of everything open. A forked child must not share its parent's locks and file positions."""
        self._owners.forget()
        host, self._host = self._host, None
        if host is not None:
            host.close()
        self._close_segment()
        self._applied = -1

    # -- reading

    def _load(self, host: HostLock) -> None:
        """Read everything, from the newest intact snapshot on; what was known is kept where that is refused."""
        ahead, self._ahead = self._ahead, None
        found = loading.Loaded(self.directory, host, self._last_known(), ahead)
        with self._sync_lock:
            old = self._fd
            self._take_over(found)
        if old >= 0:
            os.close(old)
        self._settle_origin(host)
        self._finish_reading(host, os.fstat(self._fd).st_size)
        host.note_boot()
        self._about = host.memory[ORIGIN]
        self.turns.wake_all()
        self._announce()

    def _settle_origin(self, host: HostLock) -> None:
        """Have the lock tell which ledger it is."""
        if not self._origin.ledger:  # of a version that knew no identity: the next segment says which one it has now
            self._origin = Origin(host.ledger) if host.ledger else new_origin()
        origin = self._origin
        if (host.ledger, host.generation) != (origin.ledger, origin.generation):
            # Whoever made the files may have been killed before their names were on the disk.
            for folder in (self.directory, *self.directory.parents[:2]):
                system.sync_directory(folder)
            host.begin(origin)

    def _catch_up(self, host: HostLock) -> None:
        """Apply the lines that other processes appended."""
        if not self._read_on(host):
            self._load(self._same_lock(host))

    def _read_on(self, host: HostLock) -> bool:
        """Apply what follows, through all segments, and cut off what a dead process left unfinished.

        Returns:
            False if it goes on in a file that is not there, or this one has been removed.
        """
        before = self._state.applied
        size = self._follow()
        if size < 0:
            return False
        self._check_mark(host)
        self._finish_reading(host, size)
        if self._state.applied != before:
            self.turns.wake_all()
        return True

    def _finish_reading(self, host: HostLock, size: int) -> None:
        """Cut off what stands behind the last line, and say that all was seen up to there."""
        if self._offset < size:
            if not self._offset:
                checked_lines.check_beginning(system.read_at(self._fd, size, 0), self._segment, self._path)
            # Whoever wrote it had the lock that is ours now, so that nobody is still at it.
            normal = host.writing() or not host.of_this_boot()
            torn_ends.cut_off(self._fd, self._path, self._offset, size, normal=normal)
        if self._offset:
            self._set_mark(self._segment, self._offset)
        else:
            self._write(Header(FORMAT, self._segment, *self._origin))

    def _read_ahead(self) -> None:
        """Apply what others append while they have the lock: a line that is complete stays as it is."""
        if self._state.applied == self._applied and self._offset:
            self._applied = -1  # whatever stops it half way, between two files too: all is read again under the lock
            before = self._state.applied
            with contextlib.suppress(OSError, LedgerError):
                self._follow()
            if self._state.applied != before:
                self.turns.wake_all()

    # -- what has become of the files

    def _same_lock(self, host: HostLock) -> HostLock:
        """The lock that other processes take: this one's, or the one that stands in its place."""
        if host.in_place():
            if self._offset and not self._journal_in_place():
                self._applied = -1
            return host
        segment_files.refuse_symlink(self.directory)
        other = self._standing_lock()
        try:
            other.acquire(LOCK_SECONDS)
            self._go_over_to(other)
        except BaseException:
            if self._host is not other:
                other.close()
            raise
        logger.warning("budgeted: %s was replaced, by that of the same ledger; it is used from now on", other.path)
        return other

    def _go_over_to(self, other: HostLock) -> None:
        """Read the ledger under another lock, and keep that one if what is read goes on from what was known."""
        host = self._host
        self._host = other
        try:
            self._load(other)
        except BaseException:
            self._host = host
            raise
        if host is not None and host is not other:
            with self._sync_lock:
                host.close()

    def _told(self, error: LedgerCorruptError) -> str:
        """The text of a refusal, with what this process knows. Said once in the log, too."""
        if self._refusal[0] != str(error):
            knows = f". This process still knows {writing_back.in_words(self._state)}" if self._offset else ""
            self._refusal = str(error), f"{error}{knows}"
            if knows:
                logger.error("budgeted: %s", self._refusal[1])
        return self._refusal[1]

    def _journal_in_place(self) -> bool:
        """Whether the segment that is written stands where others find it."""
        return system.is_at(self._fd, self._path)

    def _announce(self) -> None:
        """Have this process announced, before its first hold, which would pass for a dead process's."""
        path = self._owners.directory / self.owner
        try:
            again = self._owners.announce(self.owner)
        except OSError as error:
            raise unavailable(error, f"{path}, which tells that this process is alive, cannot be made") from error
        if again:
            logger.error(
                "budgeted: %s was removed while in use, and is made again; other processes may have charged calls of "
                "this one meanwhile, which is put right as these end",
                path,
            )

    def _set_mark(self, segment: int, offset: int) -> None:
        self._host.memory[SIGNED] = self._mark = pack_mark(self._pid, segment, offset)  # type: ignore[union-attr]

    def _write(self, record: Header) -> None:
        """Append a line that changes no balance."""
        raise NotImplementedError
