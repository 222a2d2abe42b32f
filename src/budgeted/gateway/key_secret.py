"""The secret that keys are signed with: ``BUDGETED_SECRET``, else one of this machine's own, in a file of its user.

Several gateways take each other's keys where they have the same one.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from budgeted.errors import LedgerError
from budgeted.ledger import default_place
from budgeted.system import current as system

VARIABLE: Final = "BUDGETED_SECRET"

FILE: Final = "gateway.secret"
"""Its file, in the directory for ledgers that nobody has named a place for, where no project's folder has a dot."""

_SHORT: Final = 16
"""Characters: whoever has a key may try out all secrets that have fewer."""

_LONGEST: Final = 4_096
_LEAST: Final = 32
"""Characters of a secret in a file; the one that is made has twice as many."""


class SecretError(ValueError):
    """There is a secret, and it must not be used, or cannot be read."""


def path() -> Path:
    """Where the file is, or would be.

    Raises:
        SecretError: this user has no directory for it.
    """
    try:
        return default_place.default_directory() / FILE
    except LedgerError as error:
        msg = f"there is no place for the secret of keys; set {VARIABLE}. {error}"
        raise SecretError(msg) from error


def find(environment: Mapping[str, str]) -> bytes | None:
    """The secret; None if there is none as yet.

    Args:
        environment: such as ``os.environ``.

    Raises:
        SecretError: others may read its file, or it has none in it. The text does not show it.
    """
    if stated := environment.get(VARIABLE, "").strip():
        return stated.encode(errors="surrogateescape")
    return _of_file(path())


def weakness(secret: bytes) -> str:
    """What is wrong with a secret that can be used all the same; "" if nothing is."""
    if len(secret) >= _SHORT:
        return ""
    return (
        f"{VARIABLE} has {len(secret)} characters: whoever holds a key may find it out by trying, and make keys for "
        f"any user; set one of {_LEAST} or more"
    )


def find_or_make(environment: Mapping[str, str]) -> tuple[bytes, Path | None]:
    """The secret, which is made where there is none.

    Args:
        environment: such as ``os.environ``.

    Returns:
        The secret, and the file if it was made just now.

    Raises:
        SecretError: as :func:`find`, or its file cannot be written.
    """
    if (found := find(environment)) is not None:
        return found, None
    place = path()
    try:
        made = _make(place)
    except OSError as error:
        msg = f"the secret of keys cannot be kept in {place}: {error.strerror}; set {VARIABLE}, or BUDGETED_HOME"
        raise SecretError(msg) from error
    if (found := _of_file(place)) is None:
        msg = f"{place} was removed as it was made; try again"
        raise SecretError(msg)
    return found, place if made else None


def _make(place: Path) -> bool:
    """Make the file, unless it is there by then. Returns whether it was made."""
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    new = place.with_name(f"{FILE}.{secrets.token_hex(4)}.new")
    try:
        handle = system.open_file(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        with open(handle, "wb") as file:  # noqa: PTH123 - of a descriptor
            file.write(f"{secrets.token_hex(_LEAST)}\n".encode())
            file.flush()
            system.sync(handle)
        # Under its name it is whole at once, and of two processes that make one, the first one's stays.
        system.move_if_new(new, place)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(OSError):
            new.unlink(missing_ok=True)
    system.sync_directory(place.parent)
    return True


def _of_file(place: Path) -> bytes | None:
    """The secret that a file has; None if there is no such file."""
    try:
        if not stat.S_ISREG(place.lstat().st_mode):
            msg = f"{place} should be a file with the secret of keys, and is a link or something else; remove it"
            raise SecretError(msg)
        with open(system.open_file(place, os.O_RDONLY), "rb") as file:  # noqa: PTH123 - as above
            if system.others_may_read(file.fileno()):
                msg = (
                    f"others may read {place}, and could make keys for any user: replace it if they have, or else take "
                    f"that from them with `chmod 600 {place}`"
                )
                raise SecretError(msg)
            secret = file.read(_LONGEST).strip()
    except FileNotFoundError:
        return None
    except OSError as error:
        msg = f"the secret of keys in {place} cannot be read: {error.strerror}; set {VARIABLE}, or remove what is there"
        raise SecretError(msg) from error
    if len(secret) < _LEAST:
        msg = f"{place} holds no whole secret; remove it, and have new keys made, or set {VARIABLE}"
        raise SecretError(msg)
    return secret
