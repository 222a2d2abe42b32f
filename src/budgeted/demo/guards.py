"""What keeps a process of the race to its limits: budgets, or a counter such as people write."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from budgeted.api import budget, configure
from budgeted.demo.planned_calls import EVERYBODY, LIMITS, MODEL, PlannedCall, Race, Send
from budgeted.errors import BudgetExceededError
from budgeted.money import nano_usd
from budgeted.testing import PRICES, Counts, unmetered

Guard: TypeAlias = Callable[[PlannedCall], bool]
"""Makes a call, or refuses to: True if it was made."""

WAIT = 1.0
"""Seconds that a call waits while only calls in flight are in its way."""


def by_budgets(race: Race, send: Send) -> Guard:
    """Budgets in a ledger that all processes share. Each call pays into an account of its own, too."""
    # Every stream that is left is a warning, and the tables show them all.
    logging.getLogger("budgeted").setLevel(logging.ERROR)
    manager = configure(LIMITS[EVERYBODY], project_name="demo", ledger=race.ledger, wait=WAIT)
    for user, limit in LIMITS.items():
        if user != EVERYBODY:
            manager.set_limits(user, limit)

    def make(call: PlannedCall) -> bool:
        try:
            with budget(call.user), budget(call.name):
                send(race.url, call)
        except BudgetExceededError:
            return False
        return True

    return make


def by_counter(race: Race, send: Send) -> Guard:
    """A counter in this process: asked before each call, and told after it what the answer says it used.

    Its arithmetic is the provider's own, so that nothing but the counting is to blame.
    """
    limits = {user: nano_usd(limit, "limit", up=False) for user, limit in LIMITS.items()}
    spent: Counter[str] = Counter()

    def make(call: PlannedCall) -> bool:
        payers = (EVERYBODY, call.user)
        if any(payer in limits and spent[payer] >= limits[payer] for payer in payers):
            return False
        with unmetered():
            usage = send(race.url, call)
        if usage is not None:
            cost = PRICES[MODEL].nano_usd(Counts(input_tokens=usage[0], output_tokens=usage[1]))
            spent.update(dict.fromkeys(payers, cost))
        return True

    return make
