"""Next to the tools that others put around the SDKs, each call is charged once, whoever comes and goes first."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.matrix]

# By package: how it is put in, and how it is taken out.
TOOLS = {
    "opentelemetry-instrumentation-openai": (
        "from opentelemetry.instrumentation.openai import OpenAIInstrumentor as Tool; Tool().instrument()",
        "Tool().uninstrument()",
    ),
    "opentelemetry-instrumentation-threading": (
        "from opentelemetry.instrumentation.threading import ThreadingInstrumentor as Tool; Tool().instrument()",
        "Tool().uninstrument()",
    ),
    "sentry-sdk": (
        "import sentry_sdk; sentry_sdk.init(dsn='', traces_sample_rate=1.0)",
        "sentry_sdk.get_client().close()",
    ),
    "langfuse": ("import langfuse.openai", "pass"),
    "ddtrace": (
        "import ddtrace; ddtrace.patch(openai=True, futures=True)",
        "from ddtrace.contrib.internal.openai.patch import unpatch; unpatch()",
    ),
}

SCRIPT = """
import asyncio, threading, budgeted, openai
from concurrent.futures import ThreadPoolExecutor
steps = {"on": ON, "on*": ON, "off": OFF, "ours": "budgeted.instrument()", "not ours": "budgeted.uninstrument()"}
early = openai.OpenAI(base_url=URL, api_key="any", max_retries=0)
early.chat.completions.create
manager = budgeted.BudgetManager(max_budget=100, ledger="memory://")
ASK = {"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Name a city."}]}

def ask(client):
    client.chat.completions.create(**ASK)

async def ask_async():
    async with openai.AsyncOpenAI(base_url=URL, api_key="any", max_retries=0) as client:
        await client.chat.completions.create(**ASK)
        async for _ in await client.chat.completions.create(**ASK, stream=True):
            pass

budgeted.uninstrument()
for step in ORDER:
    exec(steps[step])
    if step in ("not ours", "on*"):  # nothing is metered yet
        continue
    with manager.budget("alice"), ThreadPoolExecutor(1) as pool:
        for client in (early, openai.OpenAI(base_url=URL, api_key="any", max_retries=0)):
            ask(client)
            thread = threading.Thread(target=ask, args=(client,))
            thread.start()
            thread.join()
            pool.submit(ask, client).result()
            list(client.chat.completions.create(**ASK, stream=True))
        asyncio.run(ask_async())
row = manager.report("user")["alice"]
print(row.calls, round(manager.balance().spent * 1e9), len(manager.uncertain()), manager.balance().held)
"""

ORDERS = {
    "ours first": ["ours", "on", "off", "on", "off"],
    "the tool first": ["not ours", "on*", "ours", "off", "on"],
    "in between": ["ours", "on", "not ours", "ours", "off", "not ours", "ours"],
}


def _installed(package: str) -> bool:
    try:
        return bool(importlib.metadata.version(package))
    except importlib.metadata.PackageNotFoundError:
        return False


# They come with `make matrix`; which of them are there is not for this file to demand.
INSTALLED = [name for name in TOOLS if _installed(name)]


@pytest.mark.parametrize(("tool", "order"), [(tool, order) for tool in INSTALLED for order in ORDERS] or [("", "")])
def test_each_call_is_charged_once(tool: str, order: str, provider: SimulatedProvider) -> None:
    on, off = TOOLS.get(tool, ("pass", "pass"))  # without any, ours alone
    head = f"ON, OFF, ORDER, URL = {on!r}, {off!r}, {ORDERS.get(order, ['ours'] * 3)!r}, {provider.openai_url!r}"
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{head}\n{SCRIPT}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = ran.stdout.split()
    assert found[:3] == [str(len(provider.bill)), str(provider.billed_nano()), "0"], ran.stderr
    assert len(provider.bill) >= 30
