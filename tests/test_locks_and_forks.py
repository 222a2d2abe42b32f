"""A thread that forks gives back the locks that it took, and no others."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from forking import forked

from budgeted import fork_locks
from budgeted.fork_locks import ForkLocks
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.sql.ledger import SQLLedger
from budgeted.payers import block_figures
from budgeted.pricing import price_registry, tiktoken_counting

pytestmark = pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")


@contextmanager
def kept(lock: Any) -> Iterator[list[BaseException]]:
    """Another thread, or greenlet, keeps a lock meanwhile. Yields what it ran into as it gave it back."""
    taken, done = threading.Event(), threading.Event()
    wrong: list[BaseException] = []

    def keep() -> None:
        lock.acquire()
        taken.set()
        done.wait(20)
        try:
            lock.release()
        except RuntimeError as error:
            wrong.append(error)

    thread = threading.Thread(target=keep)
    thread.start()
    assert taken.wait(20)
    try:
        yield wrong
    finally:
        done.set()
        thread.join()


LOCKS: dict[str, Callable[[Path], tuple[Any, Any]]] = {
    "token counts": lambda _: (tiktoken_counting._lock, None),
    "prices": lambda _: (price_registry._lock, None),
    "caps": lambda _: (block_figures.caps_lock, None),
    "memory": lambda _: ((made := MemoryLedger())._lock, made),
    "sqlite": lambda folder: ((made := SQLLedger(f"sqlite:///{folder / 'a.db'}"))._database.lock, made),  # type: ignore[attr-defined]
}


@pytest.mark.parametrize("which", LOCKS)
def test_a_lock_that_another_keeps_stays_its_own(
    which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, recwarn: pytest.WarningsRecorder
) -> None:
    monkeypatch.setattr(fork_locks.ForkLocks.take, "__defaults__", (0.01,))
    monkeypatch.setattr(price_registry, "_LONGEST_WAIT_TO_FORK", 0.01)
    lock, _keeper = LOCKS[which](tmp_path)
    with kept(lock) as wrong:
        forked(lambda: None)
        if which != "prices":
            assert lock.locked()
    assert wrong == []
    assert not [one for one in recwarn if "Exception ignored" in str(one.message)]
    assert lock.acquire(timeout=5)
    lock.release()


def test_a_child_can_price_and_count_though_another_thread_kept_the_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fork_locks.ForkLocks.take, "__defaults__", (0.01,))
    monkeypatch.setattr(price_registry, "_LONGEST_WAIT_TO_FORK", 0.01)
    monkeypatch.setattr(price_registry, "_remembered", {})

    def child() -> object:
        tiktoken_counting._start("o200k_base")
        return price_registry.find("gpt-5-mini") is not None

    with kept(price_registry._lock), kept(tiktoken_counting._lock):
        assert forked(child) == "True"


def test_a_lock_that_cannot_be_waited_for_is_left_alone() -> None:
    """As gevent raises, rather than wait, where no other greenlet could give it back."""

    class Endless:
        released = False

        def acquire(self, *, timeout: float) -> bool:
            raise RuntimeError("This operation would block forever")

        def release(self) -> None:
            self.released = True

    locks, lock = ForkLocks(), Endless()
    assert not locks.take(lock)
    locks.give_back()
    assert not lock.released


def test_threads_that_fork_at_once_give_back_what_each_has_taken() -> None:
    locks, mine, others = ForkLocks(), threading.Lock(), threading.Lock()
    assert locks.take(mine)
    thread = threading.Thread(target=locks.take, args=(others,))
    thread.start()
    thread.join()
    locks.give_back()
    assert not mine.locked()
    assert others.locked()


def test_a_fork_while_a_tokenizer_is_loaded_by_a_greenlet_breaks_no_lock(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under gevent, to wait for a thread that cannot run meanwhile raises."""

    def wait(_: float) -> bool:
        raise RuntimeError("This operation would block forever")

    wrong: list[object] = []
    monkeypatch.setattr(sys, "unraisablehook", lambda told: wrong.append(told.exc_value))
    monkeypatch.setattr(tiktoken_counting, "wait_loaded", wait)
    with kept(tiktoken_counting._lock) as broken:
        monkeypatch.setattr(fork_locks.ForkLocks.take, "__defaults__", (0.01,))
        forked(lambda: None)
    assert wrong == broken == []
