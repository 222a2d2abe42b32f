"""Pauses of a random length, so that those who wait for the same thing do not all come back at the same instant."""

from __future__ import annotations

import random

# Not the module's own numbers: a program that has seeded those must find them as it left them, and children of one
# fork, which all go on from the same state, would not be apart.
_CHANCE = random.SystemRandom()


def between(least: float, most: float) -> float:
    """Seconds to wait, at random from a range.

    Args:
        least: seconds, the shortest.
        most: seconds, the longest.
    """
    return _CHANCE.uniform(least, most)
