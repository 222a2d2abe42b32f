"""How the file of an SQLite ledger is told from one that was put in its place: what it was opened as, and a trace.

The trace is a small file beside it, with the ledger's identity and how often it had been opened. Who opens a ledger
whose file has vanished, or an older copy of it, finds the trace, and refuses to begin anew.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path
from urllib.parse import quote

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.system import current as system


class Trace(msgspec.Struct, frozen=True):
    """What a ledger's trace says: its identity, and how often it had been opened when that was written."""

    identity: str
    opened: int


def trace_path(file: Path, prefix: str) -> Path:
    """The trace of the tables of a prefix in a file."""
    return file.with_name(f"{file.name}.{quote(prefix, safe='')}identity")


def read_trace(path: Path) -> Trace | None:
    """What a trace says; None where there is none.

    Raises:
        LedgerCorruptError: it cannot be read as one.
    """
    try:
        return msgspec.json.decode(path.read_bytes(), type=Trace)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError) as error:
        msg = f"{path} tells which ledger is beside it, and cannot be read ({error}); remove it if the ledger is right"
        raise LedgerCorruptError(msg) from error


def write_trace(path: Path, trace: Trace) -> None:
    """Write a trace, whole or not at all, for nobody else to read.

    Raises:
        LedgerError: it cannot be written.
    """
    new = path.with_name(f"{path.name}.{secrets.token_hex(4)}.new")
    try:
        handle = system.open_file(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with open(handle, "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(msgspec.json.encode(trace))
        system.replace(new, path)
    except OSError as error:
        with contextlib.suppress(OSError):
            new.unlink()
        msg = f"the file {path} cannot be written: {error.strerror}"
        raise LedgerError(msg) from error


def check_trace(path: Path, known: Trace | None, found: Trace | None) -> None:
    """Refuse a file that is not the one that a trace tells of.

    Args:
        path: of the trace.
        known: what the trace says.
        found: what the file says; None for one without tables.

    Raises:
        LedgerCorruptError: it is gone, another one, or an older copy.
    """
    if known is None:
        return
    if found is None:
        raise _refusal(path, "is gone, or was emptied")
    if found.identity != known.identity:
        raise _refusal(path, "is another one than was there before")
    if found.opened < known.opened:
        what = f"is an older copy: it was opened {found.opened} times, and the ledger {known.opened} times"
        raise _refusal(path, what)


def check_rest(file: Path, prefix: str) -> None:
    """Refuse to make a file where what is left beside it tells that there was one.

    Raises:
        LedgerCorruptError: there was.
    """
    trace = trace_path(file, prefix)
    check_trace(trace, read_trace(trace), None)
    log = file.with_name(f"{file.name}-wal")
    with contextlib.suppress(OSError):
        if log.stat().st_size:
            raise _refusal(log, "is gone")


def _refusal(left: Path, what: str) -> LedgerCorruptError:
    file = str(left).removesuffix("-wal") if left.name.endswith("-wal") else str(left).rpartition(".")[0]
    return LedgerCorruptError(
        f"the ledger's file {file} {what}, as {left.name} beside it tells. Put the right one back; or, to go on "
        f"without the limits and the spend that it had, remove {left}"
    )


class OpenedFile:
    """The file that was opened, as the system knows it: any other file of the same name is not the ledger."""

    def __init__(self, path: Path) -> None:
        self.path = path
        found = os.stat(path)  # noqa: PTH116 - as below
        self._device, self._inode, self._size = found.st_dev, found.st_ino, found.st_size
        self._log, self._log_inode = f"{path}-wal", 0
        self._log_problem: str | None = None  # kept: another connection would make a log that others do not have

    def problem(self) -> str | None:
        """What has become of it; None if it is in its place. Costs two system calls."""
        try:
            found = os.stat(self.path)  # noqa: PTH116 - at each verb: through Path it takes longer
        except FileNotFoundError:
            return f"the file {self.path} was removed"
        except OSError as error:
            return f"the file {self.path} cannot be looked at ({error.strerror})"
        if found.st_ino != self._inode or found.st_dev != self._device:
            return f"another file was put in the place of {self.path}"
        if found.st_size < self._size:
            return f"the file {self.path} was cut off, from {self._size} to {found.st_size} bytes"
        self._size = found.st_size
        if self._log_inode and _inode(self._log) != self._log_inode:
            self._log_problem = f"the log {self._log} of the file was removed or replaced"
        return self._log_problem

    def let_go(self) -> None:
        """The connection was closed: if it was the last one, its log is gone, and the next one makes another."""
        self._log_inode = 0

    def used(self) -> None:
        """The connection was used: it has its log open, which SQLite leaves there as long as anybody has."""
        if not self._log_inode:
            self._log_inode = _inode(self._log)


def _inode(path: str) -> int:
    try:
        return os.stat(path).st_ino  # noqa: PTH116 - as above
    except OSError:
        return 0
