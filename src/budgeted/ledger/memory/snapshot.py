"""A snapshot: everything that a ledger in memory has to know at a later start, as JSON.

It is one array, with a line break after so many items, so that it is written and read in pieces: no thread waits for
another one to encode, or decode, a million accounts.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence

import msgspec

from budgeted.ledger.accounts import Account
from budgeted.ledger.memory.change_records import Held, HeldInParts
from budgeted.ledger.memory.compact_store import CompactStore
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.spending_records import RollupRow

PIECE = 500
"""Items that are encoded, or packed under the ledger's lock, at a time: about a millisecond."""

BETWEEN = b"],["
"""The line between two lists of a snapshot."""


class Saved(msgspec.Struct, array_like=True):
    """A snapshot's content."""

    version: int
    accounts: list[Account]
    holds: list[Held | HeldInParts]
    uncertain: list[Ended]
    latest: list[Ended]
    before: list[Ended]
    rows: list[RollupRow]


LISTS = len(Saved.__struct_fields__) - 1

encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Saved).decode


class Frozen:
    """What a state was at one line of a journal, while it goes on.

    Args:
        version: the newest version of an account.
        kept: open holds, then ended ones as a snapshot lists them; none of these objects ever changes.
        accounts: the accounts, frozen.
        rows: the report's rows of each day, frozen.
        lock: the ledger's.
    """

    def __init__(
        self,
        version: int,
        kept: Sequence[Sequence[Held | Ended]],
        accounts: CompactStore[Account],
        rows: Sequence[CompactStore[list[RollupRow]]],
        lock: threading.Lock,
    ) -> None:
        self._version, self._kept, self._accounts, self._rows, self._lock = version, kept, accounts, rows, lock

    def pieces(self) -> Iterator[bytes]:
        """The snapshot. The lock is taken for moments only."""
        self._a_little_at_a_time(self._accounts.settle)
        for store in self._rows:
            self._a_little_at_a_time(store.settle)
        rows = itertools.chain.from_iterable(store.frozen() for store in self._rows)
        return pieces(self._version, self._accounts.frozen(), self._kept, rows)

    def thaw(self) -> None:
        """End it, written or not."""
        self._a_little_at_a_time(self._accounts.thaw)
        for store in self._rows:
            self._a_little_at_a_time(store.thaw)

    def _a_little_at_a_time(self, step: Callable[[int], bool]) -> None:
        while True:
            with self._lock:
                if not step(PIECE):
                    return


def pieces(
    version: int, accounts: Iterable[bytes], kept: Iterable[Sequence[Held | Ended]], rows: Iterable[bytes]
) -> Iterator[bytes]:
    """A snapshot in pieces.

    Args:
        version: the newest version of an account.
        accounts: each as JSON.
        kept: open holds; ended ones that are uncertain, that came last, and that came before these.
        rows: JSON of one or more each.
    """
    yield b"[%d,[\n" % version
    yield from _lines(accounts)
    for some in kept:
        yield BETWEEN + b"\n"
        yield from _lines(encode(one) for one in some)
    yield BETWEEN + b"\n"
    yield from _lines(rows)
    yield b"]]"


def _lines(items: Iterable[bytes]) -> Iterator[bytes]:
    """Lines of so many items, with a comma before each line but the first."""
    items = iter(items)
    comma = b""
    while piece := list(itertools.islice(items, PIECE)):
        yield comma + b",".join(piece) + b"\n"
        comma = b","


def sections(lines: Iterable[bytes]) -> Iterator[tuple[int, bytes]]:
    """Some items at a time, as a JSON list, with the number of the list in the snapshot that they are of.

    Yields:
        The version first, as list 0; then items of the lists 1 to 6.

    Raises:
        msgspec.DecodeError: it is no snapshot, or ends too soon.
    """
    number = 0
    for line in lines:
        text = line.rstrip(b"\n")
        if not number:
            yield 0, text[1:-2]
            number = 1
        elif text == BETWEEN and number < LISTS:
            number += 1
        elif text == b"]]" and number == LISTS:
            return
        else:
            yield number, b"[%b]" % text.removeprefix(b",")
    msg = "the snapshot ends too soon"
    raise msgspec.DecodeError(msg)


def each(items: bytes) -> Iterator[bytes]:
    """The items of a JSON list, undecoded."""
    return map(bytes, _raw(items))


def name_of(account: bytes) -> str:
    """The name of an account, of which no more is decoded."""
    return _decode_name(account).id


def date_of(row: bytes) -> tuple[int, str]:
    """The day and the account of a report's row, of which no more is decoded."""
    begin = _decode_date(row)
    return begin.day, begin.account


class _Named(msgspec.Struct, array_like=True, gc=False):
    """The beginning of an account."""

    id: str


class _Dated(msgspec.Struct, array_like=True, gc=False):
    """The beginning of a report's row."""

    day: int
    account: str


def is_in_pieces(line: bytes) -> bool:
    """Whether a snapshot that begins with this line was written in pieces, as those of earlier versions were not."""
    return line.endswith(b",[\n")


_raw = msgspec.json.Decoder(list[msgspec.Raw]).decode
_decode_name = msgspec.json.Decoder(_Named).decode
_decode_date = msgspec.json.Decoder(_Dated).decode
decode_holds = msgspec.json.Decoder(list[Held | HeldInParts]).decode
decode_ended = msgspec.json.Decoder(list[Ended]).decode
