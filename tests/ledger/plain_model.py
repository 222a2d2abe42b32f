"""What the books would say if nothing could go wrong: verbs on plain dictionaries, and what must hold at any time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from ledgers import dump, replayed

from budgeted.ledger.accounts import CALLS, TOKENS, UNITS, USD, Amendment, LimitSpec, overlaps
from budgeted.ledger.journal import checked_lines, segment_files
from budgeted.ledger.journal.ledger import JournalLedger
from budgeted.ledger.memory.change_records import Held, Posted, parts_of
from budgeted.ledger.spending_records import Used

INVARIANTS = {
    1: "at every admission, for each account, spent + held + x <= limit; all accounts or none",
    2: "true cost is recorded, never clipped; then refusals",
    3: "held is the sum of the open holds; held and spent are integers and not negative",
    4: "snapshot and later lines = fold of the whole journal = balances",
    5: "the same id and amount gets the same answer, another amount an error; a hold ends at most once",
    6: "every hold ends settled, released or charged; none outlives its owner",
    7: "nothing is acknowledged before it is kept: every process sees it",
    8: "a torn last line is cut off, and nothing else",
    9: "a period is begun once; a clock set back never reopens one",
    10: "a limit that is lowered refuses until spend fits",
    11: "fork, restart and reload write no line twice",
}

DAY = 100
"""Seconds of a day here, so that examples see many."""

BEGINNING = 4_000_000_000
"""Far ahead of any real clock, which constructors go by before they can be given another."""

NOTHING = (0, 0, 0, 0, 0)


def day_of(at: int) -> int:
    """The number of the day that a call is reported under."""
    return (at - BEGINNING) // DAY + 20_000


class InvariantError(AssertionError):
    """An invariant does not hold; the text names it."""

    def __init__(self, number: int, found: object) -> None:
        super().__init__(f"invariant {number} is violated ({INVARIANTS[number]}): {found}")


def require(number: int, holds: bool, *found: object) -> None:
    """Raise unless an invariant holds."""
    if not holds:
        raise InvariantError(number, ", ".join(map(str, found)))


def require_equal(number: int, ledger: object, model: object, what: object = "") -> None:
    """Raise unless a ledger says what the model says."""
    if ledger != model:
        raise InvariantError(number, f"{what} the ledger has {ledger}, the model {model}")


@dataclass
class Limit:
    """A limit's running numbers."""

    unit: int
    amount: int
    start: int
    since: int
    end: int
    spent: int = 0
    window: int = 0
    keep: int = 0
    carried: int = 0
    raised: int = 0
    past: list[tuple[int, int]] = field(default_factory=list)
    """When a rolling limit was charged what."""

    @property
    def is_special(self) -> bool:
        return self.unit > CALLS or bool(self.window or self.keep or self.raised)

    @property
    def may_be_spent(self) -> int:
        return self.amount + self.carried + self.raised

    def roll(self, at: int) -> None:
        """Forget what a rolling limit was charged before its window."""
        if self.window:
            self.past = [one for one in self.past if one[0] + self.window > at]
            self.spent = sum(amount for _, amount in self.past)

    def charge(self, amount: int, at: int) -> None:
        """A charge that is made now."""
        self.roll(at)
        if self.window and amount:
            # A clock set back takes nothing out of the window.
            self.past.append((max([at, *(one for one, _ in self.past)]), amount))
        self.spent = max(0, self.spent + amount)

    def correct(self, amount: int, at: int, opened: int, charged: int) -> None:
        """A difference to a charge that was made at ``charged``, of a call that began at ``opened``."""
        if not self.window:
            self.spent = max(0, self.spent + amount)
        elif amount >= 0:
            self.charge(amount if charged + self.window > at else 0, at)
        else:
            self.roll(at)
            for i, (when, before) in enumerate(self.past):
                less = min(before, -amount) if when >= opened and opened + self.window > at else 0
                self.past[i], amount = (when, before - less), amount + less
            self.roll(at)


@dataclass
class Account:
    """An account: its limits by id, and what it was charged since its last reset."""

    limits: dict[str, Limit] = field(default_factory=dict)
    total: list[int] = field(default_factory=lambda: [0, 0, 0])
    belongs_to: str = ""
    stopped: str = ""


@dataclass
class Call:
    """A call: whom it is charged to, its hold, and what became of it. ``counts`` has the period of each limit.

    ``within`` is the id of the reservation that it has ``drawn`` nano-USD and tokens from; its own if it is one.
    """

    accounts: tuple[str, ...]
    bound: tuple[int, ...]
    at: int
    counts: dict[tuple[str, str], int]
    guess: Used | None = None
    state: str = "open"
    used: Used | None = None
    reason: str = ""
    charged: int = 0
    within: str = ""
    drawn: tuple[int, int] = (0, 0)

    @property
    def uncertain(self) -> bool:
        return self.state == "charged" and bool(self.reason)


def units(used: Used | None) -> tuple[int, ...]:
    if used is None:
        return NOTHING
    return used.usd, used.input_tokens + used.output_tokens, 1, used.input_tokens, used.output_tokens


class PlainModel:
    """Accounts, calls and the report's rows, in plain dictionaries."""

    def __init__(self) -> None:
        self.accounts: dict[str, Account] = {}
        self.calls: dict[str, Call] = {}
        self.rows: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0] * (len(UNITS) + 1))

    # -- what it says

    def open(self) -> Iterable[Call]:
        return [call for call in self.calls.values() if call.state == "open"]

    def held_by(self, name: str) -> int:
        return sum(call.bound[USD] for call in self.open() if name in call.accounts)

    def held(self, name: str, limit: str, start: int) -> int:
        unit = self.accounts[name].limits[limit].unit
        return sum(call.bound[unit] for call in self.open() if call.counts.get((name, limit)) == start)

    def is_past(self, counts: dict[tuple[str, str], int]) -> bool:
        """Whether one of these periods is over."""
        return any(self.accounts[name].limits[limit].start > start for (name, limit), start in counts.items())

    def is_special(self, counts: dict[tuple[str, str], int]) -> bool:
        """Whether one of these limits is more than an amount of USD, tokens or calls per period."""
        return any(self.accounts[name].limits[limit].is_special for name, limit in counts)

    def reservation(self, id: str) -> Call | None:
        """One that is open."""
        call = self.calls.get(id)
        return call if call is not None and call.state == "open" and call.within == id else None

    def reservation_for(self, within: str, accounts: tuple[str, ...]) -> Call | None:
        """What a call of these accounts may draw on."""
        around = self.reservation(within)
        return around if around is not None and set(around.accounts) <= set(accounts) else None

    def carried_into(self, name: str, limit: str, start: int) -> int:
        """What a limit has of what it did not spend in the periods before this one."""
        found = self.accounts[name].limits[limit]
        left = max(0, found.amount + found.carried - found.spent - self.held(name, limit, found.start))
        return min(found.keep, left + (start - found.end) // DAY * found.amount) if found.keep else 0

    def room(self, name: str, limit: str, start: int, at: int, around: Call | None = None) -> int:
        """What is left of a limit in a period, at a time, for a call that may draw on a reservation."""
        found = self.accounts[name].limits[limit]
        if found.start < start:
            return found.amount + self.carried_into(name, limit, start)
        now = replace(found)
        now.roll(at)
        set_aside = around.bound[now.unit] if around is not None and around.counts.get((name, limit)) == start else 0
        return now.may_be_spent - now.spent - self.held(name, limit, start) + set_aside

    def fits(
        self, counts: dict[tuple[str, str], int], bound: tuple[int, ...], at: int, around: Call | None = None
    ) -> bool:
        """Whether so much fits into all limits; what costs no money meets no limit of money."""
        return all(
            bound[unit] <= self.room(name, limit, start, at, around)
            for (name, limit), start in counts.items()
            if (unit := self.accounts[name].limits[limit].unit) != USD or bound[USD]
        )

    # -- the verbs

    def begin(self, counts: dict[tuple[str, str], int]) -> None:
        """Begin the periods that a call is the first of."""
        for (name, limit), start in counts.items():
            found = self.accounts[name].limits[limit]
            if found.start < start:
                found.carried, found.raised = self.carried_into(name, limit, start), 0
                found.start, found.spent = start, 0
                found.end = start + DAY

    def hold(self, id: str, call: Call) -> None:
        self.begin(call.counts)
        if call.state == "open":
            for name, limit in call.counts:
                self.accounts[name].limits[limit].roll(call.at)
        self.draw(call.within, *call.drawn)
        self.calls[id] = call

    def draw(self, id: str, usd: int, tokens: int) -> None:
        """Take so much out of a reservation, if it is open; less than nothing gives back."""
        around = self.reservation(id)
        if around is not None:
            around.bound = (max(0, around.bound[USD] - usd), max(0, around.bound[TOKENS] - tokens), 0, 0, 0)

    def end(self, id: str, used: Used | None, at: int, reason: str = "") -> None:
        """A hold ends, or the figure of a charge is replaced."""
        call = self.calls[id]
        was_open = call.state == "open"
        counted = dict(call.counts)
        if call.state != "open":
            for name in call.accounts:
                for limit, found in self.accounts.get(name, Account()).limits.items():
                    # A limit that came later, and that counts what was charged before.
                    if 0 <= found.since <= day_of(call.at) and found.start <= call.at < found.end:
                        counted.setdefault((name, limit), found.start)
        before, after = units(call.used), units(used)
        difference = [after[unit] - before[unit] for unit in range(len(UNITS))]
        uncertain = (after[USD] if reason else 0) - (before[USD] if call.reason else 0)
        for (name, limit), start in counted.items():
            found = self.accounts.get(name, Account()).limits.get(limit)
            if found is not None and found.start == start:
                if call.used is None:
                    found.charge(difference[found.unit], call.at if used is None else at)
                else:
                    found.correct(difference[found.unit], at, call.at, call.charged)
        for name in call.accounts:
            if name in self.accounts:
                total = self.accounts[name].total
                total[USD] = max(0, total[USD] + difference[USD])
                total[TOKENS] = max(0, total[TOKENS] + difference[TOKENS])
                total[CALLS] += difference[CALLS]
        for name in (*call.accounts, *overlaps(call.accounts)) if used is not None else ():
            row = self.rows[day_of(call.at), name]
            for unit, one in enumerate((*difference, uncertain)):
                row[unit] += one
        call.state = "released" if used is None else "charged"
        call.used, call.reason, call.charged = used, reason, at
        if was_open:
            self.draw(call.within, after[USD] - call.drawn[0], after[TOKENS] - call.drawn[1])

    def set_limits(self, name: str, specs: Sequence[LimitSpec]) -> None:
        account = self.accounts.get(name)
        known = account is not None
        if account is None:
            account = self.accounts[name] = Account()
        elif [(limit, one.amount, one.keep) for limit, one in account.limits.items()] == [
            (spec.limit, spec.amount, spec.keep) for spec in specs
        ]:
            return
        old, account.limits = account.limits, {}
        for spec in specs:
            limit = old.get(spec.limit)
            if limit is None:
                limit = Limit(spec.unit, spec.amount, spec.start, spec.since, spec.end)
                if known and spec.since >= 0:
                    limit.spent = self._spent_since(name, account, spec)
                    # What a rolling limit has not seen counts as if it was charged just now.
                    limit.past = [(spec.step, limit.spent)] if spec.window and limit.spent else []
                limit.window = spec.window
                self._take_in_flight(name, spec.limit, limit)
            limit.amount, limit.keep = spec.amount, spec.keep
            limit.carried = min(limit.carried, spec.keep)
            account.limits[spec.limit] = limit

    def may_raise(self, name: str, limit: str, start: int) -> bool:
        found = self.accounts.get(name, Account()).limits.get(limit)
        return found is not None and found.start <= start

    def amend(self, name: str, change: Amendment) -> None:
        account = self.accounts.setdefault(name, Account())
        account.belongs_to = account.belongs_to if change.belongs_to is None else change.belongs_to
        account.stopped = account.stopped if change.stopped is None else change.stopped
        if change.raised is not None:
            limit, amount, start, _ = change.raised
            self.begin({(name, limit): start})
            account.limits[limit].raised += amount

    def _spent_since(self, name: str, account: Account, spec: LimitSpec) -> int:
        in_rows = sum(row[spec.unit] for (day, owner), row in self.rows.items() if owner == name and day >= spec.since)
        total = account.total[spec.unit if spec.unit <= CALLS else TOKENS]
        return total if spec.since == 0 and spec.unit <= CALLS else min(total, in_rows)

    def _take_in_flight(self, name: str, id: str, limit: Limit) -> None:
        """Let a new limit count the holds that are open."""
        for call in self.open():
            if name not in call.accounts:
                continue
            start = call.counts.get((name, id))
            if start is None:
                if limit.since >= 0 and call.at >= limit.start:
                    call.counts[name, id] = limit.start
            elif start > limit.start:
                limit.start, limit.end, limit.spent = start, start + DAY, 0

    def reset(self, name: str) -> None:
        account = self.accounts.get(name)
        if account is not None:
            account.total = [0, 0, 0]
            for limit in account.limits.values():
                limit.spent, limit.past = 0, []

    def delete(self, name: str) -> None:
        self.accounts.pop(name, None)


# -- what must hold at any time


def check_invariants(ledger: Any, model: PlainModel) -> None:
    """Compare everything that a ledger says with the model, by the invariant that a difference violates."""
    accounts = {one.id: one for one in ledger.accounts(count=10**9)}
    holds = {one.id: one for one in ledger.open_holds()}
    require_equal(
        6, sorted(holds), sorted(id for id, call in model.calls.items() if call.state == "open"), "open holds"
    )
    check_sums(accounts.values(), holds.values())
    require_equal(7, sorted(accounts), sorted(model.accounts), "accounts")
    for name, account in model.accounts.items():
        found = accounts[name]
        require_equal(2, [found.usd, found.tokens, found.calls], account.total, f"charged to {name},")
        require_equal(3, found.held, model.held_by(name), f"held for {name},")
        slots = [(slot.limit, slot.amount, slot.terms.keep if slot.terms else 0) for slot in found.slots]
        limits = [(id, one.may_be_spent, one.keep) for id, one in account.limits.items()]
        require_equal(10, slots, limits, f"limits of {name},")
        others = account.belongs_to, account.stopped
        require_equal(7, (found.belongs_to, found.stopped), others, f"what else is known of {name},")
        for slot in found.slots:
            limit = account.limits[slot.limit]
            where = f"{name} {slot.limit},"
            require_equal(9, slot.start, limit.start, f"the period of {where}")
            require_equal(2, slot.spent, limit.spent, f"spent on {where}")
            require_equal(3, slot.held, model.held(name, slot.limit, limit.start), f"held on {where}")
    doubtful = {id: call.used for id, call in model.calls.items() if call.uncertain}
    require_equal(6, {one.id: one.used for one in ledger.uncertain()}, doubtful, "uncertain charges")
    rows: dict[tuple[int, str], list[int]] = defaultdict(lambda: [0] * (len(UNITS) + 1))
    for row in ledger.rollups():
        both = row.input_tokens + row.output_tokens
        for unit, one in enumerate((row.usd, both, row.calls, row.input_tokens, row.output_tokens, row.uncertain)):
            rows[row.day, row.account][unit] += one
    require_equal(2, dict(rows), dict(model.rows), "report rows")
    if isinstance(ledger, JournalLedger):
        check_journal(ledger)


def check_sums(accounts: Iterable[Any], holds: Iterable[Any]) -> None:
    """Invariant 3, by what the ledger itself says."""
    by_slot: dict[tuple[str, str, int, int], int] = defaultdict(int)
    by_account: dict[str, int] = defaultdict(int)
    for one in holds:
        _, _, _, legs = msgspec.json.decode(one.route)
        for account, limits in legs:
            by_account[account] += one.usd
            for limit, start, _ in limits:
                for unit, amount in enumerate(parts_of(one)):
                    by_slot[account, limit, start, unit] += amount
    for account in accounts:
        figures = (account.usd, account.tokens, account.calls, account.held)
        require(3, all(type(one) is int and one >= 0 for one in figures), account)
        require_equal(3, account.held, by_account[account.id], f"of the sum of {account.id}'s holds,")
        for slot in account.slots:
            require(3, type(slot.spent) is int and slot.spent >= 0, account.id, slot)
            total = by_slot[account.id, slot.limit, slot.start, slot.unit]
            require_equal(3, slot.held, total, f"of the sum of the holds on {account.id} {slot.limit},")


def check_journal(ledger: JournalLedger) -> None:
    """Invariants 4 and 11, by the files of a ledger."""
    directory = ledger.directory
    in_memory = dump(ledger)
    ledger.flush()  # or else a snapshot that is being written takes segments away meanwhile
    require(
        4, in_memory == replayed(directory), "the files fold to", replayed(directory), "and in memory is", in_memory
    )
    journals = segment_files.numbers(directory, "journal")
    if journals[0] == 1:
        require(4, in_memory == replayed(directory, whole=True), "the whole journal folds to something else")
    seen: set[str] = set()
    for number in journals:
        path = segment_files.journal_path(directory, number)
        for record in checked_lines.read(path.read_bytes(), 0, path, 0)[0]:
            if isinstance(record, Held | Posted):
                require(11, record.id not in seen, record.id, "is there twice")
                seen.add(record.id)
