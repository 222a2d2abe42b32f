"""Next to the tools that others put around the SDKs, each call is charged once, whoever comes and goes first."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from table import version

if TYPE_CHECKING:
    from collections.abc import Callable

    from budgeted.testing import SimulatedProvider

pytestmark = [pytest.mark.sdk, pytest.mark.matrix]

# By package: how it is put in, and how it is taken out.
TOOLS = {
    "opentelemetry-instrumentation-openai-v2": (
        "import opentelemetry.instrumentation.openai_v2 as official; official.OpenAIInstrumentor().instrument()",
        "official.OpenAIInstrumentor().uninstrument()",
    ),
    "opentelemetry-instrumentation-openai": (
        "import opentelemetry.instrumentation.openai as traced; traced.OpenAIInstrumentor().instrument()",
        "traced.OpenAIInstrumentor().uninstrument()",
    ),
    "opentelemetry-instrumentation-anthropic": (
        "import opentelemetry.instrumentation.anthropic as claude; claude.AnthropicInstrumentor().instrument()",
        "claude.AnthropicInstrumentor().uninstrument()",
    ),
    "opentelemetry-instrumentation-threading": (
        "import opentelemetry.instrumentation.threading as threads; threads.ThreadingInstrumentor().instrument()",
        "threads.ThreadingInstrumentor().uninstrument()",
    ),
    "sentry-sdk": (
        "import sentry_sdk; sentry_sdk.init(dsn='', traces_sample_rate=1.0)",
        "sentry_sdk.get_client().close()",
    ),
    "langfuse": ("import langfuse.openai", "pass"),
    "ddtrace": (
        "import ddtrace; ddtrace.patch(openai=True, anthropic=True, futures=True)",
        "from ddtrace.contrib.internal import anthropic as a, openai as o; a.patch.unpatch(); o.patch.unpatch()",
    ),
}

SCRIPT = """
import asyncio, threading, anthropic, budgeted, openai
from concurrent.futures import ThreadPoolExecutor
steps = {"on": ON, "on*": ON, "off": OFF, "ours": "budgeted.instrument()", "not ours": "budgeted.uninstrument()"}
ASK = {"messages": [{"role": "user", "content": "Name a city."}]}

def clients(gpt, claude):
    return gpt(base_url=URL, api_key="any", max_retries=0), claude(base_url=CLAUDE, api_key="any", max_retries=0)

def ask(client, **how):
    if hasattr(client, "chat"):
        return client.chat.completions.create(model="gpt-5-mini", **ASK, **how)
    return client.messages.create(model="claude-haiku-4-5", max_tokens=500, **ASK, **how)

async def ask_async():
    for client in clients(openai.AsyncOpenAI, anthropic.AsyncAnthropic):
        async with client:
            await ask(client)
            async for _ in await ask(client, stream=True):
                pass

early = clients(openai.OpenAI, anthropic.Anthropic)
early[0].chat.completions.create, early[1].messages.create
manager = budgeted.BudgetManager(max_budget=100, ledger="memory://")
budgeted.uninstrument()
for step in ORDER:
    exec(steps[step])
    if step in ("not ours", "on*"):  # nothing is metered yet
        continue
    with manager.budget("alice"), ThreadPoolExecutor(1) as pool:
        for client in (*early, *clients(openai.OpenAI, anthropic.Anthropic)):
            ask(client)
            thread = threading.Thread(target=ask, args=(client,))
            thread.start()
            thread.join()
            pool.submit(ask, client).result()
            list(ask(client, stream=True))
        asyncio.run(ask_async())
row = manager.report("user")["alice"]
print(row.calls, round(manager.balance().spent * 1e9), len(manager.uncertain()), round(manager.balance().held * 1e9))
"""

ORDERS = {
    "ours first": ["ours", "on", "off", "on", "off"],
    "theirs first": ["not ours", "on*", "ours", "off", "on"],
    "in between": ["ours", "on", "not ours", "ours", "off", "not ours", "ours"],
}

# They come with `make matrix`; which of them are there is not for this file to demand.
INSTALLED = {name: steps for name, steps in TOOLS.items() if version(name)} or {"nothing": ("pass", "pass")}
# Taken out in the order in which they were put in: each puts back what was there before the next one came.
TOGETHER = "; ".join(on for on, _ in INSTALLED.values()), "; ".join(off for _, off in INSTALLED.values())


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("tool", [*INSTALLED, "all of them"])
def test_each_call_is_charged_once(
    tool: str, order: str, provider: SimulatedProvider, record_property: Callable[[str, object], None]
) -> None:
    record_property("cell", ("next to other tools", f"{tool} {version(tool) or ''}", order))
    on, off = INSTALLED.get(tool, TOGETHER)
    told = {"ON": on, "OFF": off, "ORDER": ORDERS[order], "URL": provider.openai_url, "CLAUDE": provider.anthropic_url}
    head = "\n".join(f"{name} = {value!r}" for name, value in told.items())
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", f"{head}\n{SCRIPT}"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    found = ran.stdout.split()
    assert found == [str(len(provider.bill)), str(provider.billed_nano()), "0", "0"], ran.stderr
    assert len(provider.bill) >= 60
    record_property("found", "exact")
