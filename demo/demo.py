"""The race of `budgeted demo`, through the real OpenAI SDK; and how far the charge for a left stream is above its bill.

Two processes call a simulated provider from many threads: plain answers, streams, and streams that are abandoned. One
is killed with SIGKILL while calls are in flight, and started again. Afterwards every single call is looked up in the
provider's bill and in the ledger. Last, streams are abandoned at providers of each kind. Needs no key and no network.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
from typing import Any

import openai

import budgeted
from budgeted.cli.demo import show_race
from budgeted.demo import racing_process
from budgeted.demo.planned_calls import ANSWER, LEFT, PlannedCall, Usage
from budgeted.metering import drain
from budgeted.testing import SimulatedProvider

MOST_OUTPUT = 800


@functools.cache
def client(url: str) -> openai.OpenAI:
    """The one client of all threads."""
    return openai.OpenAI(base_url=url, api_key="none", max_retries=0)


def send(url: str, call: PlannedCall) -> Usage | None:
    """Make one call of the race, read its answer, or leave it."""
    create: Any = client(url).chat.completions.create
    answer = create(**call.body, extra_headers={"x-simulate": call.simulate})
    if call.kind == LEFT:
        next(iter(answer))
        answer.close()
        return None
    pieces = [answer] if call.kind == ANSWER else list(answer)
    used = pieces[-1].usage
    return used.prompt_tokens, used.completion_tokens


LEFT_AT = (
    (
        "api.openai.com/v1",
        "stops with its reader",
        "gpt-4o-mini",
        {"stops": True, "gate_after": 40, "pieces": MOST_OUTPUT},
    ),
    ("api.groq.com/groq/openai/v1", "goes on, and bills all", "llama-3.3-70b-versatile", {"pieces": 100}),
    ("gateway.example/v1", "nobody knows", "gpt-4o-mini", {"pieces": 100}),
)
"""Where streams are left early: the address, what the provider does then, the model, and how it is simulated."""


def loopback(provider: SimulatedProvider) -> openai.DefaultHttpxClient:
    """An HTTP client that takes every address for the simulated provider's."""
    package = sys.modules[openai.DefaultHttpxClient.__mro__[1].__module__.partition(".")[0]]
    where = package.URL(provider.url)

    class Loopback(package.HTTPTransport):  # type: ignore[name-defined]
        def handle_request(self, request: Any) -> Any:
            request.url = request.url.copy_with(scheme="http", host=where.host, port=where.port)
            return super().handle_request(request)

    return openai.DefaultHttpxClient(transport=Loopback())


def leave_early(provider: SimulatedProvider, streams: int = 10) -> bool:
    """Abandon streams at each kind of provider; print what was billed and what was charged; True if never below."""
    print(f"\n{streams} streams of up to {MOST_OUTPUT} tokens abandoned at each of three providers:")
    print(f"{'':30}{'':26}{'billed':>14}{'charged':>14}{'ratio':>8}  because")
    good = True
    for address, behaviour, model, reply in LEFT_AT:
        provider.reset()
        with budgeted.BudgetManager("left", ledger="memory://", max_budget=1) as manager, loopback(provider) as web:
            client = openai.OpenAI(base_url=f"https://{address}", api_key="none", max_retries=0, http_client=web)
            for _ in range(streams):
                with manager.budget("alice"):
                    answer = client.chat.completions.create(
                        model=model,
                        messages=[{"role": "user", "content": "Tell me a long story."}],
                        stream=True,
                        max_completion_tokens=MOST_OUTPUT,
                        extra_headers={"x-simulate": json.dumps({"output_tokens": 700, **reply})},
                    )
                    for _ in zip(range(20), answer, strict=False):
                        pass
                    answer.close()
            provider.wait_idle()
            drain.finish(30)
            billed, charged = provider.billed_nano(), round(manager.balance().spent * budgeted.money.NANO)
            unsure = len(manager.uncertain())
        why = (
            "what came, and may have been under way"
            if reply.get("stops")
            else "all it held"
            if unsure
            else "read to its end"
        )
        print(f"{address:30}{behaviour:26}{usd(billed):>14}{usd(charged):>14}{charged / billed:8.2f}  {why}")
        good = good and charged >= billed
    return good


def usd(nano: int) -> str:
    """Nano-USD to the nano-dollar."""
    return f"${nano / budgeted.money.NANO:.9f}"


def main() -> int:
    """Run the demo; 0 if everything is as promised."""
    if len(sys.argv) > 1:
        racing_process.main(send, sys.argv[1:])
        return 0
    good = show_race([sys.executable, __file__], threads=24, seed=0)
    logging.getLogger("budgeted").setLevel(logging.ERROR)  # every estimate is a warning, and the table shows them all
    with SimulatedProvider.spawn() as provider:
        never_below = leave_early(provider)
    print("\nas promised: never below the bill" if never_below else "\nNOT as promised: below the bill")
    return 0 if good and never_below else 1


if __name__ == "__main__":
    sys.exit(main())
