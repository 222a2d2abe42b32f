"""Calls that have ended, kept until a collector records them in histograms, where a manager has ``semconv=True``."""

from __future__ import annotations

import collections
from collections.abc import Iterator

import msgspec
from opentelemetry.trace import Span

from budgeted.system.forks import at_fork
from budgeted.telemetry.counters import Key


class Operation(msgspec.Struct, frozen=True, gc=False):
    """A call that has ended, for the histograms of OpenTelemetry's GenAI conventions.

    Args:
        key: provider, operation, model, and the user and tags that telemetry may name.
        seconds: from when it was sent until it ended.
        used: (nano-USD, tokens in, tokens out); None for one that failed.
        model: the model that answered, or "".
        base_url: where it was sent, or "".
        error: the type of the exception that it ended with, or "".
        span: the span that it was made in, or None.
    """

    key: Key
    seconds: float
    used: tuple[int, int, int] | None
    model: str = ""
    base_url: str = ""
    error: str = ""
    span: Span | None = None


MOST_OPERATIONS = 10_000
"""Operations that are kept for a collector; where none ever comes, older ones are forgotten."""

# No lock: calls end in finalisers as well, where a histogram's own lock could be held by the very thread.
_operations: collections.deque[Operation] = collections.deque(maxlen=MOST_OPERATIONS)


def operated(operation: Operation) -> None:
    """Keep an operation until somebody collects."""
    _operations.append(operation)


def operations() -> Iterator[Operation]:
    """Take what was kept."""
    while _operations:
        try:
            yield _operations.popleft()
        except IndexError:  # another collector was faster
            return


# A child has ended no calls yet.
at_fork(after_in_child=_operations.clear)
