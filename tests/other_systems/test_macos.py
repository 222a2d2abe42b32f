"""What macOS does differently, on a Linux that says that it is one, and whose disk is asked as there."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="it has fcntl")

BECOME_MACOS = """
    import contextlib, ctypes, fcntl, os, sys, sysconfig, time, types
    import asyncio, multiprocessing.popen_fork, platformdirs, selectors, sqlalchemy, subprocess, zoneinfo
    sysconfig.get_config_vars()
    for name in ("fdatasync", "sched_getaffinity"):
        vars(os).pop(name, None)
    vars(time).pop("CLOCK_BOOTTIME", None)
    library = ctypes.CDLL
    ctypes.CDLL = lambda name: types.SimpleNamespace(sysctlbyname=lambda *given: 1)
    real, thorough, shallow = fcntl.fcntl, [], []
    fcntl.F_FULLFSYNC = 51
    fcntl.fcntl = lambda fd, what, *more: thorough.append(fd) if what == 51 else real(fd, what, *more)
    os.fsync = shallow.append
    sys.platform = "darwin"
"""


def printed(code: str, home: Path, *arguments: str) -> list[str]:
    """What a program prints there, line by line."""
    command = [sys.executable, "-c", textwrap.dedent(BECOME_MACOS) + textwrap.dedent(code), *arguments]
    environment = {**os.environ, "BUDGETED_HOME": str(home)}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_what_is_acknowledged_is_on_the_disk_itself(tmp_path: Path) -> None:
    """There, fsync leaves it in the disk's own memory, which a power cut empties."""
    code = """
        from budgeted import BudgetManager
        with BudgetManager("p", max_budget=5, ledger=sys.argv[1], fsync="always") as manager:
            before = len(thorough)
            with manager.hold(cost=1) as held:
                after_hold = len(thorough)
                held.settle(cost=1)
            print(after_hold > before, len(thorough) > after_hold, shallow)
        with BudgetManager("p", ledger=sys.argv[1]) as manager:
            print(manager.balance(None).spent)
    """
    assert printed(code, tmp_path, str(tmp_path / "a")) == ["True True []", "1.0"]


@pytest.mark.parametrize(("fsync", "full"), [("always", 1), ("background", 0)])
def test_sqlite_is_asked_for_the_same(fsync: str, full: int, tmp_path: Path) -> None:
    code = """
        from sqlalchemy import event
        from sqlalchemy.pool import Pool
        from budgeted import BudgetManager
        found = []
        @event.listens_for(Pool, "checkout")
        def look(connection, *_):
            found[:] = connection.execute("PRAGMA fullfsync").fetchall()
        with BudgetManager("p", max_budget=5, ledger=f"sqlite:///{sys.argv[1]}", fsync=sys.argv[2]) as manager:
            with manager.hold(cost=1) as held:
                held.settle(cost=1)
        print(found)
    """
    assert printed(code, tmp_path, str(tmp_path / "a.db"), fsync) == [f"[({full},)]"]


def test_projects_do_not_share_a_folder_for_their_letters(tmp_path: Path) -> None:
    """A folder that an earlier version has made keeps its name, and so what was spent."""
    code = """
        import os
        from budgeted import BudgetManager
        for name in ("app", "App", "Old"):
            with BudgetManager(name, max_budget=1, ledger=sys.argv[1]) as manager:
                with manager.hold(cost=1) as held:
                    held.settle(cost=1)
        print(*sorted(os.listdir(sys.argv[1])))
        os.rename(os.path.join(sys.argv[1], "%4Fld"), os.path.join(sys.argv[1], "Old"))
        with BudgetManager("Old", ledger=sys.argv[1]) as manager:
            print(manager.balance(None).spent)
    """
    assert printed(code, tmp_path, str(tmp_path / "a")) == ["%41pp %4Fld app", "1.0"]
