"""Steps that no signal may cut in two, such as starting a process and noting that it was started."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

ENDING: Final[list[int]] = [getattr(signal, name) for name in ("SIGTERM", "SIGHUP") if hasattr(signal, name)]
"""What ends a process that does not expect it, besides Ctrl-C."""


@contextmanager
def deferred() -> Iterator[None]:
    """Around such steps: Ctrl-C, and what else would end this process, comes when they are through."""
    if threading.current_thread() is not threading.main_thread():  # whose signals they are
        yield
        return
    came: list[int] = []
    before = {
        number: signal.signal(number, lambda number, _: came.append(number)) for number in [signal.SIGINT, *ENDING]
    }
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    for number in came:
        signal.raise_signal(number)
