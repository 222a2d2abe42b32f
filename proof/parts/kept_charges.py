"""Charges that wait on the disk for their ledger, while processes that write and post them die at any system call.

Several processes share a ledger and the file of what it could not take. Each adds charges, and takes up what waits,
until it is killed: before, half-way through or behind one of its system calls. Whoever comes last finds every charge
that was acknowledged, once; of the others each once or not at all; and a file that is gone.
"""

from __future__ import annotations

import fcntl
import logging
import os
import random
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

from budgeted import BudgetManager
from budgeted.ledger.spending_records import Used
from budgeted.ledger.spill_file import SpillFile, Unposted
from proof.trial import Case, Trial

SHORT, LONG = 10.0, 150.0

CALLS: tuple[tuple[Any, str], ...] = (
    (os, "open"),
    (os, "write"),
    (os, "fsync"),
    (os, "ftruncate"),
    (os, "rename"),
    (os, "unlink"),
    (os, "close"),
    (fcntl, "flock"),
)
"""Where a process may die."""

MOST = 60
"""System calls after which one that was to die has come through."""


def run(trial: Trial) -> None:
    """Try several lives at a time, one case after the other."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)
    warnings.simplefilter("ignore", DeprecationWarning)  # of a fork beside threads: the children need none of them
    trial.random_cases("together", attempt, 0.6)
    trial.random_cases("one after the other", attempt, 0.4)


def attempt(case: Case) -> None:
    """Some processes that die, and one that comes last."""
    home, where = case.directory / "home", case.directory / "spend"
    acknowledged = case.directory / "acknowledged"
    with mock.patch.dict(os.environ, BUDGETED_HOME=str(home)):
        with BudgetManager("p", max_budget=10**6, ledger=where):
            pass
        children = []
        for number in range(case.rng.randrange(2, 5)):
            seed = case.rng.getrandbits(32)
            children.append(_forked(lambda number=number, seed=seed: _live(where, number, seed, acknowledged)))
            case.fault("kill -9")
            if case.subject != "together":
                _ended(children.pop())
        for pid in children:
            _ended(pid)
        file = SpillFile(home, "p", os.path.realpath(where / "p"))
        case.tell(f"{len(file.read().waiting)} charges wait at the end")
        _check(where, file, set(acknowledged.read_text().split()) if acknowledged.exists() else set())


def _check(where: Path, file: SpillFile, acknowledged: set[str]) -> None:
    with BudgetManager("p", ledger=where) as manager:
        ids = [f"x{number}.{count}" for number in range(5) for count in range(1, 20)]
        charges = [one for one in map(manager.ledger.ended, ids) if one is not None]
        lost = acknowledged - {one.id for one in charges}
        assert not lost, f"acknowledged and lost: {sorted(lost)}"
        account = manager.ledger.read("g")
        assert account is not None
        assert account.usd == sum(one.used.usd for one in charges), "a charge was posted twice"
        assert all(one.used.usd == _usd(one.id) for one in charges)
    assert not file.exists(), "the file is still there"


def _usd(id: str) -> int:
    return 1 + sum(map(ord, id)) ** 3


def _live(where: Path, number: int, seed: int, acknowledged: Path) -> None:
    """A process: it opens the ledger, adds charges, has them posted, and dies somewhere."""
    rng = random.Random(seed)
    telling = os.open(acknowledged, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    file = SpillFile(Path(os.environ["BUDGETED_HOME"]), "p", os.path.realpath(where / "p"))
    tell = os.write
    count = 0
    with _dying(rng):
        while True:
            manager = BudgetManager("p", ledger=where)
            for _ in range(rng.randrange(1, 4)):
                added = [f"x{number}.{count + i + 1}" for i in range(rng.randrange(1, 3))]
                if count + len(added) >= 20:
                    return
                count += len(added)
                file.append([Unposted(id, ("g", "u:alice"), "p", "m", 1_800_000_000, Used(_usd(id))) for id in added])
                tell(telling, "".join(f"{id}\n" for id in added).encode())
                if rng.random() < 0.4:
                    manager.balance()
            manager.close()


@contextmanager
def _dying(rng: random.Random) -> Iterator[None]:
    """Die at one of the next system calls."""
    left, when = rng.randrange(1, MOST), rng.choice(["before", "half-way", "behind"])

    def dying(real: Callable[..., Any], name: str) -> Callable[..., Any]:
        def call(*args: Any, **more: Any) -> Any:
            nonlocal left
            left -= 1
            if not left:
                if when == "half-way" and name == "write":
                    real(args[0], args[1][: len(args[1]) // 2])
                elif when != "before":
                    real(*args, **more)
                os.kill(os.getpid(), signal.SIGKILL)
            return real(*args, **more)

        return call

    patches = [mock.patch.object(where, name, dying(getattr(where, name), name)) for where, name in CALLS]
    for patch in patches:
        patch.start()
    yield
    for patch in patches:
        patch.stop()


def _forked(life: Callable[[], None]) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        life()
    except BaseException:  # noqa: BLE001 - a child must not go on as a second proof
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


def _ended(pid: int) -> None:
    _, status = os.waitpid(pid, 0)
    assert status in (0, signal.SIGKILL), f"a process ended with {status}"
