"""What a block sets aside when it is entered: its cap, or a share of what the budgets around it have left."""

from __future__ import annotations

import functools
import math
import os
import threading
from collections.abc import Container
from decimal import Decimal
from fractions import Fraction
from itertools import compress

from budgeted.errors import BudgetExceededError, LedgerError, LedgerLockedError, LedgerUnavailableError
from budgeted.ledger import background_worker
from budgeted.ledger.accounts import TOKENS, USD, account_kind
from budgeted.ledger.admission import Ask, Refused
from budgeted.ledger.cost_routing import Leg, Route, Stale
from budgeted.ledger.limit_conversion import ledger_unit
from budgeted.limits.limit_ids import unit_of_id
from budgeted.metering import block_hold, ledger_hold, runner
from budgeted.metering.blocking_limit import by_cap, by_ledger, error_of
from budgeted.metering.ledger_hold import MOST_PLANS, LedgerHold
from budgeted.payers import swallowed_refusals
from budgeted.payers.block import Budget
from budgeted.payers.block_figures import BlockFigures, Taken, caps_lock, reserving, shared_caps
from budgeted.payers.cap_slots import CapSlot
from budgeted.payers.cap_text import Cap
from budgeted.payers.payer_interface import Group, Payer
from budgeted.payers.scope import Scope, always, paying, with_shared_caps
from budgeted.validation import check_yes_or_no, shown


class _Part:
    """What one entering of a block has set aside, until it is given back.

    Args:
        groups: who pays around it, and its own user.
        outer: the blocks around it.
        at: unix seconds.
    """

    def __init__(self, groups: tuple[Group, ...], outer: tuple[BlockFigures, ...], at: int) -> None:
        self.groups, self.outer, self.at = groups, outer, at
        self.process = os.getpid()
        self.holds: list[LedgerHold] = []
        self.taken: list[tuple[CapSlot, CapSlot]] = []

    @property
    def remote(self) -> bool:
        """Whether one of the ledgers is reached over a network."""
        return any(group.payer.ledger.remote for group in self.groups)

    @property
    def shared(self) -> bool:
        """Whether one of the ledgers has a lock that another process may keep."""
        return any(group.payer.ledger.shared for group in self.groups)

    def give_back(self, timeout: float | None) -> None:
        """Give everything back: once, however often it is tried.

        Raises:
            LedgerLockedError: it was only tried (``timeout`` 0); nothing is lost if it is tried again.
        """
        try:
            with caps_lock:
                while self.taken:
                    outer, slot = self.taken[-1]
                    outer.aside = tuple(one for one in outer.aside if one is not slot)
                    self.taken.pop()
            block_hold.wake(self.outer)
            while self.holds:
                if self.process == os.getpid():  # in a forked child, it is the parent's
                    self._release(self.holds[-1], timeout)
                self.holds.pop()
        except LedgerLockedError:
            raise
        except BaseException:  # a signal's handler has raised
            background_worker.enqueue(functools.partial(self.give_back, None))
            raise

    def _release(self, hold: LedgerHold, timeout: float | None) -> None:
        try:
            hold.release(self.at, timeout)
        except LedgerError as error:
            if timeout == 0 and isinstance(error, LedgerLockedError):
                raise
            hold.undo(self.at, timeout)


ASKED = "a block with reserve=True"
"""What does not fit, as an error says it."""


class SetAside:
    """What one block sets aside between its being entered and left. Threads and tasks that are in it at once share it.

    Args:
        share: of what the tightest of the budgets around has left, what its cap is; None where it has one.
        reserve: whether its cap is taken out of every budget around it.
    """

    def __init__(self, share: Fraction | None, *, reserve: bool) -> None:
        self._share = share
        self._reserve = reserve
        self._entered = 0
        self._busy = False
        self._part: _Part | None = None
        self._locks: dict[int, threading.RLock] = {}
        """By process: in a forked child, nobody gives back what a thread of the parent's has taken."""

    def take(self, block: Budget, around: Scope | None, inside: list[bool]) -> None:
        """Set aside what a block wants, which is about to be entered.

        Args:
            block: which has this.
            around: the scope that it is entered in.
            inside: not empty from then on, until whoever enters has left.

        Raises:
            BudgetExceededError: a budget around it has not so much left; nothing was set aside.
            ValueError: a share is wanted, and no limit in USD is around.
            LedgerError: a ledger does not tell.
        """
        self._enter(block, self._wanted(block, around), inside, None)

    async def take_beside(self, block: Budget, around: Scope | None, inside: list[bool]) -> None:
        """The same for a coroutine, whose event loop goes on meanwhile."""
        part = self._wanted(block, around)
        if part is None:
            self._enter(block, None, inside, None)
        else:
            enter = functools.partial(self._enter, block, part, inside)
            await runner.beside(part, enter, functools.partial(self.withdraw, block, inside))

    def withdraw(self, block: Budget, inside: list[bool]) -> None:
        """Give it back, if it was set aside for whoever has ``inside``, and the block is not entered after all."""
        if inside:
            self._leave(block, inside=inside)

    def give_back(self, block: Budget, *, soon: bool = False) -> None:
        """Give back what is left of it, as its block is left.

        Args:
            block: which has this.
            soon: whether it is done in the background, by a finaliser perhaps, which waits for no lock.
        """
        if not soon:
            self._leave(block, None)
        elif self._busy:
            background_worker.enqueue(functools.partial(self._leave, block, None))
        else:
            part, self._entered = self._part, max(0, self._entered - 1)
            if not self._entered:
                block.taken = self._part = None
                if part is not None:  # of its own, as the block may be entered again before
                    background_worker.enqueue(functools.partial(part.give_back, None))

    async def give_back_beside(self, block: Budget) -> None:
        """The same for a coroutine, whose event loop goes on meanwhile."""
        part = self._part
        if part is None:
            self._leave(block, None)
        else:
            inside = [True]
            try:
                await runner.beside(part, functools.partial(self._leave, block, inside=inside), None)
            except BaseException:  # a signal's handler has raised, perhaps before anything was given back
                background_worker.enqueue(functools.partial(self._leave, block, None, inside=inside))
                raise

    def __del__(self) -> None:
        """Give back what a block has set aside that all have forgotten: a finaliser may take no lock."""
        part = vars(self).get("_part")  # of one that was interrupted while it was made, nothing
        if part is not None and (part.holds or part.taken):
            background_worker.enqueue(functools.partial(part.give_back, None))

    # -- the steps

    @property
    def _lock(self) -> threading.RLock:
        """Who enters or leaves has this, so that nobody is in a block for whom nothing is set aside yet."""
        return self._locks.setdefault(os.getpid(), threading.RLock())

    def _check_free(self, timeout: float | None) -> None:
        """Have a coroutine not wait here for a thread that enters or leaves the block just now."""
        if timeout == 0 and self._busy:
            raise LedgerLockedError("a thread enters or leaves this block just now")

    def _wanted(self, block: Budget, around: Scope | None) -> _Part | None:
        """What is to be set aside by whoever enters a block first; None where nothing is metered."""
        scope = block.scope(around)
        if scope.unmetered:
            return None
        outer = tuple(one for one in scope.blocks if one is not block)
        groups = paying(scope.groups) if always else scope.groups
        groups = with_shared_caps(groups, outer) if shared_caps.count else groups
        return _Part(groups, outer, int(block.payer.clock()))

    def _enter(self, block: Budget, part: _Part | None, inside: list[bool], timeout: float | None) -> None:
        self._check_free(timeout)
        first = counted = False
        try:
            with self._lock:
                if not self._entered and part is not None:
                    first = self._busy = True
                    if self._part is not None:  # a signal's handler has raised before its block was entered
                        self._part.give_back(timeout)
                    self._part = part
                    self._take(block, part, timeout)
                    self._busy = False
                self._entered += 1
                counted = True
                inside.append(True)
        except BaseException as error:  # of a signal's handler, too, which may strike as the lock is given back
            if counted:
                self._leave(block, inside=inside or [True])
            elif first and part is not None:
                self._forget(block, part)
                if isinstance(error, BudgetExceededError):
                    swallowed_refusals.note(part.outer, error)
            raise

    def _forget(self, block: Budget, part: _Part) -> None:
        with self._lock:
            if self._part is part:
                self._busy = False
                block.taken = self._part = None
            part.give_back(None)

    def _leave(self, block: Budget, timeout: float | None = None, *, inside: list[bool] | None = None) -> None:
        """Leave the block; with a list, whoever has the same one leaves it once, however often that is asked for."""
        self._check_free(timeout)
        with self._lock:
            if inside is not None and not inside:
                return
            if self._entered <= 1 and self._part is not None:
                self._busy = True
                try:
                    block.taken = None
                    self._part.give_back(timeout)
                    self._part = None
                finally:
                    self._busy = False
            self._entered = max(0, self._entered - 1)
            if inside is not None:
                inside.clear()

    def _take(self, block: Budget, part: _Part, timeout: float | None) -> None:
        if self._share is not None:
            block.limit_to(math.floor(self._share * _left(part, self._share)))
        if self._reserve:
            reserving.count += 1
            _take_here(block, part)
            holds = tuple(_take_there(block, part, timeout))
            accounts = frozenset(account for hold in part.holds for account in hold.group.everybody())
            block.taken = Taken(tuple(slot.unit for slot in block.slots), holds, accounts, part.at)


def _left(part: _Part, share: Fraction) -> int:
    """Nano-USD that the tightest limit in USD around has left.

    Raises:
        ValueError: there is none.
    """
    with caps_lock:
        lefts = [slot.left for one in part.outer for slot in one.checked if slot.unit == USD and slot.for_all_models]
    for group in part.groups:
        around = _around(part, group.payer)
        for account, left in group.payer.left(group, part.at):
            mine = around is not None and around.taken is not None and account in around.taken.accounts
            lefts.append(left + around.slot.room if mine and around is not None else left)
    if not lefts:
        msg = (
            f"share={float(share):g} is of what the limits around a block have left, and there is none "
            f"in USD; give one with max_budget=, set_limits() or a block around this one, or write cap=USD instead"
        )
        raise ValueError(msg)
    return min(lefts)


def _around(part: _Part, payer: Payer) -> BlockFigures | None:
    """The innermost block around that has set money aside at a payer: what is wanted here is a part of that."""
    for one in reversed(part.outer):
        if one.taken is not None and one.taken.at(payer):
            return one
    return None


def _take_here(block: Budget, part: _Part) -> None:
    """Take a block's cap out of the caps around it, in this process."""
    with caps_lock:
        found: list[tuple[CapSlot, CapSlot]] = []
        for slot in block.slots:
            for one in reversed(part.outer):
                for outer in one.checked:
                    if outer.unit == slot.unit and outer.for_all_models:
                        if slot.room > outer.left and not one.soft:
                            raise error_of(by_cap(_refused(one, outer, slot.room), one), asked=ASKED)
                        found.append((outer, slot))
                if one.taken is not None and slot.unit in one.taken.units:
                    break  # what is around that one has it set aside already
        for outer, slot in found:
            part.taken.append((outer, slot))
            outer.aside = (*outer.aside, slot)


def _take_there(block: Budget, part: _Part, timeout: float | None) -> list[tuple[Payer, str]]:
    """Take a block's cap out of the accounts around it, and its own user's. Returns the holds that have it."""
    found = []
    for group in map(_without_tags, part.groups):
        around = _around(part, group.payer)
        if around is None or around.taken is None or {slot.unit for slot in block.slots} - {*around.taken.units}:
            id = _hold(block, part, group, timeout)
            if id:
                found.append((group.payer, id))
        # Of those who do not pay for the block around, or who pay for one of another process, nothing can be set aside,
        # but they have to have it now.
        elif not around.taken.accounts.issuperset(group.accounts) and _hold(
            block, part, group, timeout, around.taken.at(group.payer)
        ):
            part.holds[-1].undo(part.at, timeout)
            part.holds.pop()
    return found


def _hold(block: Budget, part: _Part, group: Group, timeout: float | None, within: str = "") -> str:
    """Have a payer's ledger set a block's cap aside, or hold it within what another has set aside there.

    Returns:
        The hold's id; "" where that ledger is away.
    """
    payer, ledger = group.payer, group.payer.ledger
    room, id = {slot.unit: slot.room for slot in block.slots}, ledger.new_id()
    ask = Ask(room.get(USD, 0), 0, room.get(TOKENS, 0), uncertain_output=-1, within=within or id)
    try:
        for count in range(MOST_PLANS):
            plan = payer.plan(group, "", "", part.at, fresh=count > 0)
            held = ledger.hold(id, _in_units(plan.route, room), ask, part.at, timeout)
            if not isinstance(held, Stale | Refused):
                part.holds.append(LedgerHold(group, ledger, id, held))
                return id
            if isinstance(held, Refused):
                break
        else:
            raise ledger_hold.too_fast(group)  # noqa: TRY301 - as a ledger that is away
    except LedgerUnavailableError as error:
        if not ledger_hold.excused(payer, error, timeout):
            raise
        return ""
    except LedgerError:  # nothing was held
        raise
    except BaseException:
        # Ctrl-C may have come between the ledger's holding and its answer: whether it holds is seen later.
        background_worker.enqueue(functools.partial(ledger.release, id, part.at))
        raise
    raise error_of(by_ledger(held, group), asked=ASKED)


def _in_units(route: Route, units: Container[int]) -> Route:
    """A route with only those limits that are in some units: what is set aside is no call, and no input or output."""
    counted = [ledger_unit(unit_of_id(limit) or "usd") in units for leg in route.legs for limit, _, _ in leg.limits]
    if all(counted):
        return route
    which = iter(counted)
    legs = [Leg(leg.account, tuple(limit for limit in leg.limits if next(which))) for leg in route.legs]
    soft, around = tuple(compress(route.soft or (), counted)), tuple(compress(route.around or (), counted))
    return Route.make(legs, route.versions, route.day, route.provider, route.model, soft, around)


def _without_tags(group: Group) -> Group:
    """A group, but for tags: a block inside may have another value of one, and so could draw on nothing of this."""
    kept = [one for one in zip(group.accounts, group.policies, strict=True) if account_kind(one[0]) != "tag"]
    if len(kept) == len(group.accounts):
        return group
    return Group(group.payer, tuple(account for account, _ in kept), tuple(policy for _, policy in kept))


def _refused(block: BlockFigures, slot: CapSlot, wanted: int) -> Refused:
    """The refusal of a cap that has not so much left."""
    reason = "spent" if wanted > slot.amount - slot.spent else "held"
    return Refused(
        0, slot.limit, slot.unit, slot.amount, slot.spent, slot.on_hold, wanted, 0, reason, account=block.queue
    )


def set_aside(cap: Cap | None, key: str | None, share: object, reserve: object) -> SetAside | None:
    """Check what a block is to set aside; None for nothing.

    Args:
        cap: the block's.
        key: that its cap is kept under, or None.
        share: of what is left around it, what its cap is; None where it has one.
        reserve: whether its cap is taken out of the budgets around it.

    Raises:
        TypeError, ValueError: an argument makes no sense, or not with the others; the text quotes it.
    """
    part = None if share is None else _part(share)
    if part is not None and cap is not None:
        msg = f"share={shown(share)} makes the cap, and there is one: leave out cap= or share="
        raise ValueError(msg)
    if not check_yes_or_no(reserve, "reserve"):
        if part is not None and key is not None:
            msg = f"share={shown(share)} is another amount each time, and key={shown(key)} keeps one; leave one out"
            raise ValueError(msg)
        return None if part is None else SetAside(part, reserve=False)
    if key is not None:
        msg = f"reserve=True is for the cap of one block, and key={shown(key)} keeps it for several; leave one out"
        raise ValueError(msg)
    if cap is None and part is None:
        msg = "reserve=True sets the block's cap aside, and it has none; write cap=2 or share=0.25 as well"
        raise ValueError(msg)
    for limit in () if cap is None else cap.limits:
        if limit.unit not in ("usd", "tokens") or limit.models is not None:
            msg = f"reserve=True sets USD and tokens aside, for all models; leave it out, or {str(limit)!r}"
            raise ValueError(msg)
    return SetAside(part, reserve=True)


def _part(share: object) -> Fraction:
    """A share, exactly as it is written.

    Raises:
        TypeError, ValueError: it is none.
    """
    if isinstance(share, bool) or not isinstance(share, int | float | Decimal | Fraction):
        msg = f"share must be a number above 0 and up to 1, such as 0.25, got {shown(share)}"
        raise TypeError(msg)
    try:
        part = Fraction(str(share))
    except ValueError:  # nan, inf
        part = Fraction(0)
    if not 0 < part <= 1:
        msg = f"share must be above 0 and at most 1, such as 0.25 for a quarter of what is left, got {shown(share)}"
        raise ValueError(msg)
    return part
