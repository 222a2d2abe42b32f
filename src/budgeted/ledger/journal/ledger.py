"""The ledger on a host's disk: balances in each process's memory, and one journal that they all share.

A verb takes the host's lock, reads the lines that other processes appended, decides, appends one line, and gives the
lock back; only then is it acknowledged. Opening the ledger is the same catching up, from a snapshot. A process that
dies leaves its lock and, after its last line, at most half a line, which the next one cuts off. Files that are gone, or
less than what was acknowledged, are refused until they are repaired.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
from collections.abc import Callable

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.journal import checked_lines, loading, segment_files, snapshot_files, writing_back
from budgeted.ledger.journal.checked_lines import Continued, Header
from budgeted.ledger.journal.disk_errors import short_write, unavailable
from budgeted.ledger.journal.following import Follower
from budgeted.ledger.journal.host_lock import MARK, ORIGIN, PID, SIGNED, WRITING, YES, HostLock
from budgeted.ledger.journal.origin import Known, Origin, Position
from budgeted.ledger.journal.shared_directory import SharedDirectory, pack_mark
from budgeted.ledger.memory import fork_safety
from budgeted.ledger.memory.change_records import Record
from budgeted.ledger.memory.ledger import LOCK_SECONDS
from budgeted.ledger.memory.snapshot import Frozen
from budgeted.system.current import how_to_end, sync_content, try_lock, unlock, write

logger = logging.getLogger("budgeted")

ROTATE_LINES = 100_000
"""Lines after which a segment is folded into a snapshot."""

LONGEST_SAVING = 5.0
"""Seconds that a flush waits for a snapshot. Without it, the next opening reads a little more."""

WAITING_PERIOD = 0.1
"""Seconds between two looks at the journal while calls wait for holds of other processes."""

_mark = pack_mark
_encode, _crc32 = checked_lines.encode, checked_lines.crc32


class JournalLedger(SharedDirectory):
    """A ledger in a directory, for all processes of one host.

    Args:
        directory: made with mode 0700 if it is not there. Network file systems are not supported: their locks and
            appends are not what they seem.
        fsync: ``"background"`` syncs twice a second (a power cut may lose that much, ``kill -9`` nothing);
            ``"always"`` syncs before every acknowledgement.

    Raises:
        LedgerError: the directory is a file or a symbolic link, or holds something else.
        LedgerUnavailableError: it cannot be read, written or locked.
        LedgerCorruptError: a file in it is damaged or missing, or less than what was acknowledged.
    """

    shared = True

    def __init__(self, directory: str | os.PathLike[str], *, fsync: str = "background") -> None:
        if fsync not in ("background", "always"):
            msg = f"fsync={fsync!r} is not known; write fsync='background' or fsync='always'"
            raise ValueError(msg)
        self.place = os.path.realpath(directory)
        super().__init__(directory, synced_always=fsync == "always")
        self._ahead = loading.read_ahead(self.directory)
        with self._entered():
            pass
        with contextlib.suppress(LedgerUnavailableError):  # a full disk can still be read from
            self.sweep()

    def __repr__(self) -> str:
        return f"JournalLedger({str(self.directory)!r})"

    def __del__(self) -> None:
        # No lock: a finaliser may run inside a verb of its thread, and nobody else has this ledger any more.
        if self._host is not None or self._fd >= 0:
            self._detach()

    # -- opening

    def _begin(self) -> None:
        self._dirty = False
        self._synced = (0, 0)
        self._saving: threading.Thread | None = None
        self._rotate_at = ROTATE_LINES
        super()._begin()

    def _open_segment(self, segment: int) -> None:
        # Of the new one nothing is known yet.
        self._before = self._last_known()
        super()._open_segment(segment)
        self._rotate_at = ROTATE_LINES

    def _take_over(self, other: Follower) -> None:
        super()._take_over(other)
        self._rotate_at = ROTATE_LINES

    # -- the critical section

    def _enter(self, timeout: float | None, *, closely: bool = True) -> None:
        host = self._host
        if host is None:
            host = self._attach()
        if not try_lock(host.fd):
            host.wait(LOCK_SECONDS if timeout is None else timeout, self._read_ahead)
        try:
            # The last holder's mark is nearly always our own.
            if (
                host.memory[SIGNED] != self._mark
                or self._state.applied != self._applied
                or self._failed is not None
                or (closely and not self._unchanged(self._fd, self._offset))
            ):
                self._see(host)
        except BaseException as error:
            self._applied = -1
            if self._host is not None:
                self._host.release()
            if isinstance(error, OSError):
                raise unavailable(error, f"the ledger {self.directory} cannot be read") from error
            if isinstance(error, LedgerCorruptError):
                self._mark = b""
                raise LedgerCorruptError(self._told(error)) from error
            raise

    def _see(self, host: HostLock) -> None:
        """See what other processes have done, what was left undone here, or what has become of the files."""
        # Where nobody has left a mark, something else is the matter.
        if host.memory[SIGNED] == self._mark or not self._mark or host.memory[ORIGIN] != self._about:
            host = self._same_lock(host)
        last = host.memory[PID]
        host.sign()
        try:
            if self._state.applied != self._applied or host.memory[ORIGIN] != self._about:
                self._load(host)
            elif host.memory[MARK] == self._mark[MARK] and self._unchanged(self._fd, self._offset):
                self._mark = host.memory[SIGNED]
            else:
                self._catch_up(host)
        except LedgerCorruptError:
            host.memory[PID] = last  # who left the mark knows more, and is asked to repair
            raise
        self._refusal = ("", "")
        if self._failed is not None:
            self._start_over(self._failed)

    def _exit(self) -> None:
        try:
            if self._lines >= self._rotate_at and self._state.applied == self._applied:
                self._rotate_soon()
        finally:
            unlock(self._host.fd)  # type: ignore[union-attr] # it was there when the verb began

    def _let_in(self) -> None:
        if self._host is not None:
            unlock(self._host.fd)  # which takes nothing from another process that has it

    def _locked(self, allowed: float) -> LedgerLockedError:
        holder = self._host.holder() if self._host else 0
        text = f"{self.directory} was busy for {allowed:g} seconds; process {holder or '?'} has its lock"
        if holder in (0, os.getpid()):
            return LedgerLockedError(text)
        # Another thread of this process waits for that one.
        return LedgerLockedError(f"{text}; if that process hangs or is stopped, {how_to_end(holder)}")

    def _append(self, record: Record) -> None:
        payload = _encode(record)
        crc = _crc32(payload, self._crc)
        text = b"%08x %b\n" % (crc, payload)  # a line, as checked_lines reads it
        end = self._offset + len(text)
        memory = self._host.memory  # type: ignore[union-attr] # it was there when the verb began
        # Said first: should we die before the mark is set, others look, and find the line there, half of it, or not.
        memory[WRITING] = YES
        try:
            written = write(self._fd, text)
        except OSError as error:
            self._cut_back()
            raise unavailable(error, f"cannot write to {self._path}") from error
        if written != len(text):
            self._cut_back()
            raise unavailable(short_write(end), f"cannot write to {self._path}")
        memory[SIGNED] = mark = _mark(self._pid, self._segment, end)
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
            self._mark = b""  # that a line is being written is still said
        else:
            self._set_mark(self._segment, self._offset)

    # -- rotation

    def _rotate_soon(self) -> None:
        """Go on in a new segment. Its snapshot is written without the lock: until it stands, the old one serves."""
        try:
            segment = self._rotate()
        except (OSError, LedgerError, msgspec.MsgspecError, OverflowError) as error:
            self._rotate_at = self._lines + ROTATE_LINES // 10
            logger.warning("budgeted: %s cannot go on in a new file yet: %s", self._path, error)
        else:
            frozen, origin = self._state.freeze(self._lock), self._origin
            if frozen is not None:  # else the last one is still being written, and the next will do
                before = self._saving
                self._saving = _in_a_thread(lambda: self._save_snapshot(segment, frozen, origin, before))

    def _rotate(self) -> int:
        """Go on in a new segment. Returns its number."""
        following = self._segment + 1
        segment_files.create(self.directory, following, self._origin)
        # Not _write: until the next segment is read, `_applied` stays ahead. An interruption here has all read again.
        self._append(Continued(following))
        try:
            sync_content(self._fd)
        except OSError as error:
            self._failed = error
        try:
            self._state.prune()
            self._open_segment(following)
            if not self._read_on(self._host):  # type: ignore[arg-type] # it was there when the verb began
                self._load(self._host)  # type: ignore[arg-type] # which says what is missing
        except BaseException:
            self._applied = -1  # nothing may follow the last line of a segment
            raise
        return following

    def _save_snapshot(self, segment: int, frozen: Frozen, origin: Origin, before: threading.Thread | None) -> None:
        if before is not None:
            before.join()  # whoever waits for this one waits for that one, too
        try:
            try:
                snapshot_files.write_snapshot(self.directory, segment, frozen.pieces(), origin)
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
                    sync_content(self._fd)
                    self._note_synced(position)
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
            snapshot_files.write_snapshot(self.directory, self._segment, (self._state.encode(),), self._origin)
            segment_files.drop_before(self.directory, self._segment - 1)
        except OSError as error:
            raise unavailable(error, f"{self._path} cannot be synced, and no new file be written") from failed
        self._failed = None
        self._note_synced((self._segment, self._offset))

    def _note_synced(self, position: Position) -> None:
        self._synced = position
        if self._host is not None:
            self._host.synced = position

    def idle(self) -> bool:
        """As in memory, and nobody is syncing."""
        return super().idle() and not self._sync_lock.locked()

    # -- upkeep

    def upkeep(self) -> float | None:
        """Sync what was written, look for holds that nobody ends and, where calls wait, for news from others."""
        self._watched = False
        if self.closed:
            return None
        dirty = self._dirty
        if dirty:
            # Before the sync: a line that is appended meanwhile asks for the next one.
            self._dirty = False
            self._sync_written()
        if not dirty and not self._state.holds and not self.turns.queues:
            return None
        self._watched = True
        try:
            self._look_at_files()
            self.sweep()
        except LedgerCorruptError:
            self.turns.wake_all()  # told when it was first refused
        return WAITING_PERIOD if self.turns.queues else background_worker.PERIOD

    def _look_at_files(self) -> None:
        """Notice that files were removed or replaced under a running process."""
        host = self._host
        if host is None:
            return
        if not host.in_place() or not self._journal_in_place():
            self._mark = b""  # looked into under the lock: a rotation may be under way
        if not self._mark or not self._owners.in_place():
            with self._entered():
                self._announce()

    def renew(self, owner: str, seconds: float) -> None:
        """As in memory; all processes of the host believe it, also when this one has died."""
        try:
            self._owners.vouch(owner, time.time() + seconds)
        except OSError as error:
            raise unavailable(error, f"the ledger directory {self.directory} cannot be used") from error

    def _dead_owners(self) -> frozenset[str]:
        holders = self._holders() - {self.owner}
        missing = self._owners.missing(holders)
        if missing:
            logger.error(
                "budgeted: files of %s are missing in %s; whether these processes live cannot be told, and their calls "
                "are charged when they are unheard of for %g seconds",
                ", ".join(sorted(missing)),
                self._owners.directory,
                self.hold_timeout,
            )
        return self._owners.dead(holders)

    def _bury(self, dead: frozenset[str]) -> None:
        if dead:
            self._owners.bury(self._holders())

    def _holders(self) -> set[str]:
        # A copy: it is asked without the lock, too.
        return {id.partition(".")[0] for id in list(self._state.holds)}

    def repair(self) -> int:
        """Write back what this process knows, after its files were lost or damaged; calls go on afterwards.

        A new generation of the ledger begins. Other processes that have it open go on with that, if it has all that
        they know; one that knows more refuses, and says so.

        Returns:
            How many accounts, calls in flight and uncertain charges were written back; 0 if nothing was wrong.

        Raises:
            LedgerCorruptError: another ledger stands there, or another process knows more and is to repair it.
            LedgerUnavailableError: the disk refuses.
        """
        if self._lock.locked():
            self._line_up(None)
        with self._lock:
            self._mark = b""  # look at all files
            try:
                self._enter(None)
            except LedgerCorruptError:
                put = self._write_back()
            else:
                self._exit()
                return 0
        self.turns.wake_all()
        return put

    def _write_back(self) -> int:
        shared = self._host
        if shared is None or not self._offset:
            raise LedgerCorruptError(self._refusal[1])
        if not try_lock(shared.fd):
            shared.wait(LOCK_SECONDS)
        host = None
        try:
            self._read_rest()
            known = Known(self._origin, self._segment, self._offset, self._crc)
            host = writing_back.write_back(self.directory, shared, self._state, known, self._fd)
            self._go_over_to(host)
        except OSError as error:
            raise unavailable(error, f"{self.directory} cannot be written back") from error
        finally:
            if host is not None and self._host is not host:
                host.close()
            if self._host is not None:
                self._host.release()
        self._refusal = ("", "")
        return writing_back.count(self._state)

    def _read_rest(self) -> None:
        """Read what others have written to the file since, though it may have no name any more."""
        with contextlib.suppress(LedgerError):
            size = os.fstat(self._fd).st_size
            if size > self._offset:
                self._read(size)

    def flush(self) -> None:
        """Make everything acknowledged so far durable.

        Raises:
            LedgerUnavailableError: the disk refuses.
        """
        background_worker.drain()
        self._dirty = False
        self._sync_written()
        # Not for ever: this may be a signal's handler, and the thread that it stopped have the lock.
        until = time.monotonic() + LONGEST_SAVING
        while (saving := self._saving) is not None and saving.is_alive() and time.monotonic() < until:
            saving.join(until - time.monotonic())  # and the next one, which it may have begun itself

    def close(self) -> None:
        """Flush, and give up the files. Holds still open are charged by the next process that looks."""
        if not self.closed:
            with contextlib.suppress(LedgerError):
                self._look_at_files()
            try:
                self.flush()
            finally:
                self.closed = True
                # Neither a verb nor a sync may be at the files that are closed here.
                with self._lock, self._sync_lock:
                    if self._refusal[0]:
                        logger.error("budgeted: closed without repair, so that this is lost: %s", self._refusal[1])
                    mine = f"{self.owner}."
                    self._owners.withdraw(holds=any(id.startswith(mine) for id in self._state.holds))
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
    for ledger in fork_safety.ledgers.alive():
        if isinstance(ledger, JournalLedger):
            with contextlib.suppress(LedgerError):
                ledger.close()


background_worker.close_at_exit(_at_exit)
