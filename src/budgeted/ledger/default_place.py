"""Where ledgers are kept that nobody has named a place for; and what is told of a place that does not last."""

from __future__ import annotations

import logging
import os
import tempfile
from pathlib import Path
from typing import Final

from budgeted.errors import LedgerError
from budgeted.ledger.mounted_file_systems import IN_MEMORY, OF_A_CONTAINER, kind_of_file_system
from budgeted.ledger.urls import path_of
from budgeted.validation import shown

logger = logging.getLogger("budgeted")

VARIABLE: Final = "BUDGETED_HOME"

_SET: Final = f"set {VARIABLE} to a directory that outlives this program and its container, such as a mounted volume"

OR_NAME: Final = ", or write ledger='/path'"
"""What else helps where a ledger is wanted."""

_TEMPORARY = ("/tmp", "/var/tmp")  # noqa: S108 # nosec B108 - they are only compared with
_told: set[Path] = set()


def default_directory() -> Path:
    """The directory: what ``BUDGETED_HOME`` names, else the user's state directory.

    Raises:
        LedgerError: this user has no home. The text says what to set instead.
    """
    home = os.environ.get(VARIABLE)
    if home:
        return path_of(home)
    import platformdirs

    try:
        place = Path(platformdirs.user_state_dir("budgeted", appauthor=False))
    except RuntimeError:
        raise _homeless() from None
    if not place.is_absolute():  # as older versions have it: a folder called "~" below the working directory
        raise _homeless()
    return place


def _homeless() -> LedgerError:
    home = os.environ.get("HOME")
    why = "HOME is not set" if home is None else f"HOME={shown(home)} is no absolute path"
    who = f"the user {os.getuid()} has no home" if hasattr(os, "getuid") else "the user has no home"
    return LedgerError(f"there is no place where anything would last: {why}, and {who}; {_SET}")


def tell_if_lost(place: Path) -> None:
    """Say once where ledgers are kept, if nobody has named the place and it does not last.

    Args:
        place: the directory, without symbolic links.
    """
    if os.environ.get(VARIABLE) or place in _told:
        return
    kind = kind_of_file_system(place)
    if kind in OF_A_CONTAINER:
        why = f"on this container's own file system ({kind}), and goes with it"
    elif kind in IN_MEMORY:
        why = f"in memory ({kind}), and goes with this container or machine"
    elif any(place.is_relative_to(os.path.realpath(folder)) for folder in (*_TEMPORARY, tempfile.gettempdir())):
        why = "among temporary files, which are removed some time"
    else:
        return
    _told.add(place)
    logger.warning("budgeted: the ledger is kept in %s, %s; %s%s", place, why, _SET, OR_NAME)
