"""A clock that a test sets by hand."""

from __future__ import annotations

HOUR, DAY = 3600, 86_400
NOON = 1_763_812_800.0  # 2025-11-22T12:00:00Z


class Clock:
    """Unix seconds that a test moves."""

    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now
