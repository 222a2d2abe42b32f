"""Several processes that serve on the same sockets, and one that looks after them."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Final

import click

assert sys.platform != "win32"  # noqa: S101 - what type checkers go by: processes are not forked there

BEGIN_SECONDS: Final = 3.0
"""A worker that ends of itself before as many seconds would only do so again."""

PAUSE_SECONDS: Final = 1.0
"""Before one is started in the place of another: what kills them all is not to keep the machine busy."""

_ENDING: Final = (signal.SIGTERM, signal.SIGINT)

logger = logging.getLogger("budgeted")


def run_workers(count: int, serve: Callable[[int], None]) -> None:
    """Serve in several processes, until a signal ends them; one that ends of itself is followed by another.

    Args:
        count: how many.
        serve: what each does, given its number from 0 on. It has to be called before any thread is started.

    Raises:
        ClickException: one has ended as it began.

    Example:
        >>> run_workers(4, lambda number: HTTPServer(create_app(), sockets, ConnectionLimits()).run())
    """
    _Workers(count, serve).run()


class _Workers:
    def __init__(self, count: int, serve: Callable[[int], None]) -> None:
        self._count, self._serve = count, serve
        self._numbers: dict[int, tuple[int, float]] = {}
        """By their process ids: their numbers, and when they began."""
        self._told = False
        # Nobody writes to it: that it ends tells the workers that this process is there no more.
        self._alive, self._mine = os.pipe()

    def run(self) -> None:
        before = {one: signal.signal(one, self._tell_all) for one in _ENDING}
        failed = False
        try:
            for number in range(self._count):
                self._start(number)
            while self._numbers:
                pid, status = os.wait()
                number, began = self._numbers.pop(pid, (-1, 0.0))
                if self._told or number < 0:
                    continue
                code = os.waitstatus_to_exitcode(status)
                logger.warning("budgeted: worker %d has ended with %d", number, code)
                if code >= 0 and time.monotonic() < began + BEGIN_SECONDS:
                    failed = True
                    self._tell_all(signal.SIGTERM, None)
                else:
                    time.sleep(PAUSE_SECONDS)
                    self._start(number)
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)
        if failed:
            raise click.ClickException("a worker has ended as it began; it has told why above")

    def _start(self, number: int) -> None:
        with _no_signals():  # one that comes between the fork and the note of it would miss this worker
            if self._told:
                return
            pid = os.fork()
            if pid:
                self._numbers[pid] = number, time.monotonic()
                return
        self._be_worker(number)

    def _be_worker(self, number: int) -> None:
        for one in _ENDING:
            signal.signal(one, signal.SIG_DFL if one == signal.SIGTERM else signal.default_int_handler)
        os.close(self._mine)
        threading.Thread(target=self._end_with_parent, daemon=True).start()
        code = 1
        try:
            self._serve(number)
            code = 0
        except SystemExit as error:
            code = error.code if isinstance(error.code, int) else 1
        except click.ClickException as error:
            error.show()
        except BaseException as error:  # noqa: BLE001 - the parent's code is not to run on in a child
            click.echo(f"Error: {error}", err=True)
        finally:
            logging.shutdown()
            sys.stdout.flush()
            sys.stderr.flush()
            os._exit(code)

    def _end_with_parent(self) -> None:
        os.read(self._alive, 1)
        os.kill(os.getpid(), signal.SIGTERM)

    def _tell_all(self, _: int, __: FrameType | None) -> None:
        self._told = True
        for pid in list(self._numbers):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)


@contextlib.contextmanager
def _no_signals() -> Iterator[None]:
    before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
