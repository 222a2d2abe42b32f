"""How much of a budget buys complete answers, when many calls without an output cap compete for it.

500 workers take 4,000 items. The model may write 128,000 tokens at $10 per million, and really writes about 900
(log-normal), in 5 seconds. Time is simulated: an event loop whose clock jumps to the next timer. Everything else is the
package as it is: the decorator, the ledger in memory, the waiting.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
import selectors
from dataclasses import dataclass
from statistics import mean
from typing import Any

from benchmarks.measuring import line
from budgeted import BudgetExceededError, BudgetManager, register_price

MODEL = "simulated-reasoner"
WORKERS, ITEMS, SECONDS, BUDGET = 500, 4_000, 5.0, 20.0
MEAN, SIGMA = 875, 0.895  # so that one answer in a hundred is longer than 4,700 tokens
SEEDS = range(1, 9)


class JumpingSelector(selectors.DefaultSelector):
    """Never sleeps: moves the simulated clock on instead."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0)
        if not ready and timeout:
            self.now += timeout
        return ready


class JumpingLoop(asyncio.SelectorEventLoop):
    """An event loop in simulated time."""

    def __init__(self) -> None:
        self.jumps = JumpingSelector()
        super().__init__(self.jumps)

    def time(self) -> float:
        return self.jumps.now


@dataclass
class Outcome:
    """What became of the money."""

    complete: int = 0
    cut: int = 0
    refused: int = 0
    on_complete: float = 0.0
    spent: float = 0.0
    seconds: float = 0.0

    @property
    def share(self) -> float:
        """Of the budget, what was spent on complete answers."""
        return self.on_complete / BUDGET

    @property
    def cut_share(self) -> float:
        """Of the answers, those that were cut."""
        return self.cut / (self.complete + self.cut)


def simulate(seed: int) -> Outcome:
    """One run."""
    loop = JumpingLoop()
    outcome = Outcome()
    chance = random.Random(seed)
    wanted = [max(1, round(chance.lognormvariate(math.log(MEAN) - SIGMA**2 / 2, SIGMA))) for _ in range(ITEMS)]
    with BudgetManager(
        "admission", max_budget=BUDGET, ledger="memory://", clock=lambda: 1.8e9 + loop.time()
    ) as manager:

        @manager.budgeted
        async def complete(model: str, messages: Any, want: int, max_tokens: int | None = None) -> Any:
            await asyncio.sleep(SECONDS)
            written = want if max_tokens is None else min(want, max_tokens)
            cost = written * 10e-6
            if written < want:
                outcome.cut += 1
            else:
                outcome.complete += 1
                outcome.on_complete += cost
            outcome.spent += cost
            if outcome.spent >= 0.95 * BUDGET and not outcome.seconds:
                outcome.seconds = loop.time()
            return {"model": model, "usage": {"prompt_tokens": 0, "completion_tokens": written}}

        async def worker() -> None:
            while wanted:
                want = wanted.pop()
                try:
                    await complete(MODEL, [{"role": "user", "content": "Go."}], want)
                except BudgetExceededError:
                    outcome.refused += 1

        async def run() -> None:
            await asyncio.gather(*(worker() for _ in range(WORKERS)))

        try:
            loop.run_until_complete(run())
        finally:
            loop.close()
        assert manager.balance().spent <= BUDGET
        assert manager.balance().held == 0
    return outcome


def main() -> None:
    logging.getLogger("budgeted").setLevel(logging.ERROR)
    register_price(MODEL, input=0, output=10, max_output_tokens=128_000)
    found = [simulate(seed) for seed in SEEDS]
    for seed, got in zip(SEEDS, found, strict=True):
        line(
            f"seed {seed}: {got.complete} complete, {got.cut} cut, {got.refused} refused",
            f"{got.share:.1%}",
            f"{got.cut_share:.1%} cut, 95% spent after {got.seconds:.0f} s",
        )
    line(
        f"mean of {len(found)} seeds: of ${BUDGET:.0f} on complete answers",
        f"{mean(got.share for got in found):.1%}",
        f"(aim: 95%), {mean(got.cut_share for got in found):.1%} of answers cut (aim: under 3%), "
        f"95% spent after {mean(got.seconds for got in found):.0f} s (aim: 120)",
    )
