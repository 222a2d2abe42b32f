"""What who calls a ledger is told when its disk refuses."""

from __future__ import annotations

import errno

from budgeted.errors import LedgerUnavailableError


def unavailable(error: OSError, what: str) -> LedgerUnavailableError:
    """The error for ``what`` could not be done, with the system's reason and, on a full disk, what to do about it."""
    reason = error.strerror or str(error)
    hint = "; free some space, or name another directory" if error.errno in (errno.ENOSPC, errno.EDQUOT) else ""
    return LedgerUnavailableError(f"{what}: {reason}{hint}. Nothing was recorded")
