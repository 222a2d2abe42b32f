"""Which program a process runs, and whether it still runs, told so that other processes and hosts understand it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from pathlib import Path, PurePath

import msgspec

from budgeted.ledger.journal.origin import boot_id
from budgeted.system import current as system

LONGEST = 200
"""Characters of a program's name that are kept and shown: the last ones, which tell it from others."""


class Program(msgspec.Struct, frozen=True):
    """A process, and the program that it runs.

    Args:
        name: the script's path; of what others start by a command of its own, such as uvicorn, the folder too.
        pid: the process.
        host: the name of its machine.
        boot: 32 hex digits of the time that the machine has been up; "" where it does not tell.
        space: in which processes are numbered: those of a container have numbers of their own.
        began: when the process began, in the machine's own count; 0 where it does not tell.

    Example:
        >>> this_program().name
        '/home/alice/nightly.py'
    """

    name: str
    pid: int
    host: str
    boot: str
    space: str
    began: int

    @property
    def title(self) -> str:
        """A short name: that of the script, or of the folder in which a command was given."""
        return PurePath(self.name).stem.strip()

    def is_process(self, other: Program) -> bool:
        """Whether the same process is meant, wherever it has gone since: its folder is a part of some names."""
        return msgspec.structs.replace(other, name=self.name) == self


def this_program() -> Program:
    """That of this process."""
    import socket  # not before a limit is declared: importing the package is to be quick

    boot = boot_id()
    return Program(
        name=_name(),
        pid=os.getpid(),
        host=socket.gethostname(),
        boot=boot.hex() if any(boot) else "",
        space=_space(),
        began=_state(os.getpid()) or 0,
    )


def is_running(program: Program) -> bool | None:
    """Whether a process still runs.

    Args:
        program: as that process told of itself.

    Returns:
        None where that cannot be told from here: it is on another machine, or in another container.

    Example:
        >>> is_running(this_program())
        True
    """
    here = this_program()
    if program.boot and (program.boot, program.space) == (here.boot, here.space):
        state = _state(program.pid)
        return system.is_process(program.pid) if state is None else state == program.began
    # A machine of this name that is up since another time is this one, before it was started anew.
    rebooted = program.host == here.host and program.boot and here.boot and program.boot != here.boot
    return False if rebooted else None


def is_there(pid: int) -> bool:
    """Whether a process of this machine has not ended: also where nobody has waited for it since, as in a container."""
    state = _state(pid)
    return system.is_process(pid) if state is None else state != -1


def _name() -> str:
    script = sys.argv[0] if sys.argv else ""
    if script in ("", "-", "-c", "-m"):
        name = f"{sys.executable or 'python'} in {_folder()}"
    else:
        path = os.path.abspath(script)  # noqa: PTH100 - a path that is there no more is as good
        name = f"{path} in {_folder()}" if _is_command(path) else path
    return name.encode("utf-8", "backslashreplace").decode()[-LONGEST:]


def _is_command(path: str) -> bool:
    """Whether a path is that of a command, which runs many programs: uvicorn, celery, a notebook's kernel."""
    library = os.path.dirname(os.__file__)  # noqa: PTH120
    parts = PurePath(path).parts
    return not path.endswith((".py", ".pyw", ".pyc")) or "site-packages" in parts or path.startswith(library + os.sep)


def _folder() -> str:
    try:
        return str(Path.cwd())
    except OSError:  # it was removed
        return "a folder that is gone"


def _space() -> str:
    with contextlib.suppress(OSError):
        space = os.readlink("/proc/self/ns/pid")  # noqa: PTH115
        return hashlib.blake2b(space.encode(), digest_size=8).hexdigest()
    return ""


def _state(pid: int) -> int | None:
    """When a process began, in ticks since the machine's start; -1 if it has ended, None where nothing tells."""
    try:
        # The name is in parentheses, and may hold anything.
        state, *rest = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
        return -1 if state in (b"Z", b"X") else int(rest[18])
    except (OSError, IndexError, ValueError):
        return None
