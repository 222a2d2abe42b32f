"""The lines of a journal, each with a check that goes on from the one before.

A line is eight hex digits of CRC-32, a blank, the record as JSON. Each CRC goes on from the one before, so that a line
that was changed, lost, added or moved breaks the chain. A last line without a newline was never acknowledged: it is cut
off. Anything else that does not check is damage: nothing is changed, and the error says where.
"""

from __future__ import annotations

import contextlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.journal.origin import Origin, Position
from budgeted.ledger.journal.repair_command import repair_command
from budgeted.ledger.memory.change_records import (
    Amended,
    Deleted,
    Held,
    HeldInParts,
    LimitsSet,
    PeriodsSet,
    Posted,
    Record,
    Released,
    Restored,
    Settled,
    WasReset,
)
from budgeted.system import current as system

FORMAT = 1

PIECE = 1 << 15
"""Bytes read at a time: what is made of them still fits a processor's cache."""

# Made once, and bound to names of this module: every verb encodes a line.
encode = msgspec.json.Encoder().encode

crc32 = zlib.crc32


class Header(Record, tag="budgeted"):
    """The first line of a segment. Versions that knew no identity of a ledger wrote the first two fields."""

    format: int
    segment: int
    ledger: str = ""
    ends: tuple[Position, ...] = ()

    @property
    def origin(self) -> Origin:
        """Which ledger it belongs to."""
        return Origin(self.ledger, self.ends)


class Continued(Record, tag="n"):
    """The last line of a segment: the journal goes on in another."""

    segment: int


_Line = (
    Header
    | Continued
    | Held
    | HeldInParts
    | Settled
    | Released
    | Posted
    | LimitsSet
    | WasReset
    | PeriodsSet
    | Amended
    | Deleted
    | Restored
)

_decoder = msgspec.json.Decoder(_Line)

decode, _decode_lines = _decoder.decode, _decoder.decode_lines

_BLANK = ord(" ")


def line(payload: bytes, crc: int) -> bytes:
    """A record's JSON as a line; ``crc`` is the chain's new end."""
    return b"%08x %b\n" % (crc, payload)


def read(data: bytes, crc: int, path: Path, offset: int) -> tuple[list[Record], int, int]:
    """The records of some lines, and the CRC and the offset behind them.

    A :class:`Header` is the first line of a segment and no other; a :class:`Continued` can only be the last.

    Args:
        data: what was read at ``offset``; a rest without a newline is left alone.
        crc: the chain's end before ``data``.
        path: the file it was read from, for the error's text.
        offset: where in it ``data`` stands.

    Raises:
        LedgerCorruptError: a line does not check, or stands where it cannot.
        LedgerError: the file is of another format.
    """
    found, crc, behind, bad = _check(data, crc, offset)
    if found and not offset:
        _check_header(found[0], path)
    if bad:
        msg = (
            f"{path} is damaged at byte {behind}: the line {bad[:60]!r} fails its check. Nothing was changed. "
            f"Restore the file from a backup, or keep what stands before the damage with "
            f"`{repair_command(path.parent)}`"
        )
        raise LedgerCorruptError(msg)
    return found, crc, behind


def intact(path: Path) -> tuple[list[Record], int]:
    """The records of a segment before its first damage, and how many bytes they take."""
    found, _, good, _ = _check(path.read_bytes(), 0, 0)
    if found:
        _check_header(found[0], path)
    return found, good


def ends_with(fd: int, offset: int, crc: int) -> bool:
    """Whether the line that ends at an offset of a file is the one that the chain had reached by then."""
    room = 1 << 10
    while True:
        start = max(0, offset - room)
        data = system.read_at(fd, offset - start, start)
        if len(data) != offset - start or not data.endswith(b"\n"):
            return False
        found = data.rfind(b"\n", 0, -1)
        if found >= 0 or not start:
            return data[found + 1 : found + 9] == b"%08x" % crc
        room *= 8


def pieces(fd: int, offset: int, size: int) -> Iterator[bytes]:
    """What a file holds from an offset to its size, in pieces of whole lines; the last is whatever it ends with."""
    room = PIECE
    while offset < size:
        data = system.read_at(fd, min(room, size - offset), offset)
        if not data:
            return
        if offset + len(data) < size:
            data = data[: data.rfind(b"\n") + 1]
        if data:
            yield data
        offset += len(data)
        room = PIECE if data else 2 * room


def _check(data: bytes, crc: int, offset: int) -> tuple[list[Record], int, int, bytes | None]:
    """The records before the first damage, the CRC and the offset behind them, and the damaged line if there is one.

    Decoding many lines at a time takes a fifth less than one by one.
    """
    lines = data.split(b"\n")
    rest = lines.pop()
    payloads: list[bytes] = []
    # One `try` around the loop, not one per line: a line without a number ends it as one with a wrong number does.
    with contextlib.suppress(ValueError, IndexError):
        for text in lines:
            payload = text[9:]
            crc = crc32(payload, crc)
            if int(text[:8], 16) != crc or text[8] != _BLANK or not payload:
                break
            payloads.append(payload)
    found = _decoded(payloads, first=not offset)
    good = len(found)
    if good < len(lines):
        return found, crc, offset + good + sum(map(len, lines[:good])), lines[good]
    # A torn line is the beginning of one. This is all of one, and its newline was changed to something else.
    ended = good > 0 and found[-1].__class__ is Continued
    whole = len(rest) > 9 and (ended or rest[:8] == b"%08x" % crc32(rest[9:-1], crc))
    return found, crc, offset + len(data) - len(rest), rest if whole else None


def _decoded(payloads: list[bytes], *, first: bool) -> list[Record]:
    """The records before one that cannot be read, or stands where it cannot."""
    found: list[Record] = []
    try:
        found += _decode_lines(b"\n".join(payloads))
    except msgspec.DecodeError:
        with contextlib.suppress(msgspec.DecodeError):
            found.extend(map(decode, payloads))
    kinds = [record.__class__ for record in found]
    if Header in kinds[first:]:
        return found[: kinds.index(Header, first)]
    if Continued in kinds[:-1]:
        return found[: kinds.index(Continued) + 1]
    return found


def _check_header(record: Record, path: Path) -> None:
    if not isinstance(record, Header):
        msg = f"{path} does not begin as a journal does; give the ledger a directory of its own"
        raise LedgerError(msg)
    if record.format != FORMAT:
        msg = f"{path} has format {record.format}, and this version reads {FORMAT}: upgrade budgeted"
        raise LedgerError(msg)


def first_line(segment: int, origin: Origin) -> bytes:
    """The line that a segment begins with."""
    payload = encode(Header(FORMAT, segment, *origin))
    return line(payload, crc32(payload))


def check_beginning(data: bytes, segment: int, path: Path) -> None:
    """Refuse a segment without a first line, unless it is one that a crash of an earlier version left half made.

    Raises:
        LedgerCorruptError: what stands there is no beginning of a first line.
    """
    if not first_line(segment, Origin()).startswith(data):
        msg = (
            f"{path} is damaged at byte 0: {data[:40]!r} is no journal's beginning. Nothing was changed; restore the "
            f"file from a backup"
        )
        raise LedgerCorruptError(msg)
