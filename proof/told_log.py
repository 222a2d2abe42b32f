"""What the package's log is told while something is tried."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator


class Told(logging.Handler):
    """The texts of records of a level, or above."""

    def __init__(self, level: int) -> None:
        super().__init__(level)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a record's text."""
        self.texts.append(record.getMessage())


@contextlib.contextmanager
def listening(level: int) -> Iterator[Told]:
    """Hear what the log is told of a level, such as ``logging.ERROR``, or above."""
    told, logger = Told(level), logging.getLogger("budgeted")
    logger.addHandler(told)
    try:
        yield told
    finally:
        logger.removeHandler(told)
