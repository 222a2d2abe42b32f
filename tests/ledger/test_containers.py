"""Ledgers where homes are missing, may not be written, or do not last: a clear error, or a place that is told."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from budgeted.ledger.mounted_file_systems import kind_of_file_system

NOBODY = 12345
"""A user that no password file knows."""

PROGRAM = """
import contextlib, json, logging, os, sqlite3, subprocess, sys, tempfile
from budgeted import BudgetError, BudgetManager

told = []
class Told(logging.Handler):
    def emit(self, record):
        told.append(f"{record.levelname} {record.getMessage()}")
logging.getLogger("budgeted").addHandler(Told())

def spend(**ledger):
    told.clear()
    try:
        with BudgetManager("app", **ledger) as manager:
            where = str(getattr(manager.ledger, "directory", ""))
            with manager.hold(cost=1) as held:
                held.settle(cost=1)
        return "kept", where, told[:]
    except BudgetError as error:
        return type(error).__name__, str(error), told[:]

def without_a_home(folder):
    told.clear()
    file = f"{folder}/spend.db"
    manager = BudgetManager("app", ledger=f"sqlite:///{file}")
    with manager.hold(cost=1, user="alice") as held, contextlib.closing(sqlite3.connect(file)) as other:
        manager.ledger.deadline = 0.1
        other.execute("BEGIN EXCLUSIVE")
        held.settle(cost=0.25)
        try:
            manager.close()
        except BudgetError as error:
            return type(error).__name__, str(error), told[:]

user, homes, fake_mounts, folder = json.loads(sys.argv[1])
os.environ["BUDGETED_HOME"] = root = tempfile.mkdtemp(dir=folder)
spend(ledger=root)  # so that all is imported by who may read it
without_a_home(root)
if fake_mounts:
    subprocess.run(["mount", "--bind", fake_mounts, f"/proc/{os.getpid()}/mountinfo"], check=True)
if user:
    os.setgroups([])
    os.setgid(user)
    os.setuid(user)
found = []
for home in [*homes, {}]:
    for name in ("HOME", "XDG_STATE_HOME", "BUDGETED_HOME"):
        os.environ.pop(name, None)
    os.environ.update(home)
    if len(found) < len(homes):
        found.append(spend())
if user:
    found.append(without_a_home(folder))
print(json.dumps(found))
"""


class Found(NamedTuple):
    """What became of a ledger: ``kept``, or an error's name; where, or its text; and what was logged."""

    what: str
    text: str
    told: list[str]


def run(user: int, homes: list[dict[str, str]], folder: Path, *, before: str = "", mounts: str = "") -> list[Found]:
    """Have a user open the default ledger with each of these environments, one after the other."""
    python = [sys.executable, "-c", PROGRAM, json.dumps([user, homes, mounts, str(folder)])]
    command = ["unshare", "-m", "sh", "-c", f'{before.strip()} && exec "$@"', "sh", *python] if before else python
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return [Found(*one) for one in json.loads(done.stdout)]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    """A folder that everybody may write to, which is not one for temporary files."""
    with tempfile.TemporaryDirectory(dir="/var", ignore_cleanup_errors=True) as made:
        Path(made).chmod(0o777)
        yield Path(made)


READ_ONLY, LASTS = "read-only", "lasts"

# Only root can become somebody without a home.
if os.geteuid() == 0:

    @pytest.fixture(scope="module")
    def temporary() -> Iterator[Path]:
        """A home below /tmp, which is often all that may be written to."""
        with tempfile.TemporaryDirectory(dir="/tmp") as made:
            Path(made).chmod(0o777)
            yield Path(made)

    @pytest.fixture(scope="module")
    def unknown(folder: Path, temporary: Path) -> dict[str, Found]:
        """What a user without a home finds, by the environment's name."""
        (folder / READ_ONLY).mkdir(mode=0o555)
        homes = {
            "nothing": {},
            "empty": {"HOME": ""},
            "relative": {"HOME": "home"},
            "relative state": {"XDG_STATE_HOME": "state"},
            "root": {"HOME": "/"},
            READ_ONLY: {"HOME": str(folder / READ_ONLY)},
            "temporary": {"HOME": str(temporary)},
            LASTS: {"BUDGETED_HOME": str(folder / LASTS)},
        }
        found = run(NOBODY, list(homes.values()), folder)
        return dict(zip([*homes, "another ledger"], found, strict=True))

    @pytest.mark.slow
    @pytest.mark.parametrize("home", ["nothing", "empty", "relative", "relative state"])
    def test_without_a_home_there_is_no_ledger_and_the_error_says_what_to_set(
        unknown: dict[str, Found], home: str
    ) -> None:
        what, text, _ = unknown[home]
        assert what == "LedgerError"
        assert "the user 12345 has no home" in text
        assert "set BUDGETED_HOME to a directory that outlives this program and its container" in text
        assert text.endswith("or write ledger='/path'")

    @pytest.mark.slow
    @pytest.mark.parametrize("home", ["root", READ_ONLY])
    def test_a_home_that_may_not_be_written_is_an_error_that_says_what_to_set(
        unknown: dict[str, Found], home: str
    ) -> None:
        what, text, _ = unknown[home]
        assert what == "LedgerUnavailableError"
        assert "cannot be used: Permission denied; name a directory that this user may write to" in text
        assert "BUDGETED_HOME" in text

    @pytest.mark.slow
    def test_nothing_is_left_in_the_working_directory(unknown: dict[str, Found], folder: Path) -> None:
        assert unknown
        left = {path.name for path in folder.iterdir() if not path.name.startswith(("spend.db", "tmp"))}
        assert left <= {READ_ONLY, LASTS, "mounts", "network"}
        assert list((folder / READ_ONLY).iterdir()) == []

    @pytest.mark.slow
    def test_a_home_among_temporary_files_is_told(unknown: dict[str, Found], temporary: Path) -> None:
        what, where, [told] = unknown["temporary"]
        assert (what, where) == ("kept", f"{temporary}/.local/state/budgeted/app")
        assert told.startswith("WARNING")
        assert f"is kept in {temporary}/.local/state/budgeted, among temporary files" in told

    @pytest.mark.slow
    def test_a_place_that_was_named_is_taken_as_it_is(unknown: dict[str, Found], folder: Path) -> None:
        assert unknown[LASTS] == Found("kept", str(folder / LASTS / "app"), [])

    @pytest.mark.slow
    def test_a_ledger_elsewhere_needs_no_home_and_what_it_does_not_take_is_told(unknown: dict[str, Found]) -> None:
        what, text, told = unknown["another ledger"]
        assert what == "LedgerUnavailableError"
        assert "$0.25" in text
        assert "ledger=" not in text
        assert "there is no place where anything would last" in text
        assert any("in memory alone" in one and "alice" in one for one in told)


def may_mount() -> bool:
    unshare = shutil.which("unshare")
    command = [unshare or "", "-m", "mount", "-t", "tmpfs", "none", "/mnt"]
    return unshare is not None and subprocess.run(command, capture_output=True, check=False).returncode == 0


if may_mount():
    OVERLAY = """
    mount -t tmpfs none /mnt && cd /mnt && mkdir lower upper work merged memory local &&
    mount -t overlay overlay -o lowerdir=lower,upperdir=upper,workdir=work merged && mkdir merged/home &&
    mount --bind merged/home merged/home && mkdir merged/read-only &&
    mount --bind merged/read-only merged/read-only && mount -o remount,ro,bind merged/read-only
    """

    @pytest.mark.slow
    def test_a_home_that_goes_with_its_container_is_told_and_one_that_is_read_only_is_an_error(folder: Path) -> None:
        homes = [{"HOME": f"/mnt/{name}"} for name in ("merged/home", "memory", "merged/read-only")]
        container, memory, read_only = run(0, homes, folder, before=OVERLAY)
        assert container.what == memory.what == "kept"
        assert "on this container's own file system (overlay), and goes with it" in container.told[0]
        assert "in memory (tmpfs)" in memory.told[0]
        assert all("set BUDGETED_HOME" in found.told[0] for found in (container, memory))
        assert read_only.what == "LedgerUnavailableError"
        assert "Read-only file system; name a directory" in read_only.text

    @pytest.mark.slow
    def test_a_ledger_on_a_network_volume_says_that_hosts_do_not_share_it(folder: Path) -> None:
        mounts = folder / "mounts"
        mounts.write_text("27 1 254:0 / / rw - ext4 /dev/vda rw\n40 27 0:50 / /var rw shared:1 - nfs4 files:/ rw\n")
        home = {"BUDGETED_HOME": str(folder / "network")}
        [found] = run(0, [home], folder, before="true", mounts=str(mounts))
        assert (found.what, len(found.told)) == ("kept", 1)
        assert f"{folder}/network/app is on a network file system (nfs4)" in found.told[0]
        assert "redis://" in found.told[0]


MOUNTS = r"""
22 27 0:21 / /proc rw,relatime - proc proc rw
27 1 0:33 / / rw,relatime master:1 - overlay overlay rw,lowerdir=/x
30 27 0:28 / /srv/my\040data rw - ext4 /dev/sda rw
31 30 0:29 / /srv/my\040data rw shared:7 master:2 - nfs4 files:/ rw
32 27 0:30 / /srv/my rw - tmpfs none rw
half a line
"""


def test_the_file_system_of_a_directory_is_that_of_the_last_mount_around_it(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(MOUNTS)
    for path, kind in {
        "/home/x": "overlay",
        "/srv/my data/spend": "nfs4",
        "/srv/my data": "nfs4",
        "/srv/my/data": "tmpfs",
        "/srv/mydata": "overlay",
    }.items():
        assert kind_of_file_system(Path(path), mounts) == kind
    assert kind_of_file_system(Path("/srv"), tmp_path / "missing") == ""
