"""How times are taken: the best of several rounds, as everything else is noise of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable

ROUNDS = 7


def best(run: Callable[[int], None], times: int) -> float:
    """Microseconds of one pass, in the best of several rounds of ``times`` passes."""
    run(times // 10)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run(times)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / times * 1e6


def line(what: str, figure: str, note: str = "") -> None:
    """Print one figure."""
    print(f"  {what:58} {figure:>14}  {note}")
