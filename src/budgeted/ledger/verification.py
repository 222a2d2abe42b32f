"""Whether what a ledger knows fits together: what must hold of every ledger at any instant."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

from budgeted.ledger.accounts import UNITS, account_name, is_overlap
from budgeted.ledger.memory.daily_rollups import RETENTION_DAYS
from budgeted.ledger.whole_content import Content


def contradictions(found: Content) -> Iterator[str]:
    """What does not fit together, a sentence each.

    Args:
        found: everything that a ledger knew at one instant.
    """
    yield from _impossible(found)
    yield from _held(found)
    yield from _uncertain(found)


def _impossible(found: Content) -> Iterator[str]:
    """Amounts below nothing."""
    for account in found.accounts:
        for name in ("usd", "tokens", "calls", "held"):
            if getattr(account, name) < 0:
                yield f"{account_name(account.id)!r} has {getattr(account, name)} {name}"
        for slot in account.slots:
            if min(slot.spent, slot.held) < 0:
                yield f"{account_name(account.id)!r} has {slot.spent} spent and {slot.held} held of {slot.limit!r}"
    for row in found.rows:
        if min(row.calls, row.usd, row.input_tokens, row.output_tokens, row.uncertain) < 0:
            yield f"the report's row of {account_name(row.account)!r}, day {row.day}, {row.model!r} is below nothing"


def _held(found: Content) -> Iterator[str]:
    """What accounts and limits hold, against the calls in flight."""
    by_account: dict[str, int] = defaultdict(int)
    by_slot: dict[tuple[str, str, int], list[int]] = defaultdict(lambda: [0] * len(UNITS))
    for hold in found.holds:
        for leg in hold.legs:
            by_account[leg.account] += hold.usd
            for limit, start, _ in leg.limits:
                sums = by_slot[leg.account, limit, start]
                for unit, amount in enumerate(hold.parts or (hold.usd, hold.tokens, 1)):
                    sums[unit] += amount
    for account in found.accounts:
        if account.held != by_account[account.id]:
            yield (
                f"{account_name(account.id)!r} holds {account.held} nano-USD, and its calls in flight "
                f"{by_account[account.id]}"
            )
        for slot in account.slots:
            held = by_slot[account.id, slot.limit, slot.start][slot.unit] if slot.unit < len(UNITS) else 0
            if slot.held != held:
                name = account_name(account.id)
                yield f"{name!r} holds {slot.held} of {slot.limit!r}, and its calls in flight {held}"


def _uncertain(found: Content) -> Iterator[str]:
    """What the reports call uncertain, against the charges that are listed: of accounts whose rows are all there."""
    newest = max((row.day for row in found.rows), default=0)
    listed: dict[str, int] = defaultdict(int)
    pruned: set[str] = set()
    for charge in found.charges:
        for name in charge.accounts:
            listed[name] += charge.used.usd
            if charge.opened // 86_400 <= newest - RETENTION_DAYS + 1:
                pruned.add(name)
    reported: dict[str, int] = defaultdict(int)
    for row in found.rows:
        if not is_overlap(row.account):
            reported[row.account] += row.uncertain
    for name in sorted({*listed, *reported} - pruned):
        if listed[name] != reported[name]:
            yield (
                f"{account_name(name)!r} is charged {listed[name]} nano-USD that nobody confirmed, and its "
                f"reports have {reported[name]}"
            )
