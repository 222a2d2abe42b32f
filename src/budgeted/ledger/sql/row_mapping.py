"""Rows of an SQL ledger as the structs that a ledger in memory works on, and back.

No text column takes a NUL, and names may hold one: it is written as an escape.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TypeAlias
from zlib import crc32

import msgspec
from msgspec import Raw

from budgeted.errors import LedgerCorruptError
from budgeted.ledger.accounts import Account, Slot
from budgeted.ledger.cost_routing import decode_route
from budgeted.ledger.memory.change_records import Held, HeldInParts, is_reservation
from budgeted.ledger.memory.daily_rollups import shortened
from budgeted.ledger.memory.ended_holds import Ended
from budgeted.ledger.spending_records import RollupRow, Used
from budgeted.ledger.sql.driver_interface import StoredRow, Value

_encode = msgspec.json.Encoder().encode
_slots = msgspec.json.Decoder(tuple[Slot, ...]).decode
_models = msgspec.json.Decoder(dict[str, int]).decode
_used = msgspec.json.Decoder(Used).decode
_parts = msgspec.json.Decoder(tuple[int, str, tuple[int, int]]).decode

RESERVATION = "reservation"
"""What the row of a hold says in ``parts`` that sets aside what others hold."""

LAST = chr(0x10FFFF)
LONGEST_ID = 256
"""Bytes that an account's name has at most."""

Row: TypeAlias = dict[str, Value]
"""A row as it is written: by the names of its columns."""


def written(text: str) -> str:
    """A name as it is stored."""
    if "\0" in text or "\\" in text:
        return text.replace("\\", "\\\\").replace("\0", "\\0")
    return text


def read(text: str) -> str:
    """A stored name as it was."""
    if "\\" in text:
        return "\\".join(part.replace("\\0", "\0") for part in text.split("\\\\"))
    return text


def behind(prefix: str) -> str:
    """The first text, by code points, that comes behind all that begin with a prefix."""
    last = prefix[-1:]
    if not last or last == LAST:
        return prefix + LAST * LONGEST_ID
    # No text has a surrogate.
    return prefix[:-1] + chr(0xE000 if last == "\ud7ff" else ord(last) + 1)


def payers(route: Raw) -> tuple[str, ...]:
    """The accounts of an encoded route."""
    _, _, _, legs = decode_route(bytes(route))
    return tuple(leg.account for leg in legs)


def seal(*values: Value) -> int:
    """The checksum of what a row says; never 0."""
    return crc32(_encode(values)) or 1


def _check(kind: str, id: str, wanted: int, *values: Value) -> None:
    if wanted and wanted != seal(*values):
        msg = f"the row of {kind} {id!r} is damaged, or was changed by hand; restore the database from a backup"
        raise LedgerCorruptError(msg)


def account_row(project: str, account: Account, *, gone: bool = False) -> Row:
    """An account's row."""
    row: Row = {
        "project": project,
        "id": written(account.id),
        "version": account.version,
        "explicit": int(account.explicit),
        "gone": int(gone),
        "slots": _encode(account.slots).decode(),
        "usd": account.usd,
        "tokens": account.tokens,
        "calls": account.calls,
        "held": account.held,
        "models": _encode(account.models).decode() if account.models else None,
        "models_since": account.models_since,
        "seal": 0,
        "belongs_to": written(account.belongs_to),
        "stopped": written(account.stopped),
    }
    row["seal"] = _account_seal(tuple(row.values())[1:])
    return row


def _account_seal(row: tuple[Value, ...]) -> int:
    """The seal of an account's row: what few have is sealed where they do, as earlier versions knew nothing of it."""
    return seal(*row[:11], *(row[12:14] if any(row[12:14]) else ()))


def account(row: StoredRow) -> Account:
    """The account of a row.

    Raises:
        LedgerCorruptError: it is not what was written.
    """
    id, version, explicit, _, slots, usd, tokens, calls, held, models, since, wanted, belongs_to, stopped = row[:14]
    _check("account", id, wanted, *row[:11], *(row[12:14] if any(row[12:14]) else ()))
    return Account(
        read(id),
        version,
        bool(explicit),
        _slots(slots),
        usd,
        tokens,
        calls,
        held,
        None if models is None else _models(models),
        since,
        read(belongs_to),
        read(stopped),
    )


def same(given: Row, row: StoredRow) -> bool:
    """Whether an account's row is what was read."""
    return tuple(given.values())[1:] == tuple(row[:14])


def is_gone(row: StoredRow) -> bool:
    """Whether the row is that of a deleted account."""
    return bool(row[3])


def hold_row(project: str, one: Held | Ended) -> Row:
    """The row of a hold, or of a charge that none came before."""
    row: Row = {
        "project": project,
        "id": written(one.id),
        "owner": written(one.id.partition(".")[0]),
        "route": bytes(one.route).decode(),
    }
    if isinstance(one, Held):
        row |= {
            "opened": one.at,
            "granted": one.granted,
            "usd": one.usd,
            "tokens": one.tokens,
            "guess": None if one.guess is None else _encode(one.guess).decode(),
            "ended": None,
            "used": None,
            "reason": "",
            "parts": _written_parts(one),
        }
    else:
        row |= {
            "opened": one.opened,
            "granted": 0,
            "usd": one.held,
            "tokens": 0,
            "guess": None,
            "ended": one.at,
            "used": None if one.used is None else _encode(one.used).decode(),
            "reason": written(one.reason.encode("utf-8", "replace").decode()),
            "parts": "",
        }
    row["seal"] = _hold_seal(*_of_hold(row))
    return row


_of_hold = itemgetter(
    "id", "owner", "opened", "granted", "usd", "tokens", "guess", "route", "ended", "used", "reason", "parts"
)


def _sealed(*values: Value) -> tuple[Value, ...]:
    """What of a hold's row is sealed: what was granted matters to none that has ended, and stays in its row."""
    id, owner, opened, granted, usd, tokens, guess, route, ended, used, reason, parts = values
    of_open = (granted, tokens, guess, *([parts] if parts else ())) if ended is None else ()
    return id, owner, opened, usd, route, ended, used, reason, *of_open


def _written_parts(one: Held) -> str:
    """What few holds have, as their row says it."""
    if is_reservation(one):
        return RESERVATION
    return _encode((one.output, one.within, one.drawn)).decode() if isinstance(one, HeldInParts) else ""


def _hold_seal(*values: Value) -> int:
    return seal(*_sealed(*values))


def hold(row: StoredRow) -> Held | Ended:
    """What a row says of a hold: that it is open, or how it ended.

    Raises:
        LedgerCorruptError: it is not what was written.
    """
    id, _, opened, granted, usd, tokens, guess, route, ended, used, reason, wanted, parts = row
    _check("hold", id, wanted, *_sealed(*row[:11], parts))
    raw = msgspec.Raw(route.encode())
    if ended is None and parts:
        more = (0, read(id), (0, 0)) if parts == RESERVATION else _parts(parts)
        charged = None if guess is None else _used(guess)
        return HeldInParts(read(id), opened, granted, usd, tokens, charged, raw, *more)
    if ended is None:
        return Held(read(id), opened, granted, usd, tokens, None if guess is None else _used(guess), raw)
    return Ended(read(id), opened, usd, raw, None if used is None else _used(used), ended, read(reason))


def guess(text: str | None) -> Used | None:
    """What an abandoned hold is charged."""
    return None if text is None else _used(text)


def report_row(project: str, row: RollupRow) -> Row:
    """A report's row, or what is to be added to it."""
    return {
        "project": project,
        "day": row.day,
        "account": written(row.account),
        "provider": written(shortened(row.provider)),
        "model": written(shortened(row.model)),
        "calls": row.calls,
        "usd": row.usd,
        "input_tokens": row.input_tokens,
        "output_tokens": row.output_tokens,
        "uncertain": row.uncertain,
    }


def report(row: StoredRow) -> RollupRow:
    """The report's row of a row."""
    day, account, provider, model, *figures = row
    return RollupRow(day, read(account), read(provider), read(model), *figures)
