"""How times are taken: the best of several rounds, as everything else is noise of the machine."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.process import BaseProcess

ROUNDS = 7
SHORT_PASSES, SHORT_ROUNDS = 100, 60


def best(run: Callable[[int], None], times: int) -> float:
    """Microseconds of one pass, in the best of several rounds of ``times`` passes."""
    run(times // 10)
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        run(times)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / times * 1e6


def in_turn(*runs: Callable[[], object]) -> list[float]:
    """Microseconds of one pass of each, in the best of many rounds; they take turns, so that noise hits all.

    The rounds are short: where another process takes part, any third one interrupts them.
    """
    bests = [1e9] * len(runs)
    for _ in range(SHORT_ROUNDS):
        for i, run in enumerate(runs):
            started = time.perf_counter()
            for _ in range(SHORT_PASSES):
                run()
            bests[i] = min(bests[i], (time.perf_counter() - started) / SHORT_PASSES * 1e6)
    return bests


def together(crew: Sequence[threading.Thread | BaseProcess], gate: threading.Barrier) -> float:
    """Seconds that workers take, from the moment when all of them and the caller have reached the gate."""
    for one in crew:
        one.start()
    gate.wait()
    started = time.perf_counter()
    for one in crew:
        one.join()
    return time.perf_counter() - started


def line(what: str, figure: str, note: str = "") -> None:
    """Print one figure."""
    print(f"  {what:58} {figure:>14}  {note}")
