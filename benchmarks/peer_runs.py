"""What is measured of one package, in a process of its own: ``python -m benchmarks.peer_runs NAME RUN URL OUTPUT``."""

from __future__ import annotations

import asyncio
import itertools
import json
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from pathlib import Path
from threading import Barrier
from typing import Any

import openai

from benchmarks.peer_adapters import CALL_USD, INPUT_TOKENS, OUTPUT_TOKENS, PEERS, REQUEST, Peer

LIMIT = 1.00
TOGETHER = 50
DOOMED = 8
PLENTY = 1_000_000.0
PASSES, ROUNDS = 100, 40


def connect(kind: Callable[..., Any], url: str) -> Any:
    """A client of the simulated provider."""
    return kind(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=60)


def billed(url: str) -> tuple[int, float]:
    """Calls and USD that the provider has billed."""
    with urllib.request.urlopen(f"{url}/__bill") as answer:  # noqa: S310
        bill = json.load(answer)
    return len(bill), sum(call["nano_usd"] for call in bill) / 1e9


def threads(peer: Peer, url: str) -> dict[str, Any]:
    """The race of threads, each in a copy of this context, so that a budget that is carried in it gets there."""
    client = connect(openai.OpenAI, url)
    with peer.guard(client, LIMIT) as guarded, ThreadPoolExecutor(TOGETHER) as pool:

        def wave() -> list[Any]:
            gate = Barrier(TOGETHER)

            def run() -> Any:
                gate.wait()
                try:
                    return guarded.create(**REQUEST)
                except Exception as error:  # noqa: BLE001
                    return error

            return [future.result() for future in [pool.submit(copy_context().run, run) for _ in range(TOGETHER)]]

        first = told(wave(), guarded.spent, url)
        wave()
        return {**first, "more": billed(url)[1] - first["billed"]}


def tasks(peer: Peer, url: str) -> dict[str, Any]:
    """The race of tasks."""

    async def wave() -> dict[str, Any]:
        async with connect(openai.AsyncOpenAI, url) as client:
            with peer.guard(client, LIMIT) as guarded:

                async def run() -> Any:
                    return await guarded.create(**REQUEST)

                calls = (run() for _ in range(TOGETHER))
                return told(await asyncio.gather(*calls, return_exceptions=True), guarded.spent, url)

    return asyncio.run(wave())


def told(outcomes: list[Any], spent: Callable[[], float], url: str) -> dict[str, Any]:
    """What a wave of calls came to."""
    errors = [error for error in outcomes if isinstance(error, BaseException)]
    return {
        "billed": billed(url)[1],
        "says": spent(),
        "answers": len(outcomes) - len(errors),
        "errors": Counter(type(error).__name__ for error in errors),
    }


def overhead(peer: Peer, _: str) -> dict[str, Any]:
    """Microseconds of a call that is answered at once, alone and guarded."""
    answer_at_once(peer)
    client = openai.OpenAI(api_key="none")
    alone = took(peer.send(client))
    with peer.guard(client, PLENTY) as guarded:
        under = took(guarded.create)
        counted = round(guarded.spent() / CALL_USD) == PASSES * ROUNDS
    return {"alone": alone, "guarded": under, "counted": counted}


def took(create: Callable[..., Any]) -> float:
    """Microseconds of one call, in the best of many short rounds."""
    seconds = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        for _ in range(PASSES):
            create(**REQUEST)
        seconds.append(time.perf_counter() - started)
    return min(seconds) / PASSES * 1e6


def answer_at_once(peer: Peer) -> None:
    """Have the SDK (or LiteLLM) answer at once, with as little of its own work as the hooks of all packages need."""
    from openai._base_client import SyncAPIClient
    from openai._models import FinalRequestOptions
    from openai.resources.chat.completions import Completions
    from openai.types.chat import ChatCompletion

    usage = {"prompt_tokens": INPUT_TOKENS, "completion_tokens": OUTPUT_TOKENS}
    usage["total_tokens"] = sum(usage.values())
    message = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "Paris."}}
    shape = {"model": REQUEST["model"], "created": 1, "object": "chat.completion", "choices": [message], "usage": usage}
    answer = ChatCompletion.model_validate({"id": "", **shape})
    ids = itertools.count()

    def create(self: Any, **body: Any) -> Any:
        options = FinalRequestOptions.construct(method="post", url="/chat/completions", json_data=body)
        return self._client.request(ChatCompletion, options)

    SyncAPIClient.request = lambda *_, **__: answer.model_copy(update={"id": str(next(ids))})
    Completions.create = create
    if peer.distribution == "litellm":
        import litellm

        litellm.completion = lambda **_: litellm.ModelResponse(id=str(next(ids)), **shape)


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
        known = guarded.known() if guarded.known else round(guarded.spent() / CALL_USD)
    calls = billed(url)[0]
    return {"lost": max(0, calls - known), "calls": calls}


def main() -> None:
    name, run, url, output = sys.argv[1:]
    peer = next(peer for peer in PEERS if peer.name == name)
    try:
        result = {"threads": threads, "tasks": tasks, "overhead": overhead, "doomed": doomed, "after": after}[run](
            peer, url
        )
    except Exception as error:  # noqa: BLE001
        result = {"failed": f"{type(error).__name__}: {error}"[:200]}
    Path(output).write_text(json.dumps(result))


if __name__ == "__main__":
    main()
