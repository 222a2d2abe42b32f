"""Connections of psycopg that stop waiting for their server at a deadline, also while they are being made."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from psycopg.abc import PQGen

T = TypeVar("T")
Wanted = TypeVar("Wanted")
Ready = TypeVar("Ready")


class _Making(threading.local):
    """By when, by ``time.monotonic()``, a connection that this thread makes must be there."""

    # Of each thread: SQLAlchemy connects in the thread that asks, and hands no deadline on.
    deadline = float("inf")


_making = _Making()


@contextmanager
def made_by(deadline: float) -> Iterator[None]:
    """Around what may make a connection."""
    before, _making.deadline = _making.deadline, deadline
    try:
        yield
    finally:
        _making.deadline = before


def timed_connect() -> Callable[..., object]:
    """What makes a connection that gives up waiting for its server at its ``deadline``."""
    import psycopg
    from psycopg.rows import TupleRow

    class Timed(psycopg.Connection[TupleRow]):
        deadline = float("inf")

        @classmethod
        def _connect_gen(cls, *args: Any, **options: Any) -> Any:
            # Its own patience is of whole seconds, two at least; if psycopg calls this otherwise one day, that holds.
            return until(super()._connect_gen(*args, **options), _making.deadline)

        def wait(self, gen: PQGen[T], *args: Any, **options: Any) -> T:
            return super().wait(until(gen, self.deadline), *args, **options)

        def __del__(self, _: object = None) -> None:
            """Warn of nothing: a pool forgets one whose first words fail, and what is below closes it."""

    def connect(*args: Any, **options: Any) -> object:
        made = Timed.connect(*args, **options)
        made.deadline = _making.deadline  # SQLAlchemy asks a new server what it is
        return made

    return connect


def until(steps: Generator[Wanted, Ready, T], deadline: float) -> Generator[Wanted, Ready, T]:
    """The driver's steps, ended by a TimeoutError once nothing has come by the deadline."""
    try:
        wanted = next(steps)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() >= deadline:
                steps.close()
                raise TimeoutError
            wanted = steps.send(ready)
    except StopIteration as end:
        result: T = end.value
        return result
