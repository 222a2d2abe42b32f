"""The story of the pictures: a shop's three users, a week of calls, and a day on which one of them runs dry."""

# ruff: noqa: INP001

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import openai

from budgeted import BudgetExceededError, BudgetManager, Usage
from budgeted.testing import Reply, SimulatedProvider

PROJECT = "shop"
LIMITS = {"alice": "$12/day", "bob": "$4/day", "carol": "$8/day"}
MODELS = {"alice": "gpt-5", "bob": "gpt-5-mini", "carol": "gpt-4o"}
DAYS = 13
DAY = 86_400.0


@contextlib.contextmanager
def told(ledger: Path) -> Iterator[BudgetManager]:
    """While it is entered, the story has come to its end: calls are in flight, one waits, and bob was refused.

    Args:
        ledger: where balances are kept.
    """
    chance = random.Random(7)  # noqa: S311 - the same story each time
    for ago in range(DAYS, 0, -1):
        _a_day(ledger, time.time() - ago * DAY, chance)
    with SimulatedProvider() as provider, _manager(ledger) as manager:
        client = openai.OpenAI(base_url=provider.openai_url, api_key="none", max_retries=0)
        provider.reply(lambda _: Reply(output_tokens=chance.randrange(4_000, 12_000)))
        for _ in range(60):
            user = chance.choice(("alice", "carol"))
            _ask(client, manager, user, MODELS[user], 12_000)
        _until_refused(client, manager, "bob")
        _nobody_says_what_it_cost(manager)
        with _in_flight(provider, client, manager):
            yield manager
    client.close()


def _manager(ledger: Path, at: float | None = None) -> BudgetManager:
    return BudgetManager(
        PROJECT,
        ledger=str(ledger),
        max_budget="$20/day + $400/month",
        default_user_limits=LIMITS,
        on_exceed="raise",
        wait=0,
        clock=None if at is None else lambda: at,
    )


def _a_day(ledger: Path, at: float, chance: random.Random) -> None:
    """A day of the past, on which nobody came near a limit."""
    with _manager(ledger, at) as manager:
        for user, model in MODELS.items():
            for _ in range(chance.randrange(8, 40)):
                used = Usage(chance.randrange(500, 20_000), chance.randrange(200, 9_000))
                with manager.hold(model, "Say something nice about budgets." * 600, 9_000, user=user) as held:
                    held.settle(usage=used)


def _ask(client: openai.OpenAI, manager: BudgetManager, user: str, model: str, tokens: int, wait: float = 0) -> None:
    """A call for a user, whose answer has so many tokens at most."""
    with manager.budget(user, wait=wait):
        client.chat.completions.create(
            model=model,
            max_completion_tokens=tokens,
            messages=[{"role": "user", "content": "Say something nice about budgets."}],
        )


def _until_refused(client: openai.OpenAI, manager: BudgetManager, user: str) -> None:
    """Calls of a user until none fits any more, however short."""
    for tokens in (120_000, 30_000, 8_000, 2_000, 500):
        with contextlib.suppress(BudgetExceededError):
            while True:
                _ask(client, manager, user, MODELS[user], tokens)


def _nobody_says_what_it_cost(manager: BudgetManager) -> None:
    with manager.hold("gpt-5-mini", "Say something nice about budgets.", 2_000, user="carol"):
        pass


@contextlib.contextmanager
def _in_flight(provider: SimulatedProvider, client: openai.OpenAI, manager: BudgetManager) -> Iterator[None]:
    """Calls that the provider has not answered yet, and one of alice that waits as they hold all that she has left."""
    provider.reply(hang=True)
    fit = int(manager.balance("alice").remaining / 0.91)
    calls = [("carol", 50_000, 0.0), *[("alice", 90_000, 0.0)] * fit, ("alice", 90_000, 600.0)]
    threads = [
        threading.Thread(target=_ask, args=(client, manager, user, MODELS[user], tokens, wait), daemon=True)
        for user, tokens, wait in calls
    ]
    for number, thread in enumerate(threads, 1):
        thread.start()
        if number < len(threads):
            provider.wait_parked(number)
    while not manager.ledger.turns.waiting:
        time.sleep(0.01)
    yield
    provider.reply(output_tokens=500)
    provider.release()
    for thread in threads:
        thread.join(10)
