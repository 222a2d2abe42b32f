"""A backup: everything that a project's ledger knew at one instant, in one file whose every line is checked.

The first line says what it is and how much follows, and the last one that nothing is missing. Each is eight hex digits
of CRC-32, a blank, and JSON. Each CRC goes on from the one before: a line that was changed, lost or moved is noticed.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from budgeted.errors import LedgerCorruptError, LedgerError
from budgeted.ledger.accounts import Account
from budgeted.ledger.journal.checked_lines import crc32, encode, line
from budgeted.ledger.journal.segment_files import write_new
from budgeted.ledger.spending_records import Charge, RollupRow
from budgeted.ledger.told_steps import Tell
from budgeted.ledger.whole_content import Content, OpenHold
from budgeted.system import current as system

FORMAT = 1


class Heading(msgspec.Struct, tag="budgeted backup"):
    """The first line: the project, when it was read (unix seconds), and how much follows."""

    format: int
    project: str
    taken: int
    accounts: int
    rows: int
    charges: int
    holds: int

    @property
    def lines(self) -> int:
        """How many lines follow, but for the last."""
        return self.accounts + self.rows + self.charges + self.holds


class _End(msgspec.Struct, tag="end"):
    """The last line."""


_KINDS: dict[str, type[Account | RollupRow | Charge | OpenHold]] = {
    "account": Account,
    "row": RollupRow,
    "charge": Charge,
    "hold": OpenHold,
}
_line = msgspec.json.Decoder(tuple[str, msgspec.Raw])
_heading = msgspec.json.Decoder(Heading)
_decoders = {kind: msgspec.json.Decoder(struct) for kind, struct in _KINDS.items()}


def heading(project: str, content: Content, taken: int) -> Heading:
    """The first line of a project's backup, which was read at that time (unix seconds)."""
    counts = (len(content.accounts), len(content.rows), len(content.charges), len(content.holds))
    return Heading(FORMAT, project, taken, *counts)


def write(path: Path, first: Heading, content: Content, tell: Tell = lambda _: None) -> None:
    """Write a backup, for its owner alone to read, and make it durable. A file that is there is left alone.

    Args:
        path: the file to make.
        first: its first line.
        content: what is in it.
        tell: called with 1 for each line.

    Raises:
        LedgerError: there is such a file, or it cannot be written; then there is none.
    """
    whole = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        write_new(whole, _lines(first, content, tell))
        try:
            system.move_if_new(whole, path)
        except BaseException:
            whole.unlink()
            raise
        system.sync_directory(path.parent)
    except FileExistsError as error:
        msg = f"{path} is there already; name another file, or remove it first"
        raise LedgerError(msg) from error
    except OSError as error:
        msg = f"the backup {path} cannot be written: {error.strerror}"
        raise LedgerError(msg) from error


def _lines(first: Heading, content: Content, tell: Tell) -> Iterator[bytes]:
    kinds: tuple[tuple[str, Iterable[object]], ...] = (
        ("account", content.accounts),
        ("row", content.rows),
        ("charge", content.charges),
        ("hold", content.holds),
    )
    crc = 0
    for payload in (encode(first), *(encode(one) for one in ((kind, item) for kind, items in kinds for item in items))):
        crc = crc32(payload, crc)
        yield line(payload, crc)
        tell(1)
    payload = encode(_End())
    yield line(payload, crc32(payload, crc))


def read(path: Path, tell: Tell = lambda _: None) -> tuple[Heading, Content]:
    """Read a backup, and check all of it.

    Args:
        path: the file.
        tell: called with 1 for each line.

    Raises:
        LedgerError: it cannot be read, or is no backup that this version knows.
        LedgerCorruptError: it is damaged; the text says where.
    """
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        msg = f"the backup {path} cannot be read: {error.strerror}"
        raise LedgerError(msg) from error
    payloads = _checked(lines, path)
    first = _first(next(payloads, b""), path)
    content = Content([], [], [], [])
    into: dict[str, list[Account] | list[RollupRow] | list[Charge] | list[OpenHold]] = {
        "account": content.accounts,
        "row": content.rows,
        "charge": content.charges,
        "hold": content.holds,
    }
    last = b""
    for number, payload in enumerate(payloads, 2):
        last = payload
        if number == first.lines + 2:
            continue  # the last, if nothing follows: that would fail its check, or be one line too many
        try:
            kind, raw = _line.decode(payload)
            into[kind].append(_decoders[kind].decode(raw))  # type: ignore[arg-type] # of the kind that its list is for
        except (msgspec.DecodeError, KeyError) as error:
            raise _damaged(path, number, str(error)) from error
        tell(1)
    if last != encode(_End()) or heading(first.project, content, first.taken) != first:
        raise _damaged(path, len(lines), "its end is missing")
    return first, content


def _checked(lines: list[bytes], path: Path) -> Iterator[bytes]:
    """The payload of each line, as long as they check."""
    crc = 0
    for number, text in enumerate(lines, 1):
        if number == len(lines) and not text:
            return
        if number == len(lines):
            raise _damaged(path, number, "its end is missing")
        payload = text[9:].removesuffix(b"\r")  # of what was sent as text
        crc = crc32(payload, crc)
        if text[:9] != b"%08x " % crc:
            raise _damaged(path, number, "it fails its check")
        yield payload


def _first(payload: bytes, path: Path) -> Heading:
    try:
        first = _heading.decode(payload)
    except msgspec.DecodeError as error:
        msg = f"{path} does not begin as a backup does"
        raise LedgerError(msg) from error
    if first.format != FORMAT:
        msg = f"{path} has format {first.format}, and this version reads {FORMAT}: upgrade budgeted"
        raise LedgerError(msg)
    return first


def _damaged(path: Path, number: int, how: str) -> LedgerCorruptError:
    return LedgerCorruptError(f"{path} is damaged at line {number}: {how}. Nothing was changed; take another backup")
