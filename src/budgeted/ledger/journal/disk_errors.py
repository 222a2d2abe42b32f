"""What who calls a ledger is told when its disk refuses."""

from __future__ import annotations

import errno
import os

from budgeted.errors import LedgerUnavailableError
from budgeted.system import current as system

_ELSEWHERE = "name a directory that this user may write to, with ledger= or BUDGETED_HOME"
_LOCAL = "its file system lacks what processes need to share a ledger; name a directory on a local disk"

_HINTS = {
    errno.EACCES: _ELSEWHERE,
    errno.EPERM: _ELSEWHERE,
    errno.EROFS: _ELSEWHERE,
    errno.ENODEV: _LOCAL,
    errno.ENOLCK: _LOCAL,
    errno.ENOTSUP: _LOCAL,
    errno.ENOSPC: "free some space, or name another directory",
    errno.EDQUOT: "free some space, or name another directory",
    errno.EFBIG: (
        "no file of this process may grow beyond its limit RLIMIT_FSIZE (see ulimit -f), or its file system's; raise it"
    ),
}


def short_write(end: int) -> OSError:
    """Why only a part was written of what would have ended at a file's offset: the system has not said."""
    most = system.largest_file()
    number = errno.EFBIG if most is not None and most < end else errno.ENOSPC
    return OSError(number, os.strerror(number))


def unavailable(error: OSError, what: str) -> LedgerUnavailableError:
    """The error for ``what`` could not be done, with the system's reason and, where that is known, what to do."""
    reason = error.strerror or str(error)
    hint = f"; {_HINTS[error.errno]}" if error.errno in _HINTS else ""
    return LedgerUnavailableError(f"{what}: {reason}{hint}. Nothing was recorded")
