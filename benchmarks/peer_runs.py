"""What is measured of one package, in a process of its own: ``python -m benchmarks.peer_runs NAME RUN URL OUTPUT``.

Or in a fork of one that has imported the SDK and nothing else, by `in_a_fork`, which saves seconds each time.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from threading import Barrier
from typing import Any

import openai

from benchmarks.peer_calls import (
    CALL_USD,
    INPUT_TOKENS,
    OUTPUT_TOKENS,
    REQUEST,
    STREAMED,
    UNCAPPED,
    Guarded,
    Peer,
    first_chunk,
)
from benchmarks.peer_list import PEERS

LIMIT = 1.00
TOGETHER = 50
STREAMS = 60
DOOMED = 8
PLENTY = 1_000_000.0
PASSES, ROUNDS = 10, 200
"""The rounds are short: on a busy machine some of them run undisturbed."""

COUNTED = 200
"""Calls whose instructions are counted, after as many to warm up."""

SLOW_PASSES, SLOW_ROUNDS = 2, 200
"""Of calls that are as slow as their HTTP client."""


def connect(kind: Callable[..., Any], url: str) -> Any:
    """A client of the simulated provider."""
    return kind(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


def billed(url: str) -> tuple[int, float]:
    """Calls and USD that the provider has billed, when it has done."""
    urllib.request.urlopen(f"{url}/__wait").close()  # noqa: S310
    with urllib.request.urlopen(f"{url}/__bill") as answer:  # noqa: S310
        bill = json.load(answer)
    return len(bill), sum(call["nano_usd"] for call in bill) / 1e9


def wave(guarded: Guarded, request: dict[str, Any]) -> list[Any]:
    """What so many threads at once get, each in a copy of this context, so that a budget carried in it gets there."""
    gate = Barrier(TOGETHER)

    def run() -> Any:
        gate.wait()
        try:
            return guarded.create(**request)
        except Exception as error:  # noqa: BLE001
            return error

    with ThreadPoolExecutor(TOGETHER) as pool:
        return [future.result() for future in [pool.submit(copy_context().run, run) for _ in range(TOGETHER)]]


def threads(peer: Peer, url: str) -> dict[str, Any]:
    """The race of threads, and the same once more."""
    with peer.guard(connect(openai.OpenAI, url), LIMIT) as guarded:
        first = told(wave(guarded, REQUEST), guarded.spent, url)
        wave(guarded, REQUEST)
        return {**first, "more": billed(url)[1] - first["billed"]}


def uncapped(peer: Peer, url: str) -> dict[str, Any]:
    """The race of threads that do not say how much the model may write."""
    with peer.guard(connect(openai.OpenAI, url), LIMIT) as guarded:
        return told(wave(guarded, UNCAPPED), guarded.spent, url)


def tasks(peer: Peer, url: str) -> dict[str, Any]:
    """The race of tasks."""

    async def race() -> dict[str, Any]:
        async with connect(openai.AsyncOpenAI, url) as client:
            with peer.guard(client, LIMIT) as guarded:

                async def run() -> Any:
                    return await guarded.create(**REQUEST)

                calls = (run() for _ in range(TOGETHER))
                return told(await asyncio.gather(*calls, return_exceptions=True), guarded.spent, url)

    return asyncio.run(race())


def left(peer: Peer, url: str) -> dict[str, Any]:
    """Streams that are left after their first chunk, one after the other."""
    with peer.guard(connect(openai.OpenAI, url), LIMIT) as guarded:
        leave = guarded.leave or (lambda **request: first_chunk(guarded.create(**request)))

        def one() -> Any:
            try:
                return leave(**STREAMED)
            except Exception as error:  # noqa: BLE001
                return error

        return told([one() for _ in range(STREAMS)], guarded.spent, url)


def told(outcomes: list[Any], spent: Callable[[], float], url: str) -> dict[str, Any]:
    """What calls came to."""
    errors = [error for error in outcomes if isinstance(error, BaseException)]
    return {
        "billed": billed(url)[1],
        "says": spent(),
        "answers": len(outcomes) - len(errors),
        "errors": Counter(type(error).__name__ for error in errors),
    }


def overhead(peer: Peer, url: str) -> dict[str, Any]:
    """Microseconds of a call that is answered at once, alone and guarded."""
    client = answered_at_once(peer, url)
    passes, rounds = (PASSES, ROUNDS) if peer.met == "sdk" else (SLOW_PASSES, SLOW_ROUNDS)
    alone = took(peer.send(client), passes, rounds)
    with peer.guard(client, PLENTY) as guarded:
        under = took(guarded.create, passes, rounds)
        counted = known_of(guarded) == passes * rounds
    return {"alone": alone, "guarded": under, "counted": counted}


def known_of(guarded: Guarded) -> int:
    """The calls that the package knows of."""
    return guarded.known() if guarded.known else round(guarded.spent() / CALL_USD)


def took(create: Callable[..., Any], passes: int, rounds: int) -> float:
    """Microseconds of one call, in the best of many short rounds."""
    seconds = []
    for _ in range(rounds):
        started = time.perf_counter()
        for _ in range(passes):
            create(**REQUEST)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / passes * 1e6


def instructions(peer: Peer, url: str) -> dict[str, Any]:
    """Children whose end has valgrind tell how many instructions were executed by then; see `instruction_counts`."""
    client = answered_at_once(peer, url)
    alone = marks(peer.send(client))
    with peer.guard(client, PLENTY) as guarded:
        return {"calls": COUNTED, "alone": alone, "guarded": marks(guarded.create)}


def marks(create: Callable[..., Any]) -> list[int]:
    """Children that ended before and after so many calls, and at once after that."""
    for _ in range(COUNTED):
        create(**REQUEST)
    before = ended_child()
    for _ in range(COUNTED):
        create(**REQUEST)
    return [before, ended_child(), ended_child()]


def ended_child() -> int:
    """The id of a fork of this process that has done nothing but end."""
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)
    return child


def answered_at_once(peer: Peer, url: str) -> Any:
    """A client that is answered at once, with as little of the SDK's own work as the package still meets."""
    if peer.met == "network":
        usual = json.dumps({"usual": {"input_tokens": INPUT_TOKENS, "output_tokens": OUTPUT_TOKENS}}).encode()
        urllib.request.urlopen(f"{url}/__reply", usual).close()  # noqa: S310
        return connect(openai.OpenAI, url)
    if peer.met == "transport":
        import httpx2

        transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json={"id": "", **answer()}))
        return openai.OpenAI(api_key="none", max_retries=0, http_client=httpx2.Client(transport=transport))
    replace_transport(peer)
    return openai.OpenAI(api_key="none")


def answer() -> dict[str, Any]:
    """An answer's fields, its id aside."""
    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    usage["total_tokens"] = sum(usage.values())
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}}
    return {
        "model": REQUEST["model"],
        "created": 1,
        "object": "chat.completion",
        "choices": [message],
        "usage": usage,
    }


def replace_transport(peer: Peer) -> None:
    """Have the SDK (or LiteLLM) answer by itself, right below what hooks of all packages need."""
    from openai._base_client import SyncAPIClient
    from openai._models import FinalRequestOptions
    from openai.resources.chat.completions import Completions
    from openai.types.chat import ChatCompletion

    fields = answer()
    usual = ChatCompletion.model_validate({"id": "", **fields})
    ids = itertools.count()

    def create(self: Any, **body: Any) -> Any:
        options = FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=body)
        return self._client.request(ChatCompletion, options)

    SyncAPIClient.request = lambda *_, **__: usual.model_copy(update={"id": str(next(ids))})
    Completions.create = create
    if peer.distribution == "litellm":
        import litellm

        litellm.completion = lambda **_: litellm.ModelResponse(id=str(next(ids)), **fields)


def doomed(peer: Peer, url: str) -> dict[str, Any]:
    """Calls until the process is killed."""
    client = connect(openai.OpenAI, url)
    with peer.guard(client, PLENTY) as guarded, ThreadPoolExecutor(DOOMED) as pool:

        def run() -> None:
            while True:
                guarded.create(**REQUEST)

        for future in [pool.submit(copy_context().run, run) for _ in range(DOOMED)]:
            future.result()
    return {}


def after(peer: Peer, url: str) -> dict[str, Any]:
    """How many billed calls of a killed process are not known to the next one."""
    with peer.guard(connect(openai.OpenAI, url), PLENTY) as guarded:
        known = known_of(guarded)
    calls = billed(url)[0]
    return {"lost": max(0, calls - known), "calls": calls}


RUNS = {run.__name__: run for run in (threads, tasks, uncapped, left, overhead, instructions, doomed, after)}


def measure(name: str, run: str, url: str, output: str) -> None:
    """Write what one run of a package says."""
    peer = next(peer for peer in PEERS if peer.name == name)
    try:
        result = RUNS[run](peer, url)
    except Exception as error:  # noqa: BLE001
        result = {"failed": f"{type(error).__name__}: {error}"[:200]}
    Path(output).write_text(json.dumps(result))


def in_a_fork(folder: str, environment: Mapping[str, str], *named: str) -> None:
    """Measure, in silence, at home in the folder."""
    os.chdir(folder)
    os.environ.update(environment)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    measure(*named)


if __name__ == "__main__":
    measure(*sys.argv[1:])
