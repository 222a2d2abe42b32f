"""The ledger on a host's disk: balances in each process's memory, and one journal that they all share.

A verb takes the host's lock, reads the lines that other processes appended, decides, appends one line, and gives the
lock back; only then is it acknowledged. Opening the ledger is the same catching up, from a snapshot. A process that
dies leaves its lock and, after its last line, at most half a line, which the next one cuts off.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import logging
import os
import struct
import threading
import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.interface import is_closed
from budgeted.ledger.journal import checked_lines, segment_files, snapshot_files
from budgeted.ledger.journal.checked_lines import FORMAT, Continued, Header
from budgeted.ledger.journal.disk_errors import unavailable
from budgeted.ledger.journal.host_lock import MARK, SIGNED, HostLock
from budgeted.ledger.journal.live_processes import Owners
from budgeted.ledger.journal.system_calls import try_lock, unlock, write
from budgeted.ledger.memory import fork_safety
from budgeted.ledger.memory.change_records import Record
from budgeted.ledger.memory.ledger import LOCK_SECONDS, MemoryLedger
from budgeted.ledger.memory.snapshot import Frozen

logger = logging.getLogger("budgeted")

ROTATE_LINES = 100_000
"""Lines after which a segment is folded into a snapshot."""

LONGEST_SAVING = 5.0
"""Seconds that a flush waits for a snapshot. Without it, the next opening reads a little more."""

WAITING_PERIOD = 0.1
"""Seconds between two looks at the journal while calls wait for holds of other processes."""

_mark = struct.Struct("<qqq").pack
_encode, _crc32, _line = checked_lines.encode, checked_lines.crc32, checked_lines.line


class JournalLedger(MemoryLedger):
    """A ledger in a directory, for all processes of one host.

    Args:
        directory: made with mode 0700 if it is not there. Network file systems are not supported: their locks and
            appends are not what they seem.
        fsync: ``"background"`` syncs twice a second (a power cut may lose that much, ``kill -9`` nothing);
            ``"always"`` syncs before every acknowledgement.

    Raises:
        LedgerError: the directory is a file, or holds something else.
        LedgerUnavailableError: it cannot be read, written or locked.
        LedgerCorruptError: a file in it is damaged.
    """

    shared = True

    def __init__(self, directory: str | os.PathLike[str], *, fsync: str = "background") -> None:
        self._host: HostLock | None = None
        self._fd = -1
        self._owners = Owners(Path(directory) / "owners")
        if fsync not in ("background", "always"):
            msg = f"fsync={fsync!r} is not known; write fsync='background' or fsync='always'"
            raise ValueError(msg)
        self.directory = Path(directory)
        super().__init__(kept=True, synced_always=fsync == "always")
        with self._entered():
            pass
        with contextlib.suppress(LedgerUnavailableError):  # a full disk can still be read from
            self.sweep()

    def __repr__(self) -> str:
        return f"JournalLedger({str(self.directory)!r})"

    def __del__(self) -> None:
        # No lock: a finaliser may run inside a verb of its thread, and nobody else has this ledger any more.
        self._detach()

    # -- opening

    def _begin(self) -> None:
        super()._begin()
        self._sync_lock = threading.Lock()
        self._dirty = False
        self._failed: OSError | None = None
        self._synced = (0, 0)
        # Where this process has read to, and what belongs to it: `_applied` is behind `State.applied`, or ahead of
        # it, if a change of the balances was interrupted.
        self._applied = -1
        self._saving: threading.Thread | None = None
        self._pid = os.getpid()
        self._mark = b""
        self._segment, self._offset, self._crc, self._lines = 0, 0, 0, 0
        self._rotate_at = ROTATE_LINES
        self._path = self.directory
        self._detach()

    def _attach(self) -> HostLock:
        """Open the lock and announce this process; the balances are read afterwards."""
        if self.closed:
            raise is_closed(str(self.directory))
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            segment_files.refuse_other_files(self.directory)
            host = HostLock(self.directory / "lock")
            try:
                # Announced before its first hold, which would pass for a dead process's.
                self._owners.register(self.owner)
            except BaseException:
                host.close()
                raise
        except (FileExistsError, NotADirectoryError) as error:
            msg = f"the ledger needs a directory, and {self.directory} is (or runs through) a file; name another path"
            raise LedgerError(msg) from error
        except OSError as error:
            raise unavailable(error, f"the ledger directory {self.directory} cannot be used") from error
        self._host = host
        return host

    def _detach(self) -> None:
        """Let go of everything open. A forked child must not share its parent's locks and file positions."""
        self._owners.forget()
        host, self._host = self._host, None
        if host is not None:
            host.close()
        # Forgotten before it is closed: right afterwards its number may be another file's.
        fd, self._fd = self._fd, -1
        if fd >= 0:
            os.close(fd)
        self._applied = -1

    # -- reading

    def _load(self) -> None:
        """Read everything, from the newest intact snapshot on."""
        directory = self.directory
        snapshots = segment_files.numbers(directory, "snapshot")
        journals = segment_files.numbers(directory, "journal")
        if not snapshots and not journals:
            segment_files.create(directory, 1)
            journals = [1]
        self._state, segment = snapshot_files.newest(directory, snapshots, journals)
        if segment not in journals:
            msg = f"{segment_files.journal_path(directory, segment)} is missing. Nothing was changed; restore it"
            raise LedgerCorruptError(msg)
        self._open_segment(segment)
        complete = self._read_on()
        behind = [n for n in {*journals, *snapshots} if n > self._segment]
        # A new segment that nothing leads to and that holds nothing is what a crash leaves.
        if not complete or [n for n in behind if n in snapshots or not segment_files.is_empty(directory, n)]:
            following = segment_files.journal_path(directory, max(behind, default=self._segment + 1)).name
            msg = (
                f"{self._path} ends without leading to {following}: "
                f"files are missing or cut off. Nothing was changed; restore them from a backup"
            )
            self._applied = -1
            raise LedgerCorruptError(msg)

    def _open_segment(self, segment: int) -> None:
        path = segment_files.journal_path(self.directory, segment)
        fd = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW)
        # Not while a thread syncs: it has the old file in hand.
        with self._sync_lock:
            old, self._fd, self._path = self._fd, fd, path
            self._segment, self._offset, self._crc, self._lines = segment, 0, 0, 0
            self._rotate_at = ROTATE_LINES
        if old >= 0:
            os.close(old)

    def _catch_up(self) -> None:
        """Apply the lines that other processes appended."""
        if not self._read_on():
            self._load()

    def _read_on(self) -> bool:
        """Apply what follows, through all segments, and cut off what a dead process left unfinished.

        Returns:
            False if it goes on in a file that is not there.
        """
        size = self._follow()
        if size < 0:
            return False
        if self._offset < size:
            if not self._offset:
                checked_lines.check_beginning(os.pread(self._fd, size, 0), self._segment, self._path)
            # Half a line: whoever wrote it had the lock that is ours now, so that nobody is still at it.
            os.ftruncate(self._fd, self._offset)
        if self._offset:
            self._set_mark(self._segment, self._offset)
        else:
            self._write(Header(FORMAT, self._segment))
        return True

    def _read_ahead(self) -> None:
        """Apply what others append while they have the lock: a line that is complete stays as it is."""
        if self._state.applied == self._applied and self._offset:
            self._applied = -1  # whatever stops it half way, between two files too: all is read again under the lock
            with contextlib.suppress(OSError, LedgerError):
                self._follow()

    def _follow(self) -> int:
        """Apply what follows, through all segments. Returns the last one's size, -1 if a file is missing or shorter."""
        state = self._state
        before = state.applied
        while True:
            size = os.fstat(self._fd).st_size
            # Shorter than what was read: it is not the file that it was.
            if size < self._offset:
                return -1
            following = self._read(size)
            if not following:
                break
            state.prune()
            if not segment_files.journal_path(self.directory, following).exists():
                return -1
            self._open_segment(following)
        self._applied = state.applied
        if state.applied != before:
            self.turns.wake_all()
        return size

    def _read(self, size: int) -> int:
        """Apply the lines of this segment up to its size. Returns the number of the next segment, or 0."""
        for data in checked_lines.pieces(self._fd, self._offset, size):
            found, crc, behind = checked_lines.read(data, self._crc, self._path, self._offset)
            following = found.pop() if found and found[-1].__class__ is Continued else None
            self._state.replay(found if self._offset else found[1:])
            self._lines += len(found)
            self._crc, self._offset = crc, behind
            if isinstance(following, Continued):
                return following.segment
        return 0

    # -- the critical section

    def _enter(self, timeout: float | None) -> None:
        host = self._host
        if host is None:
            host = self._attach()
        if not try_lock(host.fd):
            host.wait(LOCK_SECONDS if timeout is None else timeout, self._read_ahead)
        try:
            # The last holder's mark is nearly always our own.
            if host.memory[SIGNED] != self._mark or self._state.applied != self._applied or self._failed is not None:
                self._see(host)
        except BaseException as error:
            self._applied = -1
            host.release()
            if isinstance(error, OSError):
                raise unavailable(error, f"the ledger {self.directory} cannot be read") from error
            raise

    def _see(self, host: HostLock) -> None:
        """See what other processes have done, or what was left undone here."""
        host.sign()
        if self._state.applied != self._applied:
            self._load()
        elif host.memory[MARK] != self._mark[MARK]:
            self._catch_up()
        else:
            self._mark = host.memory[SIGNED]
        if self._failed is not None:
            self._start_over(self._failed)

    def _exit(self) -> None:
        try:
            if self._lines >= self._rotate_at and self._state.applied == self._applied:
                self._rotate_soon()
        finally:
            unlock(self._host.fd)  # type: ignore[union-attr] # it was there when the verb began

    def _locked(self, allowed: float) -> LedgerLockedError:
        holder = self._host.holder() if self._host else "?"
        return LedgerLockedError(f"{self.directory} was busy for {allowed:g} seconds; process {holder} has its lock")

    def _append(self, record: Record) -> None:
        payload = _encode(record)
        crc = _crc32(payload, self._crc)
        text = _line(payload, crc)
        end = self._offset + len(text)
        # The mark goes first: should we die between the two, others look, and find the line there or not.
        self._host.memory[SIGNED] = mark = _mark(self._pid, self._segment, end)  # type: ignore[union-attr]
        try:
            written = write(self._fd, text)
        except OSError as error:
            self._cut_back()
            raise unavailable(error, f"cannot write to {self._path}") from error
        if written != len(text):
            self._cut_back()
            raise unavailable(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), f"cannot write to {self._path}")
        # Nothing is called in between, so that an interruption finds the line counted in, or else reads it.
        self._mark, self._offset, self._crc, self._applied = mark, end, crc, self._applied + 1
        self._lines += 1
        # Once per round of the background, which would otherwise be woken by every line.
        if not self._dirty:
            self._dirty = True
            background_worker.wanted(self)

    def _write(self, record: Header) -> None:
        """Append a line that changes no balance."""
        self._append(record)
        # No record of a state, and _append() has counted it as one.
        self._applied -= 1

    def _cut_back(self) -> None:
        """Take back what was written of a line, now or, if that fails as well, at the next verb."""
        try:
            os.ftruncate(self._fd, self._offset)
        except OSError:
            self._set_mark(-1, -1)
            self._mark = b""
        else:
            self._set_mark(self._segment, self._offset)

    def _set_mark(self, segment: int, offset: int) -> None:
        self._host.memory[SIGNED] = self._mark = _mark(self._pid, segment, offset)  # type: ignore[union-attr]

    # -- rotation

    def _rotate_soon(self) -> None:
        """Go on in a new segment. Its snapshot is written without the lock: until it stands, the old one serves."""
        try:
            segment = self._rotate()
        except (OSError, LedgerError, msgspec.MsgspecError, OverflowError) as error:
            self._rotate_at = self._lines + ROTATE_LINES // 10
            logger.warning("budgeted: %s cannot go on in a new file yet: %s", self._path, error)
        else:
            frozen = self._state.freeze(self._lock)
            if frozen is not None:  # else the last one is still being written, and the next will do
                self._saving = _in_a_thread(lambda: self._save_snapshot(segment, frozen))

    def _rotate(self) -> int:
        """Go on in a new segment. Returns its number."""
        following = self._segment + 1
        segment_files.create(self.directory, following)
        # Not _write: until the next segment is read, `_applied` stays ahead. An interruption here has all read again.
        self._append(Continued(following))
        try:
            os.fdatasync(self._fd)
        except OSError as error:
            self._failed = error
        try:
            self._state.prune()
            self._open_segment(following)
            self._read_on()
        except BaseException:
            self._applied = -1  # nothing may follow the last line of a segment
            raise
        return following

    def _save_snapshot(self, segment: int, frozen: Frozen) -> None:
        try:
            try:
                snapshot_files.write_snapshot(self.directory, segment, frozen.pieces())
            finally:
                frozen.thaw()
            with self._entered():
                # The one before is kept, should this one be damaged.
                segment_files.drop_before(self.directory, segment - 1)
        except (OSError, LedgerError) as error:
            logger.warning("budgeted: no new snapshot in %s (%s); the last one serves on", self.directory, error)

    # -- durability

    def sync_always(self) -> None:
        """Sync what was acknowledged so far, and from now on before every acknowledgement.

        Raises:
            LedgerUnavailableError: the disk refuses.
        """
        if not self._synced_always:
            self._synced_always = True
            self.flush()

    def _sync_written(self) -> None:
        self._sync((self._segment, self._offset))

    def _sync(self, upto: tuple[int, int]) -> None:
        """Have everything up to a position on the disk. One sync serves all threads that wait for it."""
        with self._sync_lock:
            # What this thread waited for was the sync of another, and that covered this one's line.
            if upto <= self._synced or self._fd < 0:
                return
            # Read before the sync: what is appended meanwhile may not be on the disk afterwards.
            position = self._segment, self._offset
            try:
                if self._failed is None:
                    os.fdatasync(self._fd)
                    self._synced = position
            except OSError as error:
                self._failed = error
        if self._failed is not None:
            self._try_again()

    def _try_again(self) -> None:
        """Start over at once, by entering."""
        with self._lock:
            self._enter(None)
            self._exit()

    def _start_over(self, failed: OSError) -> None:
        """Go on in new files. What a failed sync left in the cache may be dropped and the next sync still succeed."""
        try:
            if self._lines > 1:
                self._rotate()
            snapshot_files.write_snapshot(self.directory, self._segment, (self._state.encode(),))
            segment_files.drop_before(self.directory, self._segment - 1)
        except OSError as error:
            raise unavailable(error, f"{self._path} cannot be synced, and no new file be written") from failed
        self._failed = None
        self._synced = self._segment, self._offset

    def idle(self) -> bool:
        """As in memory, and nobody is syncing."""
        return super().idle() and not self._sync_lock.locked()

    # -- upkeep

    def upkeep(self) -> float | None:
        """Sync what was written, look for holds that nobody ends and, where calls wait, for news from others."""
        self._watched = False
        if self.closed:
            return None
        if self._dirty:
            # Before the sync: a line that is appended meanwhile asks for the next one.
            self._dirty = False
            self._sync_written()
            self._look_for_files()
        if not self._state.holds and not self.turns.queues:
            return None
        self._watched = True
        self.sweep()
        return WAITING_PERIOD if self.turns.queues else background_worker.PERIOD

    def _look_for_files(self) -> None:
        """Notice that the directory was removed under a running process."""
        host = self._host
        if host is not None and host.replaced():
            logger.error("budgeted: %s was removed while in use; what it knew is lost", self.directory)
            with self._lock, self._sync_lock:
                self._detach()

    def renew(self, owner: str, seconds: float) -> None:
        """As in memory; all processes of the host believe it, also when this one has died."""
        try:
            self._owners.vouch(owner, time.time() + seconds)
        except OSError as error:
            raise unavailable(error, f"the ledger directory {self.directory} cannot be used") from error

    def _dead_owners(self) -> frozenset[str]:
        return self._owners.dead(self._holders() - {self.owner})

    def _bury(self, dead: frozenset[str]) -> None:
        if dead:
            self._owners.bury(self._holders())

    def _holders(self) -> set[str]:
        # A copy: it is asked without the lock, too.
        return {id.partition(".")[0] for id in list(self._state.holds)}

    def flush(self) -> None:
        """Make everything acknowledged so far durable.

        Raises:
            LedgerUnavailableError: the disk refuses.
        """
        background_worker.drain()
        self._dirty = False
        self._sync_written()
        saving = self._saving
        if saving is not None:
            # Not for ever: this may be a signal's handler, and the thread that it stopped have the lock.
            saving.join(LONGEST_SAVING)

    def close(self) -> None:
        """Flush, and give up the files. Holds still open are charged by the next process that looks."""
        if not self.closed:
            try:
                self.flush()
            finally:
                self.closed = True
                # Neither a verb nor a sync may be at the files that are closed here.
                with self._lock, self._sync_lock:
                    self._owners.withdraw()
                    self._detach()
                self.turns.wake_all()


def _in_a_thread(job: Callable[[], None]) -> threading.Thread | None:
    """Have something done that takes seconds, for which neither verbs nor the background's other work wait."""
    thread = threading.Thread(target=job, name="budgeted-snapshot", daemon=True)
    try:
        thread.start()
    except RuntimeError:  # the interpreter is going down; this is drained at exit
        background_worker.enqueue(job)
        return None
    return thread


def _at_exit() -> None:
    background_worker.drain()
    for ledger in fork_safety.ledgers.alive():
        if isinstance(ledger, JournalLedger):
            with contextlib.suppress(LedgerError):
                ledger.close()


atexit.register(_at_exit)
