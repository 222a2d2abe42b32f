"""The balances of a ledger that lives in this process: a fold over its records, and nothing else.

The caller holds the ledger's lock. Replaying a journal, catching up with other processes and applying a decision
just made are the same methods, so that they cannot disagree. Accounts and limits are found by their names alone:
a hold counts on whatever bears the names of its route, now as after a restart.
"""

from __future__ import annotations

import copy
import io
import itertools
import sys
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import msgspec

from budgeted.ledger import limit_terms
from budgeted.ledger.accounts import CALLS, Account, Amendment, LimitSpec, Slot, stated_amount
from budgeted.ledger.memory import ended_holds, snapshot
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
    parts_of,
)
from budgeted.ledger.memory.daily_rollups import Reports
from budgeted.ledger.memory.ended_holds import Charges, Ended
from budgeted.ledger.memory.new_limits import count_in, hold_in, put_back, spent_since
from budgeted.ledger.memory.reservations import Reservations
from budgeted.ledger.memory.resolved_routes import BoundRoute, charged_apart, held_apart, with_later_limits
from budgeted.ledger.memory.route_sums import RouteSums
from budgeted.ledger.memory.snapshot import Frozen, Saved
from budgeted.ledger.memory.sorted_names import SortedNames
from budgeted.ledger.spending_records import RollupRow, Used

MOST_UNFOLDED = 200
"""Charges after which they are added to accounts and the report's rows, though nobody has looked at these."""

_NOTHING = Used()


class State(Reservations):
    """Accounts, open holds, what became of ended ones, and report rows, by the records applied so far.

    ``applied`` counts those records. ``version`` is the newest version of an account.
    """

    def __init__(self) -> None:
        super().__init__()
        self.charges = Charges()
        self.reports = Reports()
        self.version = 0
        self.applied = 0
        self.charged: list[tuple[RouteSums, Used, int, int]] = []
        """What routes were charged since the last :meth:`fold`: the charge, calls, and nano-USD that are uncertain."""
        self._changed: list[RouteSums] = []
        self._gone: set[str] = set()
        """Deleted accounts that holds were open for."""

    # -- looking up

    def held(self) -> dict[str, int]:
        """Nano-USD that accounts have held for calls in flight. Not kept: few look, and many calls hold."""
        found: dict[str, int] = {}
        for held, bound in self.holds.values():
            for name in bound.names:
                found[name] = found.get(name, 0) + held.usd
        return found

    def held_by(self, account: str) -> int:
        """Nano-USD that one account has held for calls in flight."""
        return sum([held.usd for held, bound in self.holds.values() if account in bound.names])

    def knows(self, id: str) -> bool:
        """Whether a hold of that id is open, or has ended lately."""
        # As Charges.__contains__ has it, without a call of it: every hold asks.
        ended = self.charges
        return id in self.holds or id in ended.latest or id in ended.before or id in ended.uncertain

    # -- the changes

    def apply(self, record: Record) -> None:
        """Make the change that a record tells of."""
        self.replay((record,))

    def replay(self, records: Iterable[Record]) -> None:
        """Make the changes that records tell of, one after the other."""
        # Holds and charges are nearly all of a journal, so they come first and are applied without a call in between.
        for record in records:
            if isinstance(record, Held):
                route = bytes(record.route)
                bound = self.bounds.get(route) or self.bind(route)
                record.route = bound.raw  # shared by all holds of the route
                if bound.periods != self.periods or not bound.live:
                    self.meet(bound)
                if record.__class__ is Held and not bound.others:
                    self.open(record, bound)
                else:
                    self.open_apart(record, bound)
                continue
            if isinstance(record, Settled):
                entry = self.holds.get(record.id)
                if entry is None:
                    self._correct(record.id, record.at, record.used, record.reason)
                else:
                    self.close(entry, record.at, record.used, record.reason)
            else:
                _APPLY[record.__class__](self, record)
            if len(self.charged) >= MOST_UNFOLDED:
                self.fold()

    def meet(self, bound: BoundRoute) -> None:
        """Begin the periods that a call is the first of, and see which of its slots are in its periods."""
        if any(slot.start < start for slot, start, _ in bound.slots):
            self.fold()  # what was charged per model belongs to the period that ends
            self.periods += 1
            for slot, start, end in bound.slots:
                if slot.start < start:
                    limit_terms.begin_period(slot, start, end)
        bound.meet(self.periods)

    def open(self, held: Held, bound: BoundRoute) -> None:
        """A hold was granted, as most are: count it on every limit of its route, whose periods have begun."""
        usd = held.usd
        last: Slot | None = None
        try:
            self.holds[held.id] = held, bound
            for last in bound.usd:
                last.held += usd
            for last in bound.tokens:
                last.held += held.tokens
            for last in bound.calls:
                last.held += 1
            self.applied += 1
        except BaseException:  # see _book
            self.open(held, bound.behind(last))
            self.holds[held.id] = held, bound
            raise

    def open_apart(self, held: Held, bound: BoundRoute) -> None:
        """The same of a hold that more has to be known of, or on limits that few have."""
        if isinstance(held, HeldInParts):
            self.draw(held.within, *held.drawn)
        self._count_apart(held, bound)

    def _count_apart(self, held: Held, bound: BoundRoute) -> None:
        parts, others = parts_of(held), held_apart(held, bound)
        last: Slot | None = None
        try:
            self.holds[held.id] = held, bound
            for last in (*bound.usd, *bound.tokens, *bound.calls):
                last.held += parts[last.unit]
            for last, amount, spent, terms in others:
                last.held += amount
                last.spent = spent
                last.terms = terms
            self.applied += 1
        except BaseException:  # see _book
            self._count_apart(held, bound.behind(last))
            self.holds[held.id] = held, bound
            raise

    def close(self, entry: tuple[Held, BoundRoute], at: int, used: Used, reason: str = "") -> None:
        """Charge an open hold."""
        held, bound = entry
        # Accounts or limits have come or gone since the hold: its names may mean other objects now.
        if bound.generation != self._generation:
            bound = self.bind(bytes(held.route))
        ended = Ended(held.id, held.at, held.usd, held.route, used, at, reason)
        self._book(ended, bound, held, used, used.usd if reason else 0, used.calls)
        if held.__class__ is not Held:
            self.give_back(held, used)

    def release(self, id: str) -> None:
        """Drop an open hold."""
        entry = self.holds.get(id)
        if entry is None:
            self.applied += 1
            return
        held, bound = entry
        if bound.generation != self._generation:
            bound = self.bind(bytes(held.route))
        self._book(Ended(id, held.at, held.usd, held.route, None, held.at), bound, held, _NOTHING, 0, 0)
        if held.__class__ is not Held:
            self.give_back(held, _NOTHING)

    def post(self, id: str, at: int, used: Used, route: bytes, reason: str = "") -> None:
        """A charge that no hold came before."""
        bound = self.bind(route)
        self.meet(bound)
        self._book(
            Ended(id, at, 0, bound.raw, used, at, reason), bound, None, used, used.usd if reason else 0, used.calls
        )

    def _correct(self, id: str, at: int, used: Used, reason: str) -> None:
        ended = self.charges.get(id)
        if ended is None:
            self.applied += 1
            return
        self.fold()  # differences may be negative, and no total is: each is added on its own
        before = ended.used or _NOTHING
        difference = Used(
            used.usd - before.usd, used.input_tokens - before.input_tokens, used.output_tokens - before.output_tokens
        )
        self._book(
            Ended(id, ended.opened, ended.held, ended.route, used, at, reason),
            with_later_limits(self.bind(bytes(ended.route)), ended.opened),
            None,
            difference,
            (used.usd if reason else 0) - (before.usd if ended.reason else 0),
            used.calls - (0 if ended.used is None else ended.used.calls),
            None if ended.used is None else (ended.opened, ended.at),
        )
        self.fold()

    def _book(
        self,
        ended: Ended,
        bound: BoundRoute,
        closing: Held | None,
        used: Used,
        uncertain: int,
        calls: int,
        charged: tuple[int, int] | None = None,
    ) -> None:
        """End a hold: off its limits with what it held, on with what it is charged; an ended period is left alone.

        What is charged may be a difference to an earlier charge: ``charged`` is when its call began, and when it was
        charged last, in unix seconds. No limit is credited with more than was spent on it.
        """
        usd = used.usd
        held_usd = held_tokens = held_calls = 0
        if closing is not None:
            held_usd, held_tokens, held_calls = closing.usd, closing.tokens, 1
            if closing.__class__ is not Held:
                held_calls = parts_of(closing)[CALLS]
        last: Slot | None = None
        if bound.periods != self.periods:
            bound.meet(self.periods)
        others = charged_apart(ended, bound, closing, used, calls, charged) if bound.others else ()
        id, charges = ended.id, self.charges
        latest = charges.latest
        try:
            self.holds.pop(id, None)
            if ended.reason or charges.uncertain or len(latest) > ended_holds.REMEMBERED:
                charges.put(ended)
            else:  # as nearly always: in one step
                latest[id] = ended
            for last in bound.usd:
                last.held -= held_usd
                spent = last.spent + usd
                last.spent = spent if spent > 0 else 0
            for last in bound.tokens:
                last.held -= held_tokens
                spent = last.spent + used.input_tokens + used.output_tokens
                last.spent = spent if spent > 0 else 0
            for last in bound.calls:
                last.held -= held_calls
                spent = last.spent + calls
                last.spent = spent if spent > 0 else 0
            for last, amount, spent, terms in others:
                last.held -= amount
                last.spent = spent
                last.terms = terms
            entry = bound.sums, used, calls, uncertain
            self.applied += 1
        except BaseException:
            # A signal's handler raised. Handlers run between two rounds of a loop and behind calls, never within a
            # round, so that the rest is what comes behind the last slot: it is done, then the exception goes on.
            # What calls did before the loop can be done twice.
            self._book(ended, bound.behind(last), closing, used, uncertain, calls, charged)
            raise
        if used is not _NOTHING:
            self.charged.append(entry)

    def may_amend(self, account_id: str, change: Amendment) -> bool:
        """Whether a limit that is to be raised for a period is there, and has begun no later one."""
        if change.raised is None:
            return True
        id, _, start, _ = change.raised
        account = self.accounts.find(account_id)
        return account is not None and any(slot.limit == id and slot.start <= start for slot in account.slots)

    def amend(self, account_id: str, change: Amendment) -> None:
        """Change something of an account besides its limits."""
        self.fold()
        found = self.accounts.find(account_id)
        account = Account(account_id) if found is None else found
        if change.belongs_to is not None:
            account.belongs_to = change.belongs_to
        if change.stopped is not None:
            account.stopped = change.stopped
        if change.raised is not None:
            id, amount, start, end = change.raised
            for slot in account.slots:
                if slot.limit == id:
                    if slot.start < start:
                        limit_terms.begin_period(slot, start, end)
                        self.periods += 1
                    limit_terms.raise_for_period(slot, amount)
        self._keep_changed(account, [], known=found is not None)
        self.applied += 1

    def fold(self) -> None:
        """Add what was charged to accounts and the report's rows; whoever reads these does so first."""
        charged = self.charged
        while charged:
            # Looked at first and taken off last: what an exception leaves is still to be added.
            sums, used, calls, uncertain = charged[-1]
            if not sums.listed:
                self._changed.append(sums)
            # No call and no loop from here to the pop: no signal's handler comes in between.
            sums.listed = True
            sums.calls += calls
            sums.usd += used.usd
            sums.input_tokens += used.input_tokens
            sums.output_tokens += used.output_tokens
            sums.uncertain += uncertain
            charged.pop()
        changed = self._changed
        while changed:
            sums = changed[-1]
            find = self.reports.row
            rows = tuple([find(sums.day, name, sums.provider, sums.model) for name in sums.names])
            sums.add_to(sums.accounts, rows)
            sums.listed = False
            changed.pop()
        self.reports.rest()

    def set_limits(self, account_id: str, limits: Sequence[LimitSpec], *, explicit: bool) -> None:
        """Replace an account's limits; those it has keep their numbers, new ones count what they are told to."""
        self.fold()
        account = self.accounts.find(account_id)
        known = account is not None
        if account is None:
            account = Account(account_id)
        old = {slot.limit: slot for slot in account.slots}
        slots, new = [], []
        for spec in limits:
            slot = old.get(spec.limit)
            if slot is None:
                slot = Slot(sys.intern(spec.limit), spec.unit, spec.amount, spec.start, spec.end, since=spec.since)
                if known and spec.since >= 0:
                    limit_terms.begin_with(slot, spec, spent_since(account, spec, self.reports))
                new.append((slot, spec.since >= 0))
            limit_terms.restate(slot, spec)
            slots.append(slot)
        account.explicit = account.explicit or explicit
        account.slots = tuple(slots)
        self._keep_changed(account, new, known=known)
        self.applied += 1

    def _keep_changed(self, account: Account, new: list[tuple[Slot, bool]], *, known: bool) -> None:
        """Keep an account that is new, or is another one for those who pay with it from now on.

        Args:
            account: what it is now.
            new: limits that it did not have, each with whether it also counts holds that were opened without it.
            known: whether it was there.
        """
        account_id = account.id
        self.version += 1
        account.version = self.version
        self.order.add(account_id)
        self.accounts[account_id] = account
        revived = account_id in self._gone
        if known or revived or account_id in self._absent:
            self._forget_bounds()
        if (known and new) or revived:
            self._gone.discard(account_id)
            self._take_in_flight(account_id, new)
        if account_id not in self._uses:
            self.accounts.cool(account_id)

    def set_periods(self, account_id: str, limits: Sequence[LimitSpec]) -> None:
        """Have limits that have begun a later period be in these again, with the holds that are open."""
        self.fold()
        account = self.accounts.find(account_id)
        if account is not None:
            moved = put_back(account, limits, self.reports)
            self.version += 1
            account.version = self.version
            self.accounts[account_id] = account
            self._forget_bounds()
            self._used(account_id)
            for id, (held, bound) in self.holds.items():
                if account_id in bound.names:
                    held = hold_in(held, account_id, moved)  # noqa: PLW2901
                    self.holds[id] = held, self.bind(bytes(held.route))
            self.periods += 1
            self._unused(account_id)
        self.applied += 1

    def same_limits(self, account_id: str, limits: Sequence[LimitSpec], *, explicit: bool) -> bool:
        """Whether an account has exactly these limits already."""
        account = self.accounts.find(account_id)
        return (
            account is not None
            and (account.explicit or not explicit)
            and [(slot.limit, stated_amount(slot), slot.terms.keep if slot.terms else 0) for slot in account.slots]
            == [(spec.limit, spec.amount, spec.keep) for spec in limits]
        )

    def reset(self, account_id: str) -> None:
        """Forget what an account has spent; what is held stays."""
        self.fold()
        account = self.accounts.find(account_id)
        if account is not None:
            account.usd = account.tokens = account.calls = 0
            account.models = None
            for slot in account.slots:
                limit_terms.forget_spent(slot)
            self._put_back(account)
        self.applied += 1

    def _put_back(self, account: Account) -> None:
        """Keep what was changed of an account, which nobody may use."""
        self.accounts[account.id] = account
        if account.id not in self._uses:
            self.accounts.cool(account.id)

    def delete(self, account_id: str) -> None:
        """Forget an account. Calls in flight are charged to the others, or to whoever bears the name by then."""
        self.fold()
        self.accounts.pop(account_id)
        self.order.discard(account_id)
        if any(account_id in bound.names for _, bound in self.holds.values()):
            self._gone.add(account_id)
        self._forget_bounds()
        self.applied += 1

    def restore(self, accounts: Iterable[Account], rows: Iterable[RollupRow], charges: Iterable[Ended]) -> None:
        """Have these accounts, rows and uncertain charges, instead of those of the same names; nothing is counted."""
        self.fold()
        for account in accounts:
            self.version += 1
            self.order.add(account.id)
            self.accounts[account.id] = msgspec.structs.replace(
                account,
                version=self.version,
                slots=tuple(map(copy.copy, account.slots)),
                models=dict(account.models) if account.models else None,
            )
        for row in rows:
            self.reports.put(row)
        self._forget_bounds()
        for ended in charges:
            self.charges.put(ended)
        self.applied += 1

    def prune(self) -> None:
        """Drop old report rows. Every process does so at the same line of the journal."""
        self.fold()
        if self.reports.prune():
            self._forget_bounds()

    def _take_in_flight(self, account: str, new: list[tuple[Slot, bool]]) -> None:
        """Let new limits count the holds that the account has open.

        Args:
            account: whose limits they are.
            new: each with whether it also counts holds that were opened without it.
        """
        self._used(account)  # or else it might be packed, and these be no limits of it any more
        for id, (held, bound) in self.holds.items():
            if account not in bound.names:
                continue
            for slot, catches_up in new:
                held = count_in(held, account, slot, catches_up=catches_up)  # noqa: PLW2901
            # To replace what a key has does not disturb the loop.
            self.holds[id] = held, self.bind(bytes(held.route))
        self.periods += 1
        self._unused(account)

    # -- snapshots

    def encode(self) -> bytes:
        """Everything that a later start has to know, as JSON."""
        self.fold()
        accounts = map(self.accounts.packed, sorted(self.accounts.names()))
        rows = (store.packed(name) for store in self.reports.stores() for name in store.names())
        return b"".join(snapshot.pieces(self.version, accounts, self._kept(), rows))

    def freeze(self, lock: threading.Lock) -> Frozen | None:
        """The same in pieces, beside the lock: what it is now, however it goes on. None while one is not thawed."""
        if self.accounts.is_frozen or self.reports.is_frozen():
            return None
        self.fold()
        self._begin_generation()
        self.accounts.freeze()
        self.reports.freeze()
        return Frozen(self.version, self._kept(), self.accounts, self.reports.stores(), lock)

    def _kept(self) -> tuple[Sequence[Held | Ended], ...]:
        charges = self.charges
        return (
            [held for held, _ in self.holds.values()],
            list(charges.uncertain.values()),
            list(charges.latest.values()),
            list(charges.before.values()),
        )

    @classmethod
    def decode(cls, data: bytes) -> State:
        """The state that :meth:`encode` wrote."""
        return cls.read(io.BytesIO(data))

    @classmethod
    def read(cls, lines: Iterable[bytes]) -> State:
        """The same from a file's lines.

        Raises:
            msgspec.DecodeError: it is no snapshot.
        """
        lines = iter(lines)
        first = next(lines, b"")
        state = cls()
        if snapshot.is_in_pieces(first):
            state._read_pieces(itertools.chain((first,), lines))
        else:
            state._read_whole(snapshot.decode(b"".join((first, *lines))))
        return state

    def _read_whole(self, saved: Saved) -> None:
        self.version = saved.version
        for account in saved.accounts:
            for slot in account.slots:
                slot.limit = sys.intern(slot.limit)
            self.accounts[account.id] = account
        self.order = SortedNames(account.id for account in saved.accounts)
        self.reports = Reports(saved.rows)
        routes: dict[bytes, msgspec.Raw] = {}
        for ended in (*saved.uncertain, *saved.latest, *saved.before):
            ended.route = _shared(ended.route, routes)
        self.charges = Charges(saved.uncertain, saved.latest, saved.before)
        self._read_holds(saved.holds)

    def _read_pieces(self, lines: Iterable[bytes]) -> None:
        names: dict[str, str] = {}  # one string for all that name an account
        routes: dict[bytes, msgspec.Raw] = {}
        ended: tuple[list[Ended], ...] = [], [], []
        for number, items in snapshot.sections(lines):
            match number:
                case 0:
                    self.version = msgspec.json.decode(items, type=int)
                case 1:
                    for data in snapshot.each(items):
                        name = snapshot.name_of(data)
                        self.accounts.load(name, data)
                        names[name] = name
                case 2:
                    self._read_holds(snapshot.decode_holds(items))
                case 6:
                    for data in snapshot.each(items):
                        day, name = snapshot.date_of(data)
                        self.reports.load(day, names.setdefault(name, name), data)
                case _:
                    for one in snapshot.decode_ended(items):
                        one.route = _shared(one.route, routes)
                        ended[number - 3].append(one)
        self.order = SortedNames(self.accounts.names())
        self.charges = Charges(*ended)

    def _read_holds(self, holds: Iterable[Held]) -> None:
        for held in holds:
            bound = self.bind(bytes(held.route))
            held.route = bound.raw
            self.holds[held.id] = held, bound
            self._gone.update(name for name in bound.names if name not in self.accounts)


def _shared(route: msgspec.Raw, known: dict[bytes, msgspec.Raw]) -> msgspec.Raw:
    """A route of its own, which many charges share: one that was read would keep all that was read with it."""
    data = bytes(route)
    found = known.get(data)
    if found is None:
        found = known[data] = msgspec.Raw(data)
    return found


_APPLY: dict[type[Record], Callable[[State, Any], None]] = {
    Released: lambda state, record: state.release(record.id),
    Posted: lambda state, record: state.post(record.id, record.at, record.used, bytes(record.route), record.reason),
    LimitsSet: lambda state, record: state.set_limits(record.account, record.limits, explicit=record.explicit),
    WasReset: lambda state, record: state.reset(record.account),
    Amended: lambda state, record: state.amend(record.account, record.change),
    PeriodsSet: lambda state, record: state.set_periods(record.account, record.limits),
    Deleted: lambda state, record: state.delete(record.account),
    Restored: lambda state, record: state.restore(record.accounts, record.rows, record.charges),
}
