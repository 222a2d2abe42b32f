"""LiteLLM's proxy with its own budgets beside the same proxy with ours, by what a provider bills.

Four bursts of 50 calls at once, of $0.10 each, under a budget of $1.00. The provider is simulated on loopback, and
bills whatever it has generated: streams whose readers have left, and answers whose connection broke, as well. Its own
budget is that of a key; the first line is of the budget of all, which it does not enforce without a database. Ours is
on a Redis; "by two" is two proxies on it. `make .venv-litellm-proxy/.ready` installs the proxy.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import distributions
from pathlib import Path
from typing import NamedTuple, TypeAlias

import httpx

from benchmarks.redis_ledger import server
from benchmarks.servers import Served, serving
from budgeted import BudgetManager, uninstrument
from budgeted.testing import Reply, SimulatedProvider

ENVIRONMENT = Path(__file__).parent.parent / ".venv-litellm-proxy"
CALLS, BURSTS = 50, 4
TOKENS = 10
QUESTION = {"messages": [{"role": "user", "content": "Name a city."}], "max_tokens": TOKENS}
AUTH = """
import json
from litellm.proxy._types import UserAPIKeyAuth

async def user_api_key_auth(request, api_key):
    return UserAPIKeyAuth(api_key=api_key, user_id=api_key, **json.loads(request.headers["x-told"]))
"""
PRICE = """
[prices."dime"]
input = 0
output = 10000
max_output_tokens = 4096
"""


class Case(NamedTuple):
    """What becomes of the calls of a burst.

    Attributes:
        name: as the table has it.
        body: what is asked, besides the question.
        leave: whether readers leave after the first chunk.
        reply: how the provider answers that is asked first; the other one is in good health.
        queued: how its first requests are answered, in place of that.
    """

    name: str
    body: dict[str, object]
    leave: bool = False
    reply: Reply = Reply(output_tokens=TOKENS)
    queued: tuple[Reply, ...] = ()


CASES = (
    Case("plain", {"model": "dime"}),
    Case("streamed", {"model": "dime", "stream": True}),
    Case(
        "streams left after the first chunk",
        {"model": "dime", "stream": True},
        leave=True,
        reply=Reply(output_tokens=TOKENS, gate_after=2),  # the rest is generated and billed when the reader has left
    ),
    Case("connection breaks upstream", {"model": "dime"}, reply=Reply(output_tokens=TOKENS, drop=True)),
    Case("the same, with a fallback", {"model": "falls back"}, reply=Reply(output_tokens=TOKENS, drop=True)),
    Case("5 refused, with retries", {"model": "retried"}, queued=(Reply(status=500),) * 5),
    Case("from the cache", {"model": "dime", "cache": {"use-cache": True}}),
)


Providers: TypeAlias = tuple[SimulatedProvider, SimulatedProvider]


def config(providers: Providers, **settings: object) -> str:
    """A proxy's config, as JSON, which is YAML as well."""

    def group(name: str, where: SimulatedProvider) -> dict[str, object]:
        params = {"model": "openai/dime", "api_base": where.openai_url, "api_key": "any"}
        prices = {"input_cost_per_token": 0, "output_cost_per_token": 10 / 1000}
        return {"model_name": name, "litellm_params": params | prices, "model_info": {"id": name}}

    return json.dumps(
        {
            "model_list": [
                *(group(name, providers[0]) for name in ("dime", "falls back", "retried")),
                group("in good health", providers[1]),
            ],
            "router_settings": {
                "num_retries": 0,
                "disable_cooldowns": True,
                "fallbacks": [{"falls back": ["in good health"]}],
                "model_group_retry_policy": {"retried": {"InternalServerErrorRetries": 1}},
            },
            "litellm_settings": {"cache": True, "cache_params": {"type": "local", "mode": "default_off"}, **settings},
            "general_settings": {
                "master_key": "sk-master",
                "custom_auth": "auth.user_api_key_auth",
                "custom_auth_run_common_checks": True,  # without which it enforces no budget
            },
        }
    )


@contextmanager
def proxy(text: str, environment: dict[str, str] | None = None) -> Iterator[Served]:
    """A proxy with this config, once it answers."""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "auth.py").write_text(AUTH)
        (Path(folder) / "config.yaml").write_text(text)
        command = [str(ENVIRONMENT / "bin" / "litellm"), "--config", f"{folder}/config.yaml", "--port", "{port}"]
        told = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "INITIAL_RETRY_DELAY": "0.01", "MAX_RETRY_DELAY": "0.02"}
        with serving([*command, "--host", "127.0.0.1"], told | (environment or {})) as served:
            yield served


async def ask(
    client: httpx.AsyncClient, port: int, body: dict[str, object], told: Mapping[str, object], *, leave: bool
) -> None:
    """One call, with a key of which the proxy is told this."""
    url = f"http://127.0.0.1:{port}/v1/chat/completions"
    headers = {"authorization": f"Bearer sk-{told['key_alias']}", "x-told": json.dumps(told)}
    # Whatever becomes of it: it is the bill that counts.
    with contextlib.suppress(httpx.TransportError):
        async with client.stream("POST", url, json=body, headers=headers) as response:
            async for _ in response.aiter_bytes():
                if leave and response.status_code == 200:
                    break


def burst(ports: Sequence[int], case: Case, told: Mapping[str, object], calls: int = CALLS) -> None:
    """So many calls at once, the proxies in turn."""
    body = {**QUESTION, **case.body}
    if "cache" in case.body:  # what has been asked there before would be free
        body["cache"] = {"use-cache": True, "namespace": told["key_alias"]}

    async def ask_all() -> None:
        async with httpx.AsyncClient(timeout=120, limits=httpx.Limits(max_connections=CALLS)) as client:
            places = itertools.islice(itertools.cycle(ports), calls)
            await asyncio.gather(*(ask(client, port, body, told, leave=case.leave) for port in places))

    asyncio.run(ask_all())


def billed(ports: Sequence[int], case: Case, providers: Providers, told: Mapping[str, object]) -> str:
    """What was billed after each burst, in USD."""
    for one in providers:
        one.reset()
        one.reply(output_tokens=TOKENS)
    providers[0].reply(case.reply)
    providers[0].queue(*case.queued)
    figures = []
    if "cache" in case.body:
        burst(ports[:1], case, told, calls=1)
    for _ in range(BURSTS):
        burst(ports, case, told)
        for one in providers:
            one.wait_idle()
        figures.append(sum(one.billed_usd() for one in providers))
    return " ".join(f"{amount:.2f}" for amount in figures)


def own(providers: Providers) -> list[str]:
    """What is billed under LiteLLM's own budgets: that of all first, then that of a key, case by case."""
    with proxy(config(providers, max_budget=1, budget_duration="30d")) as served:
        of_all = billed([served.port], CASES[0], providers, {"key_alias": "all"})
    with proxy(config(providers)) as served:
        keys = [{"key_alias": f"key-{n}", "max_budget": 1} for n in range(len(CASES))]
        return [of_all, *(billed([served.port], case, providers, key) for case, key in zip(CASES, keys, strict=True))]


def ours(providers: Providers, ledger: str) -> list[tuple[str, str]]:
    """What is billed under ours, by one proxy and by two: the same."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as stack:
        file = Path(folder) / "budgeted.toml"
        file.write_text(f'ledger = "{ledger}"\nproject_name = "proxy"\n{PRICE}')
        told = {"BUDGETED_CONFIG": str(file), "BUDGETED_HOME": folder}
        text = config(providers, callbacks="budgeted.integrations.litellm_proxy.handler")
        ports = [stack.enter_context(proxy(text, told)).port for _ in range(2)]
        manager = stack.enter_context(BudgetManager("proxy", ledger=ledger))
        uninstrument()  # it is the proxies that meter, and not this process
        rows = []
        for n, case in enumerate((CASES[0], *CASES)):
            row = []
            for count in (1, 2):
                name = f"key-{n}-{count}"
                manager.reset_cost(None)
                manager.set_limits(*((None, "$1") if n == 0 else (None,)))
                manager.set_limits(f"tag:key={name}", *(() if n == 0 else ("$1",)))
                row.append(billed(ports[:count], case, providers, {"key_alias": name}))
            rows.append((row[0], row[1]))
        return rows


def main() -> None:
    if not (ENVIRONMENT / "bin" / "litellm").exists():
        print("  left out: `make .venv-litellm-proxy/.ready` installs the proxy")
        return
    packages = distributions(path=[str(one) for one in ENVIRONMENT.glob("lib/python*/site-packages")])
    version = next(one.version for one in packages if one.metadata["Name"] == "litellm")
    prices = {"dime": (0, 10_000)}
    with SimulatedProvider(prices=prices) as first, SimulatedProvider(prices=prices) as second, server() as redis_url:
        theirs, mine = own((first, second)), ours((first, second), redis_url)
    print(f"  billed, in USD, after each of four bursts of 50 calls of $0.10, under $1.00 (LiteLLM {version})")
    print(f"  {'':36} {'its own budgets':24} {'with budgeted':24} {'with budgeted, by two':24}")
    names = ["plain, the budget of all", *(case.name for case in CASES)]
    for name, own_figures, (by_one, by_two) in zip(names, theirs, mine, strict=True):
        print(f"  {name:36} {own_figures:24} {by_one:24} {by_two:24}")
