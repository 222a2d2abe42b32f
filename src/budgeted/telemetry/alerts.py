"""Telling once when a share of a limit is spent, in whichever process it happens.

Two things are kept apart. *Noticing* is cheap and may happen in several processes: a call that settles subtracts its
cost from what its accounts had left to the next threshold when they were last looked at, and looks again when that is
used up; and twice a second the accounts that were charged are looked at anyway, as other processes spend as well.
*Telling* is done by whoever gets the ledger's one call of an account of its own, which has a limit of one call in the
limit's period: an atomic step that every ledger has. Who dies between getting it and telling has not settled that call,
so that it is given back, and the next one who looks tells. Each URL of ``alerts_to`` has such an account besides, as
not every process that shares the ledger need have been given that URL.
"""

from __future__ import annotations

import collections
import contextlib
import datetime as dt
import hashlib
import logging
from collections.abc import Iterable, Sequence
from fractions import Fraction

import msgspec
from opentelemetry.trace import Span

from budgeted.errors import LedgerError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import CALLS, USD, Account, LimitSpec, Slot, account_kind, account_name
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Leg, Route, Stale
from budgeted.ledger.interface import all_accounts
from budgeted.ledger.limit_conversion import limit_of, present, resets_at, rolls
from budgeted.ledger.spending_records import Used
from budgeted.limits.periods import local_time
from budgeted.money import to_usd
from budgeted.payers.payer_interface import Group, Payer
from budgeted.telemetry import counters, events
from budgeted.telemetry.forecast import exhausted_at, goes_by_recent, recent_rates

logger = logging.getLogger("budgeted")

SHORTEST_SECONDS = 3600
"""Limits of shorter periods are rates: reaching them is nothing to be woken for."""

MOST_WATCHED = 20_000
"""Accounts, and thresholds that were told of, that are kept in mind."""

FAR = 2**62

_CLAIM = Ask(uncertain_output=-1)
_DAY = 86_400


class Watch(msgspec.Struct, eq=False, gc=False):
    """How much one account can still be charged (nano-USD) until a threshold may be reached. Advisory: no lock."""

    account: str
    left: int = 0


class Alerts:
    """The alerts of one manager.

    Args:
        payer: whose accounts.
        shares: the shares of a limit at which to tell.
    """

    def __init__(self, payer: Payer, shares: Iterable[float]) -> None:
        self._payer = payer
        self._shares = [(share, Fraction(repr(share))) for share in sorted(set(shares))]
        self._watches: dict[str, Watch] = {}
        self._charged: collections.deque[Group] = collections.deque()
        self._told: set[str] = set()

    # -- noticing

    def charged(self, group: Group, cost: int, span: Span | None = None, timeout: float | None = 0) -> None:
        """The accounts of a group were charged.

        Args:
            group: the accounts.
            cost: nano-USD.
            span: the span of the call, or None.
            timeout: 0 where nothing may be waited for: the look, if one is due, is left to the background thread.
        """
        due = False
        for watch in group.watches or self._watch(group):
            watch.left = left = watch.left - cost
            if left <= 0:
                due = True
        if due:
            self._look_soon(group, span, timeout)
        if not group.noted:  # whichever of its accounts was looked at just now
            self._note(group)

    def learn(self, account: Account) -> None:
        """See what is left of an account that was just read, if it is a new one.

        It is looked at when it is charged, where a threshold may have been reached already, or is not one of USD.
        """
        if account.id in self._watches:
            return
        left, (_, least) = FAR, self._shares[0]
        for slot in account.slots:
            if slot.unit != USD or slot.terms is not None:
                return
            if slot.amount > 0 and slot.end - slot.start >= SHORTEST_SECONDS:
                left = min(left, -(-slot.amount * least.numerator // least.denominator) - slot.spent)
        self._room()[account.id] = Watch(account.id, left)

    def _room(self) -> dict[str, Watch]:
        """What is watched, with room for more."""
        if len(self._watches) >= MOST_WATCHED:
            self._watches = {}
        return self._watches

    def _watch(self, group: Group) -> Sequence[Watch]:
        """What watches the accounts of a group: one that nobody knows has nothing left, and is looked at."""
        watches = self._room()
        group.watches = found = tuple([watches.setdefault(name, Watch(name)) for name in group.everybody()])
        return found

    def _note(self, group: Group) -> None:
        """Have a group's accounts looked at within half a second, as others charge them too."""
        group.noted = True
        self._charged.append(group)
        background_worker.later(self)

    def _look_soon(self, group: Group, span: Span | None, timeout: float | None) -> None:
        """Look now at the accounts that have nothing left, or beside where the caller may not wait."""
        due = [watch.account for watch in self._watch(group) if watch.left <= 0]
        if timeout == 0 or self._payer.ledger.remote:
            background_worker.enqueue(lambda: self._look_quietly([group], due, span))
        else:
            self._look_quietly([group], due, span)

    def _look_quietly(self, groups: Sequence[Group], accounts: Iterable[str], span: Span | None = None) -> None:
        """Look, and if the ledger is away, again at the next round. No trouble here is the calls' trouble."""
        try:
            self._look(accounts, span)
        except LedgerError:
            self._charged.extend(groups)
            background_worker.later(self)
        except Exception:
            logger.exception("budgeted: alerts of %r cannot be given", self._payer)

    def upkeep(self) -> None:
        """Look at the accounts that were charged since the last time."""
        groups: list[Group] = []
        with contextlib.suppress(IndexError):  # whoever drains looks, too, beside the background thread
            while True:
                groups.append(self._charged.popleft())
        for group in groups:
            group.noted = False
        self._look_quietly(groups, {name for group in groups for name in group.everybody()})

    def _look(self, accounts: Iterable[str], span: Span | None = None) -> None:
        for name in accounts:
            account = self._payer.ledger.read(name)
            if account is not None:
                self._look_at(account, span)

    def _look_at(self, account: Account, span: Span | None) -> None:
        left, at = FAR, self._payer.clock()
        for one in account.slots:
            # A period that has ended just now is told of as it was.
            slot = present(one, at, self._payer.timezone) if rolls(one) else one
            start, end = _told_once_in(slot, at)
            if slot.amount <= 0 or end - start < SHORTEST_SECONDS:
                continue
            for share, exact in self._shares:
                missing = -(-slot.amount * exact.numerator // exact.denominator) - slot.spent
                if missing <= 0:
                    self._reached(account, slot, share, span)
                elif slot.unit == USD and missing < left:
                    left = missing
        watch = self._watches.get(account.id)
        if watch is not None:
            watch.left = left

    # -- telling

    def _reached(self, account: Account, slot: Slot, share: float, span: Span | None) -> None:
        claim = _claim(account.id, slot, share)
        start, end = _told_once_in(slot, self._payer.clock())
        once = f"{claim} {start}"
        if once in self._told:
            return
        id = self._get(claim, start, end)
        if id is not None:
            self._tell(account, slot, share, span)
            self._payer.ledger.settle(id, Used(), int(self._payer.clock()))
        webhooks = self._payer.webhooks
        for to in () if webhooks is None else webhooks.for_alerts:
            id = self._get(f"{claim}.{to}", start, end)
            if id is not None and webhooks is not None:
                webhooks.send(to, self._event(account, slot, share))
                self._payer.ledger.settle(id, Used(), int(self._payer.clock()))
        if len(self._told) >= MOST_WATCHED:
            self._told.clear()
        self._told.add(once)

    def _get(self, claim: str, start: int, end: int) -> str | None:
        """Get the one call that the ledger has for this in a time; its id, or None if somebody else has got it."""
        ledger, at = self._payer.ledger, int(self._payer.clock())
        while True:
            spec = LimitSpec("alert", CALLS, 1, start, end)
            ledger.set_limits(claim, [spec], explicit=False, create=True)
            mine = ledger.read(claim)
            if mine is None or mine.slots[0].start > start:
                return None
            leg = Leg(claim, (("alert", start, end),))
            id: str = ledger.new_id()
            found = ledger.hold(id, Route.make([leg], [mine.version], at // _DAY, "", ""), _CLAIM, at)
            if not isinstance(found, Stale):
                return None if isinstance(found, Refused) else id

    def _tell(self, account: Account, slot: Slot, share: float, span: Span | None) -> None:
        event = self._event(account, slot, share)
        counters.alert(event.project, event.account_kind, share)
        who = "the global budget" if event.account_kind == "global" else f"a {event.account_kind}"
        text = "budgeted: %s has spent %g%% of %s"
        events.report(event, [self._payer], text, who, share * 100, event.limit, span=span)

    def _event(self, account: Account, slot: Slot, share: float) -> events.Event:
        payer = self._payer
        limit = limit_of(slot)
        at = payer.clock()
        ends = resets_at(slot, at)
        money = to_usd if slot.unit == USD else float
        return events.Event(
            kind="alert",
            at=local_time(at, payer.timezone),
            project=payer.project_name,
            account=account_name(account.id),
            account_kind=account_kind(account.id),
            limit=str(limit),
            unit=limit.unit,
            amount=money(slot.amount),
            spent=money(slot.spent),
            held=money(slot.held),
            remaining=money(max(0, slot.amount - slot.spent - slot.held)),
            threshold=share,
            resets_at=None if ends is None else local_time(ends, payer.timezone),
            exhausted_at=self._exhausted_at(account, slot, at),
        )

    def _exhausted_at(self, account: Account, slot: Slot, at: float) -> dt.datetime | None:
        payer = self._payer
        recent = recent_rates(payer.ledger, at, payer.timezone, account.id) if goes_by_recent(slot) else {}
        return exhausted_at(slot, at, payer.timezone, recent.get(account.id))

    def forget(self, account: Account | None) -> None:
        """What an account has spent is being forgotten: tell again when it is spent anew."""
        if account is None:
            return
        for slot in account.slots:
            for share, _ in self._shares:
                claim = _claim(account.id, slot, share)
                self._told.discard(f"{claim} {_told_once_in(slot, self._payer.clock())[0]}")
                # Also those for URLs that only other processes know.
                for found in list(all_accounts(self._payer.ledger, claim)):
                    self._payer.ledger.delete(found.id)


def _told_once_in(slot: Slot, at: float) -> tuple[int, int]:
    """The time in which a limit's thresholds are told of once: its period; of one that rolls, as long as it looks back.

    All processes agree on it: they would each tell otherwise.
    """
    if slot.terms is None or not slot.terms.window:
        return slot.start, slot.end
    start = int(at) - int(at) % slot.terms.window
    return start, start + slot.terms.window


def _claim(account: str, slot: Slot, share: float) -> str:
    """The account whose one call says who tells. A raised limit is another one, of which nobody was told."""
    text = f"{account}\n{slot.limit}\n{slot.amount}\n{share!r}"
    return "a:" + hashlib.blake2b(text.encode(), digest_size=16).hexdigest()
