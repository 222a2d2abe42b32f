"""What is kept in Redis, as MessagePack: accounts, holds and charges, to and from the structs of all ledgers."""

from __future__ import annotations

from typing import Literal

import msgspec

from budgeted.ledger.accounts import Account, Amendment, Slot
from budgeted.ledger.admission import Ask
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.memory.change_records import Held, HeldInParts, Posted, Settled
from budgeted.ledger.spending_records import Charge, RollupRow, Used

# Made once: every verb packs its arguments.
encode = msgspec.msgpack.Encoder().encode
decode = msgspec.msgpack.Decoder().decode


class StoredAccount(msgspec.Struct, array_like=True, gc=False):
    """An account's record."""

    id: str
    version: int
    explicit: bool
    slots: tuple[Slot, ...]
    usd: int
    tokens: int
    calls: int
    held: int
    models_since: int


class StoredAccountInFull(StoredAccount, array_like=True, gc=False):
    """That of an account that belongs to another one, or is stopped."""

    belongs_to: str = ""
    stopped: str = ""


class StoredRoute(msgspec.Struct, array_like=True, gc=False):
    """What is kept of a route."""

    day: int
    provider: str
    model: str
    legs: tuple[Leg, ...]


class StoredHold(msgspec.Struct, array_like=True, gc=False):
    """An open hold's record."""

    id: str
    at: int
    granted: int
    usd: int
    tokens: int
    guess: Used | Literal[False]
    owner: str
    route: StoredRoute


class StoredHoldInParts(StoredHold, array_like=True, gc=False):
    """That of a hold of which more is known; what all have, where ``output`` is less than nothing."""

    output: int = -1
    within: str = ""
    drawn: tuple[int, int] = (0, 0)

    def held(self) -> Held:
        """The hold as every ledger shows it."""
        route = msgspec.Raw(msgspec.json.encode(self.route))
        plain = Held(self.id, self.at, self.granted, self.usd, self.tokens, self.guess or None, route)
        return plain if self.output < 0 else in_parts(plain, self.output, self.within, self.drawn)


class StoredCharge(msgspec.Struct, array_like=True, gc=False):
    """The record of a hold that has ended."""

    id: str
    opened: int
    held: int
    route: StoredRoute | Literal[False]
    used: Used | Literal[False]
    at: int
    reason: str

    def charge(self) -> Charge:
        """The charge as every ledger shows it."""
        route = self.route or _NOWHERE
        return Charge(
            id=self.id,
            opened=self.opened,
            at=self.at,
            accounts=tuple(leg.account for leg in route.legs),
            provider=route.provider,
            model=route.model,
            used=self.used or Used(),
            held=self.held,
            reason=self.reason,
        )


def in_parts(hold: Held, output: int, within: str, drawn: tuple[int, int]) -> HeldInParts:
    """A hold of which more is known; see :class:`~budgeted.ledger.memory.change_records.HeldInParts`."""
    return HeldInParts(
        hold.id, hold.at, hold.granted, hold.usd, hold.tokens, hold.guess, hold.route, output, within, drawn
    )


def with_parts(
    plain: Held, usd: int, tokens: int, output: int, within: bytes, drawn_usd: int, drawn_tokens: int
) -> Held:
    """A hold of which the server has told more. One that calls have drawn on has less than was asked for."""
    guess = None if within.decode() == plain.id else plain.guess
    plain = msgspec.structs.replace(plain, usd=usd, tokens=tokens, guess=guess)
    return in_parts(plain, output, within.decode(), (drawn_usd, drawn_tokens))


_NOWHERE = StoredRoute(0, "", "", ())
_ReportRow = tuple[str, str, int, int, int, int, int]
_stored = msgspec.msgpack.Decoder(StoredAccountInFull)
_models = msgspec.msgpack.Decoder(dict[str, int])
_hold = msgspec.msgpack.Decoder(StoredHoldInParts)
_charge = msgspec.msgpack.Decoder(StoredCharge | Literal[False])
_correction = msgspec.msgpack.Decoder(tuple[int, StoredCharge | Literal[False]])
_rows = msgspec.msgpack.Decoder(tuple[_ReportRow, ...])
_route = msgspec.json.Decoder(StoredRoute)


def account_of(raw: bytes | None, models: bytes | None) -> Account | None:
    """The account that a record and its spending by model stand for; None where there is no record."""
    if raw is None:
        return None
    one = _stored.decode(raw)
    return Account(
        one.id,
        one.version,
        one.explicit,
        one.slots,
        one.usd,
        one.tokens,
        one.calls,
        one.held,
        None if models is None else _models.decode(models),
        one.models_since,
        one.belongs_to,
        one.stopped,
    )


def stored_account(one: Account) -> StoredAccount:
    """The record of an account that another ledger kept; the version is this one's to give."""
    figures = one.id, 0, one.explicit, one.slots, one.usd, one.tokens, one.calls, 0, one.models_since
    if one.belongs_to or one.stopped:
        return StoredAccountInFull(*figures, one.belongs_to, one.stopped)
    return StoredAccount(*figures)


def stored_charge(one: Charge, route: Route) -> StoredCharge:
    """The record of an uncertain charge that another ledger kept."""
    path = StoredRoute(route.day, route.provider, route.model, route.legs)
    return StoredCharge(one.id, one.opened, one.held, path, one.used, one.at, one.reason)


def stored_hold(one: Held, owner: str) -> StoredHold:
    """The record of a process's open hold."""
    path = _route.decode(one.route)
    guess: Used | Literal[False] = one.guess or False
    figures = one.id, one.at, one.granted, one.usd, one.tokens, guess, owner, path
    if isinstance(one, HeldInParts):
        return StoredHoldInParts(*figures, one.output, one.within, one.drawn)
    return StoredHold(*figures)


def stored_posting(one: Posted | Settled) -> StoredCharge:
    """The record of a charge by its route; without one where only its hold tells that."""
    path: StoredRoute | Literal[False] = _route.decode(one.route) if isinstance(one, Posted) else False
    return StoredCharge(one.id, one.at, 0, path, one.used, one.at, one.reason)


def hold_of(raw: bytes) -> Held:
    """The open hold that a record stands for."""
    return _hold.decode(raw).held()


def charge_of(raw: bytes) -> Charge | None:
    """The charge that a record stands for; None for ``false``, which says that nothing is known."""
    ended = _charge.decode(raw)
    return ended.charge() if ended else None


def correction_of(raw: bytes) -> tuple[int, Charge | None]:
    """How many verbs were done with a correction, and the charge as it was before; None if there was none."""
    count, before = _correction.decode(raw)
    return count, before.charge() if before else None


def report_rows(day: int, account: str, raw: bytes) -> list[RollupRow]:
    """An account's rows of a day."""
    return [RollupRow(day, account, *row) for row in _rows.decode(raw)]


def packed_ask(ask: Ask) -> tuple[object, ...]:
    """What a call may need, as the script of a hold takes it."""
    return (
        ask.usd,
        ask.usd_rate,
        ask.tokens,
        ask.tokens_rate,
        ask.least,
        ask.most,
        ask.whole,
        ask.uncertain_output,
        ask.share,
        ask.floor,
        *((ask.within,) if ask.within else ()),
    )


def packed_amendment(change: Amendment) -> tuple[object, ...]:
    """What changes of an account, as its script takes it: False leaves it, as a Lua array ends where it has a hole."""
    return tuple(False if part is None else part for part in (change.belongs_to, change.stopped, change.raised))


def packed_route(route: Route) -> msgspec.Raw:
    """A route as the scripts take it."""
    # What a hold keeps of it is a string in there, to be kept as it is: a `str 32`, since Redis 6 reads no `bin`.
    # False instead of None: a Lua array ends where it has a hole.
    kept = encode((route.day, route.provider, route.model, route.legs))
    string = msgspec.Raw(b"\xdb" + len(kept).to_bytes(4, "big") + kept)
    names = [leg.account for leg in route.legs]
    bounds = [
        (False, start, end, leg.account, limit, place)
        for place, leg in enumerate(route.legs, 1)
        for limit, start, end in leg.limits
    ]
    return msgspec.Raw(encode((string, names, route.versions, bounds, route.soft or False, route.around or False)))
