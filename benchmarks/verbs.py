"""A hold and its settlement, the two verbs that a call costs, on any ledger."""

from __future__ import annotations

from collections.abc import Callable

from budgeted.ledger.accounts import GLOBAL, LimitSpec
from budgeted.ledger.admission import Ask
from budgeted.ledger.cost_routing import Leg, Route
from budgeted.ledger.interface import Ledger
from budgeted.ledger.spending_records import Used
from budgeted.limits.periods import NEVER

AT = 1_800_000_000
ASK, USED = Ask(usd=1000, tokens=100, uncertain_output=1024), Used(900, 10, 10)


def a_route(ledger: Ledger) -> Route:
    """Of a call that the global account and a user pay for, which both have much left."""
    legs, versions = [], []
    for name in (GLOBAL, "u:alice"):
        ledger.set_limits(name, [LimitSpec("usd", 0, 10**15, 0, NEVER)])
        account = ledger.read(name)
        assert account is not None
        legs.append(Leg(name, (("usd", 0, NEVER),)))
        versions.append(account.version)
    return Route.make(legs, versions, 20_000, "openai", "gpt-4o-mini")


def verbs(ledger: Ledger, *, alone: bool = True) -> tuple[Callable[[], str], Callable[[], None]]:
    """What opens one hold more and tells its id, and what settles the one opened last.

    Where nobody else is at the accounts, both are seen to do that first.
    """
    route = a_route(ledger)
    opened: list[str] = []

    def hold() -> str:
        id = ledger.new_id()
        ledger.hold(id, route, ASK, AT)
        opened.append(id)
        return id

    def settle() -> None:
        ledger.settle(opened.pop(), USED, AT + 1)

    if alone:
        check(ledger, hold, settle)
    return hold, settle


def check(ledger: Ledger, hold: Callable[[], str], settle: Callable[[], None]) -> None:
    """See that both do what they are timed for."""
    before = ledger.read("u:alice")
    hold()
    held = ledger.read("u:alice")
    settle()
    settled = ledger.read("u:alice")
    assert before is not None
    assert held is not None
    assert settled is not None
    assert held.held - before.held == ASK.usd, held
    assert (settled.held, settled.usd - before.usd) == (before.held, USED.usd), settled
