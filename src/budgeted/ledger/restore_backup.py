"""Putting a backup's content into a ledger: nothing lost, and checked."""

from __future__ import annotations

import msgspec

from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.interface import Ledger
from budgeted.ledger.memory.ledger import MemoryLedger
from budgeted.ledger.move_project import compare, content, hand_over, refuse_used
from budgeted.ledger.told_steps import Step, untold
from budgeted.ledger.whole_content import Content, OpenHold

IN_FLIGHT = "in flight when the backup was made"
"""Why a call that was open then is charged."""


def restore(backup: Content, target: Ledger, *, taken: int, overwrite: bool = False, step: Step = untold) -> Content:
    """Have a ledger take over what a backup holds, and check that it is equal.

    Calls that were in flight are charged what they are when nobody says what they cost, and are listed as uncertain:
    whoever made them may settle them still. Repeating it after it was interrupted is safe.

    Args:
        backup: what is taken over.
        target: the ledger. What it has of the same names is replaced.
        taken: when the backup was made, in unix seconds.
        overwrite: True to go on where the target is in use already.
        step: entered around each step.

    Returns:
        What the ledger has now.

    Raises:
        LedgerError: the target is in use, calls are in flight there, or it did not take everything over.
    """
    with step("looking at what is there"):
        wanted = _ended(backup, taken)
        if not overwrite:
            refuse_used(target, wanted)
    with step("putting back", wanted.size, changes=True) as tell:
        hand_over(wanted, target, tell)
    with step("comparing", wanted.size) as tell:
        compare(wanted, content(target), f"{target!r} did not take everything over", extra=overwrite, tell=tell)
    return wanted


def _ended(backup: Content, taken: int) -> Content:
    """The same with every call in flight charged: worked out in memory, so that all of it is handed over once."""
    accounts = [
        msgspec.structs.replace(
            account, held=0, slots=tuple(msgspec.structs.replace(slot, held=0) for slot in account.slots)
        )
        for account in backup.accounts
    ]
    memory = MemoryLedger()
    hand_over(Content(accounts, backup.rows, backup.charges, []), memory)
    for hold in backup.holds:
        if hold.guess is not None:
            memory.post(hold.id, _route(hold, memory), hold.guess, taken, IN_FLIGHT)
    return content(memory)


def _route(hold: OpenHold, memory: MemoryLedger) -> Route:
    """Where a call's cost goes, in the periods that are not over."""
    legs, versions = [], []
    for leg in hold.legs:
        account = memory.read(leg.account)
        if account is None:  # deleted since
            continue
        begun = {(slot.limit, slot.start) for slot in account.slots}
        legs.append(Leg(leg.account, tuple(limit for limit in leg.limits if limit[:2] in begun)))
        versions.append(account.version)
    return Route.make(legs, versions, hold.day, hold.provider, hold.model)
