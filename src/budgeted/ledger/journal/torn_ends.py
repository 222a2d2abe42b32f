"""What stands behind a journal's last whole line: half a line of a process that died, or something that was lost."""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path

import msgspec

from budgeted.ledger.journal.checked_lines import decode
from budgeted.ledger.journal.segment_files import write_new
from budgeted.ledger.memory.change_records import Held, LimitsSet, Posted, Record, Settled
from budgeted.money import format_usd
from budgeted.system import current as system

logger = logging.getLogger("budgeted")

_BEGINNING = re.compile(rb"[0-9a-f]{0,8}|[0-9a-f]{8} |[0-9a-f]{8} \[[^\x00]*")
"""How a line begins, wherever it is cut off."""

_NAMED = 20
"""Ids that are written out at most."""


def cut_off(fd: int, path: Path, offset: int, size: int, *, normal: bool) -> None:
    """Cut off what is no line. A copy is kept of what no process left that died while it wrote, and it is told.

    Args:
        fd: the file, whose lock the caller has: nobody is still at it.
        path: its path.
        offset: behind its last whole line.
        size: its size.
        normal: whether somebody was writing a line, so that half a line is what is to be expected.
    """
    data = system.read_at(fd, size - offset, offset)
    if not (normal and _BEGINNING.fullmatch(data)):
        kept = set_aside(path, offset, data)
        logger.error(
            "budgeted: %s ended in %d bytes that are no lines of a journal, from byte %d on (%s); they were cut off, "
            "and are kept in %s",
            path,
            len(data),
            offset,
            readable(data),
            kept.name,
        )
    os.ftruncate(fd, offset)


def set_aside(path: Path, offset: int, data: bytes) -> Path:
    """Keep what is cut off of a file beside it, for its owner alone to read. Returns where."""
    number = 0
    while True:
        again = f".{number}" if number else ""
        kept = path.with_name(f"{path.name}.cut-{offset}{again}")
        try:
            write_new(kept, (data,))
        except FileExistsError:
            number += 1
        else:
            return kept


def records(data: bytes) -> list[Record]:
    """What can still be read of lines, whether they check or not."""
    found: list[Record] = []
    for line in data.split(b"\n"):
        with contextlib.suppress(msgspec.DecodeError, UnicodeDecodeError):
            found.append(decode(line.lstrip(b"\0")[9:]))
    return found


def readable(data: bytes) -> str:
    """In words, what can still be read of lines that are lost: calls by their ids, with amounts in USD."""
    if not data.strip(b"\0"):
        return "all NULs, of which nothing can be read"
    told = [_in_words(record) for record in records(data)]
    known = [text for text in told if text]
    if not known:
        return "nothing of them can be read"
    more = f" and {len(known) - _NAMED} more" if len(known) > _NAMED else ""
    return f"of them can be read: {', '.join(known[:_NAMED])}{more}"


def _in_words(record: Record) -> str:
    if isinstance(record, Held):
        return f"the hold {record.id} of {format_usd(record.usd)}"
    if isinstance(record, (Settled, Posted)):
        return f"the charge {record.id} of {format_usd(record.used.usd)}"
    if isinstance(record, LimitsSet):
        return f"limits of {record.account}"
    return ""
