"""The shim, built by the machine's C compiler; or the same in Python, around the functions that a ledger calls."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

MODES = ("count", "before", "half", "after", "error")

KINDS = {
    "o": "open",
    "w": "write",
    "s": "fsync",
    "m": "msync",
    "t": "ftruncate",
    "f": "flock",
    "r": "rename",
    "u": "unlink",
    "d": "mkdir",
}

MOST_CALLS = 65536


def build(folder: Path) -> Path | None:
    """The shim as a library, or None where there is no C compiler."""
    compiler = next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None)
    if compiler is None or sys.platform != "linux":
        return None
    library = folder / "shim.so"
    source = Path(__file__).with_name("shim.c")
    command = [compiler, "-shared", "-fPIC", "-O1", "-o", library, source, "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        msg = f"shim.c does not compile: {done.stderr}"
        raise RuntimeError(msg)
    return library


class Shim:
    """What a victim arms itself with."""

    def arm(self, directory: str, number: int, mode: str, error: int) -> None:
        """Strike at the call of this number on files below the directory."""
        raise NotImplementedError

    def calls(self) -> str:
        """The kinds of calls so far, a letter each."""
        raise NotImplementedError


class Preloaded(Shim):
    """The library, which was loaded before anything else."""

    def __init__(self) -> None:
        self._library = ctypes.CDLL(None)

    def arm(self, directory: str, number: int, mode: str, error: int) -> None:
        """As :class:`Shim`."""
        self._library.shim_arm(directory.encode(), ctypes.c_long(number), MODES.index(mode), error)

    def calls(self) -> str:
        """As :class:`Shim`."""
        buffer = ctypes.create_string_buffer(MOST_CALLS)
        count: int = self._library.shim_calls(buffer, ctypes.c_long(MOST_CALLS))
        return buffer.raw[:count].decode()


class Patched(Shim):
    """The functions of ``os`` and of the journal, in this process alone; it is a forked child's."""

    def arm(self, directory: str, number: int, mode: str, error: int) -> None:
        """As :class:`Shim`."""
        from budgeted.ledger.journal import ledger
        from budgeted.system import current as system

        self._at, self._mode, self._error = number, mode, error
        self._kinds = ""
        for name, kind in {
            "open": "o",
            "write": "w",
            "pwrite": "w",
            "fsync": "s",
            "fdatasync": "s",
            "ftruncate": "t",
            "rename": "r",
            "unlink": "u",
            "mkdir": "d",
        }.items():
            setattr(os, name, self._around(getattr(os, name), kind, directory))
        fcntl.flock = self._around(fcntl.flock, "f", directory)
        ledger.write = self._around(system.write, "w", directory)  # type: ignore[assignment]
        ledger.try_lock = self._around(system.try_lock, "f", directory)  # type: ignore[assignment]

    def calls(self) -> str:
        """As :class:`Shim`."""
        return self._kinds

    def _around(self, real: Callable[..., Any], kind: str, directory: str) -> Callable[..., Any]:
        def call(first: Any, *rest: Any, **more: Any) -> Any:
            if not _is_below(first, directory):
                return real(first, *rest, **more)
            number = len(self._kinds)
            self._kinds += kind
            if number != self._at or self._mode == "count":
                return real(first, *rest, **more)
            if self._mode == "error":
                raise OSError(self._error, os.strerror(self._error))
            if self._mode == "half" and kind == "w":
                real(first, rest[0][: len(rest[0]) // 2], *rest[1:])
            elif self._mode == "after":
                real(first, *rest, **more)
            os.kill(os.getpid(), signal.SIGKILL)
            return None

        return call


def _is_below(first: Any, directory: str) -> bool:
    if isinstance(first, int):
        try:
            return directory in str(Path(f"/proc/self/fd/{first}").readlink())
        except OSError:
            return True
    return directory in os.fsdecode(first)


def loaded() -> Shim:
    """The library where it was loaded, else its stand-in."""
    return Preloaded() if hasattr(ctypes.CDLL(None), "shim_arm") else Patched()


ERRORS = (errno.EIO, errno.ENOSPC, errno.EINTR)
"""What calls are made to answer."""
