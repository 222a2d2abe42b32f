"""How a thread waits for what nobody tells it of: it looks again after ever longer pauses."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Literal


def pauses(seconds: float, first: float, longest: float) -> Iterator[Literal[True]]:
    """Sleep before each further look, until the time is over.

    Args:
        seconds: from now on, all pauses together.
        first: the first pause, in seconds; each is half as long again as the one before.
        longest: the longest pause, in seconds.

    Yields:
        True after each pause.
    """
    deadline = time.monotonic() + seconds
    pause = first
    while (left := deadline - time.monotonic()) > 0:
        time.sleep(min(pause, left))
        yield True
        pause = min(1.5 * pause, longest)
