"""One of the processes of the soak: threads and tasks that make calls of every kind, and tell how much they take up.

It reads what it is to do as a line of JSON, and writes a line with its memory, descriptors and threads now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec
import openai

from budgeted import BudgetError, BudgetManager, budget
from budgeted.ledger.journal import ledger as journal

MODEL = "gpt-4o-mini"
USERS = [f"user-{number}" for number in range(40)]
THREADS, TASKS = 3, 3
# The last two: of an answer that is broken, or cut off, as its reader meets it.
EXPECTED = (BudgetError, openai.OpenAIError, TimeoutError, InterruptedError, json.JSONDecodeError, httpx.HTTPError)


class Place(msgspec.Struct):
    """A ledger, and the provider whose calls are charged to it."""

    kind: str
    ledger: str
    url: str
    by_hand: str
    """The file that tells what calls by hand cost, a number of nano-USD a line."""
    project: str


class Task(msgspec.Struct):
    """What a worker is to do."""

    seed: int
    seconds: float
    rotate_lines: int
    places: list[Place]


class Sample(msgspec.Struct, tag="sample"):
    """What a worker takes up: kilobytes that are resident, open descriptors, threads."""

    kilobytes: int
    descriptors: int
    threads: int


class Trouble(msgspec.Struct, tag="trouble"):
    """Something that should not have been raised."""

    text: str


class Spender:
    """Makes calls that one ledger pays for."""

    def __init__(self, place: Place) -> None:
        self.manager = BudgetManager(
            place.project, ledger=place.ledger, max_budget=10**6, default_user_limits="$1000/day"
        )
        url = {"base_url": f"{place.url}/v1", "api_key": "any", "max_retries": 0, "timeout": 1.0}
        self.client = openai.OpenAI(**url)  # type: ignore[arg-type]
        self.url = url
        self._by_hand = os.open(place.by_hand, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    def ask(self, rng: random.Random) -> dict[str, object]:
        """A request that is like no other."""
        return {
            "model": MODEL,
            "messages": [{"role": "user", "content": "x" * rng.randrange(200)}],
            "max_tokens": rng.randrange(16, 400),
        }

    # -- what a thread does

    def whole(self, rng: random.Random) -> None:
        self.client.chat.completions.create(**self.ask(rng))  # type: ignore[call-overload]

    def stream(self, rng: random.Random) -> None:
        left = rng.randrange(40)
        with self.client.chat.completions.create(**self.ask(rng), stream=True) as parts:  # type: ignore[call-overload]
            for number, _ in enumerate(parts):
                if number == left:
                    break

    def by_hand(self, rng: random.Random) -> None:
        cost = rng.randrange(1, 10**6)
        ends = rng.randrange(4)
        with self.manager.hold(cost=0.001) as hold:
            if ends == 0:
                hold.release()
            elif ends == 1:
                raise InterruptedError
            else:
                os.write(self._by_hand, b"%d\n" % cost)
                hold.settle(cost=f"{cost / 10**9:.9f}")

    def administer(self, rng: random.Random) -> None:
        user = rng.choice(USERS)
        match rng.randrange(6):
            case 0:
                self.manager.set_limits(user, f"${rng.randrange(1, 1000)}/day", "100000 calls/hour")
            case 1:
                if self.manager.is_valid_user(user):
                    self.manager.reset_cost(user)
            case 2:
                self.manager.reset_cost(None)
            case 3:
                self.manager.accounts(count=20)
            case 4:
                self.manager.report(by="model")
            case _:
                self.manager.balance(user)

    # -- what a task does

    async def whole_async(self, rng: random.Random, client: openai.AsyncOpenAI) -> None:
        call = client.chat.completions.create(**self.ask(rng))  # type: ignore[call-overload]
        if rng.random() < 0.15:
            await asyncio.wait_for(call, rng.random() * 0.02)  # cancelled, mostly
        else:
            await call

    async def stream_async(self, rng: random.Random, client: openai.AsyncOpenAI) -> None:
        left = rng.randrange(40)
        async with await client.chat.completions.create(**self.ask(rng), stream=True) as parts:  # type: ignore[call-overload]
            number = 0
            async for _ in parts:
                number += 1
                if number == left:
                    break


class Worker:
    """All threads and tasks of the process."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.spenders = [Spender(place) for place in task.places]
        # From now on: a machine that is busy takes its time to begin.
        self.until = time.monotonic() + task.seconds

    def run(self) -> None:
        """Work until it is time to stop."""
        threads = [threading.Thread(target=self.spend, args=(number,)) for number in range(THREADS)]
        threads.append(threading.Thread(target=lambda: asyncio.run(self.spend_async())))
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            tell(sample())
            threads[0].join(0.5)
        for spender in self.spenders:
            spender.manager.flush()
            spender.manager.close()

    def spend(self, number: int) -> None:
        rng = random.Random(f"{self.task.seed} thread {number}")
        while time.monotonic() < self.until:
            spender = rng.choice(self.spenders)
            ways: list[Callable[[random.Random], None]] = [spender.whole, spender.stream, spender.by_hand]
            way = spender.administer if rng.random() < 0.05 else rng.choice(ways)
            with watched(), budget(rng.choice(USERS), manager=spender.manager):
                way(rng)

    async def spend_async(self) -> None:
        async with contextlib.AsyncExitStack() as clients:
            paired = [
                (one, await clients.enter_async_context(openai.AsyncOpenAI(**one.url)))  # type: ignore[arg-type]
                for one in self.spenders
            ]

            async def spend(number: int) -> None:
                rng = random.Random(f"{self.task.seed} task {number}")
                while time.monotonic() < self.until:
                    spender, client = rng.choice(paired)
                    with watched(), budget(rng.choice(USERS), manager=spender.manager):
                        await rng.choice([spender.whole_async, spender.stream_async])(rng, client)

            await asyncio.gather(*(spend(number) for number in range(TASKS)))


class watched(contextlib.AbstractContextManager[None]):  # noqa: N801 - it reads as a statement
    """What is raised inside is expected, or told."""

    def __exit__(self, kind: object, error: BaseException | None, _: object) -> bool:
        if error is not None and not isinstance(error, EXPECTED):
            tell(Trouble(f"{type(error).__name__}: {error}"))
        return isinstance(error, Exception)


def sample() -> Sample:
    """What this process takes up now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    descriptors = len(os.listdir("/proc/self/fd"))
    return Sample(pages * os.sysconf("SC_PAGE_SIZE") // 1024, descriptors, threading.active_count())


def tell(what: Sample | Trouble) -> None:
    """Tell the one that started this process."""
    os.write(1, msgspec.json.encode(what) + b"\n")


def main() -> None:
    """Do what is read."""
    logging.getLogger("budgeted").setLevel(logging.CRITICAL)
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)
    task = msgspec.json.decode(sys.stdin.buffer.readline(), type=Task)
    journal.ROTATE_LINES = task.rotate_lines
    Worker(task).run()


if __name__ == "__main__":
    main()
