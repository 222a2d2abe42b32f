"""Waiting for a lock of this process, without being woken in vain each time that it is given back."""

from __future__ import annotations

import threading
import time

from budgeted.ledger.backoff import pauses

YIELDS = 10
"""How often a thread that finds the lock taken lets another one run before it sleeps: whoever has it needs a few
microseconds."""

PAUSE, LONGEST_PAUSE = 0.0002, 0.005
"""How long it sleeps after that before it looks again, in seconds: at first, and at most."""


def seen_free(lock: threading.Lock, allowed: float) -> bool:
    """Wait until a lock is free, without taking it; False if it was not within ``allowed`` seconds."""
    if allowed:
        for _ in range(YIELDS):
            time.sleep(0)  # another thread runs
            if not lock.locked():
                return True
    # Not by sleeping on the lock: whoever does is woken each time that it is given back, nearly always in vain, and
    # a thread that would go on at full speed pays for that with a third of it.
    return any(not lock.locked() for _ in pauses(allowed, PAUSE, LONGEST_PAUSE))
