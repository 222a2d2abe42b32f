"""The other packages that limit what LLM calls cost, each used as its own documentation says.

An adapter is a context manager that puts the calls of an OpenAI client under a budget in USD. Where a package does not
count USD, or wants an estimate, it gets exact ones. What else a package looks at (loops, rates) is set so that it does
not get in the way. Everything is imported where it is used: nothing but the one package measured is in the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import openai

MODEL = "gpt-4o"
INPUT_USD, OUTPUT_USD = 2.5e-6, 10e-6  # per token
INPUT_TOKENS, OUTPUT_TOKENS = 14, 9_900
CALL_USD = INPUT_TOKENS * INPUT_USD + OUTPUT_TOKENS * OUTPUT_USD
REQUEST: dict[str, Any] = {
    "model": MODEL,
    "messages": [{"role": "user", "content": "What is the capital of France?"}],
    "max_tokens": OUTPUT_TOKENS,
}
ANY = 10**9


class Guarded(NamedTuple):
    """Calls under a budget: `create` as the SDK's, the USD that the package says were spent, the calls it knows of."""

    create: Callable[..., Any]
    spent: Callable[[], float]
    known: Callable[[], int] | None = None


class Refused(Exception):  # noqa: N818
    """For packages that leave it to the caller to refuse."""


def sdk(client: Any) -> Callable[..., Any]:
    """What sends a request."""
    return client.chat.completions.create


@dataclass(frozen=True)
class Peer:
    """How a package is called in the table and in the package index, used, and what it is meant for."""

    name: str
    distribution: str
    guard: Callable[[Any, float], AbstractContextManager[Guarded]]
    send: Callable[[Any], Callable[..., Any]] = sdk
    shared: bool = True  # by threads
    asynchronous: bool = True
    kept: bool = False


def around(
    client: Any,
    send: Callable[..., Any],
    block: Callable[[], AbstractContextManager[Any]],
    record: Callable[[Any, Any], Any] = lambda *_: None,
) -> Callable[..., Any]:
    """Each call in a block of its own, and recorded there."""

    def create(**request: Any) -> Any:
        with block() as opened:
            answer = send(**request)
            record(opened, answer)
        return answer

    async def create_async(**request: Any) -> Any:
        with block() as opened:
            answer = await send(**request)
            record(opened, answer)
        return answer

    return create_async if isinstance(client, openai.AsyncOpenAI) else create


def usd(answer: Any) -> float:
    """What an answer costs, for packages that ask their caller."""
    return float(answer.usage.prompt_tokens * INPUT_USD + answer.usage.completion_tokens * OUTPUT_USD)


@contextmanager
def budgeted(client: Any, limit: float, ledger: str = "./ledger", fsync: Any = "background") -> Iterator[Guarded]:
    from budgeted import BudgetManager

    def known() -> int:
        held = manager.balance().held  # by calls of the dead that are not given up yet
        return sum(row.calls for row in manager.report(by="model").values()) + round(held / CALL_USD)

    with (
        BudgetManager("peers", max_budget=limit, ledger=os.environ.get(ledger, ledger), fsync=fsync) as manager,
        manager.budget("alice"),
    ):
        yield Guarded(sdk(client), lambda: manager.balance().spent, known)


@contextmanager
def shekel(client: Any, limit: float) -> Iterator[Guarded]:
    from shekel import budget

    with budget(max_usd=limit) as block:
        yield Guarded(sdk(client), lambda: block.spent)


@contextmanager
def shekel_redis(client: Any, limit: float) -> Iterator[Guarded]:
    from shekel import budget
    from shekel.backends.redis import RedisBackend

    backend = RedisBackend(url=os.environ["REDIS_URL"])

    def send(**request: Any) -> Any:
        return sdk(client)(**request)  # patched while a block is open

    create = around(client, send, lambda: budget(max_usd=limit, name="peers", backend=backend))
    yield Guarded(create, lambda: backend.get_state("peers").get("usd", 0.0))


@contextmanager
def token_budget(client: Any, limit: float) -> Iterator[Guarded]:
    from token_budget import BudgetPool

    pool = BudgetPool(usd_cap=limit)
    create = around(
        client,
        sdk(client),
        lambda: pool.reserve(usd=CALL_USD),
        lambda reservation, answer: reservation.commit(usd=usd(answer)),
    )
    yield Guarded(create, lambda: pool.snapshot().usd_used)


@contextmanager
def burnmap(client: Any, limit: float) -> Iterator[Guarded]:
    import burnmap

    with burnmap.run("peers", budget=limit, call_rate_limit=ANY, context_growth_limit=ANY) as block:
        yield Guarded(sdk(client), lambda: block.spent)


@contextmanager
def agent_budget_guard(client: Any, limit: float) -> Iterator[Guarded]:
    from agent_budget_guard import BudgetedSession

    session = BudgetedSession(budget_usd=limit)
    yield Guarded(sdk(session.wrap_openai(client)), session.get_total_spent)


@contextmanager
def budget_guard(client: Any, limit: float) -> Iterator[Guarded]:
    import budget_guard
    from budget_guard import Limits, default_pricing, guard

    default_pricing().set("openai", MODEL, {"input": "2.50", "output": "10"})
    budget_guard.configure(limits=Limits(per_user=limit), loop_detection=None)
    yield Guarded(sdk(guard(client, user="alice")), lambda: float(budget_guard.spent(user="alice")))


@contextmanager
def agentbudget(client: Any, limit: float) -> Iterator[Guarded]:
    from agentbudget import AgentBudget, wrap_client

    budget = AgentBudget(max_spend=limit, max_repeated_calls=ANY, loop_window_seconds=0.001)
    with budget.session() as session:

        def room() -> AbstractContextManager[None]:
            if session.would_exceed(CALL_USD):
                raise Refused
            return nullcontext()

        yield Guarded(around(client, sdk(wrap_client(client, session)), room), lambda: session.spent)


@contextmanager
def llm_toll(client: Any, limit: float) -> Iterator[Guarded]:
    from llm_toll import create_store, set_store, track_costs

    store = create_store()
    set_store(store)
    create = track_costs(project="peers", max_budget=limit)(around(client, sdk(client), nullcontext))
    yield Guarded(create, lambda: store.get_total_cost("peers"))


@contextmanager
def tokencap(client: Any, limit: float) -> Iterator[Guarded]:
    import tokencap

    tokens = int(limit / CALL_USD * (INPUT_TOKENS + OUTPUT_TOKENS))
    block = tokencap.Threshold(at_pct=1.0, actions=[tokencap.Action(kind=tokencap.ActionKind.BLOCK)])
    policy = tokencap.Policy(dimensions={"session": tokencap.DimensionPolicy(limit=tokens, thresholds=[block])})
    tokencap.init(policy, identifiers={"session": "peers"})
    guarded = tokencap.wrap(client)
    used = lambda: guarded.get_status().dimensions["session"].used  # noqa: E731
    yield Guarded(sdk(guarded), lambda: used() / tokens * limit)
    tokencap.teardown()


def litellm_send(client: Any) -> Callable[..., Any]:
    """LiteLLM's own completion function."""
    import litellm

    send: Callable[..., Any] = litellm.completion
    if isinstance(client, openai.AsyncOpenAI):
        send = litellm.acompletion
    return partial(send, api_base=str(client.base_url), api_key="none", custom_llm_provider="openai", max_retries=0)


@contextmanager
def litellm(client: Any, limit: float) -> Iterator[Guarded]:
    from litellm import BudgetManager

    manager = BudgetManager(project_name="peers")
    if not manager.is_valid_user("alice"):
        manager.create_budget(total_budget=limit, user="alice", duration="daily")

    def room() -> AbstractContextManager[None]:
        if manager.get_current_cost("alice") > manager.get_total_budget("alice"):
            raise Refused
        return nullcontext()

    create = around(
        client, litellm_send(client), room, lambda _, answer: manager.update_cost(completion_obj=answer, user="alice")
    )
    yield Guarded(create, lambda: float(manager.get_current_cost("alice")))


PEERS = (
    Peer("budgeted, in memory", "budgeted", partial(budgeted, ledger="memory://")),
    Peer("budgeted, journal", "budgeted", budgeted, kept=True),
    Peer("budgeted, journal, fsync", "budgeted", partial(budgeted, fsync="always"), kept=True),
    Peer("budgeted, Redis", "budgeted", partial(budgeted, ledger="REDIS_URL"), kept=True),
    Peer("agent-budget-guard", "agent-budget-guard", agent_budget_guard, asynchronous=False),
    Peer("agentbudget", "agentbudget", agentbudget),
    Peer("budget-guard-llm", "budget-guard-llm", budget_guard),
    Peer("burnmap", "burnmap", burnmap),
    Peer("LiteLLM's BudgetManager", "litellm", litellm, send=litellm_send, kept=True),
    Peer("llm-toll", "llm-toll", llm_toll, kept=True),
    Peer("shekel", "shekel", shekel, shared=False),
    Peer("shekel, Redis", "shekel", shekel_redis, kept=True),
    Peer("token-budget-py", "token-budget-py", token_budget),
    Peer("tokencap", "tokencap", tokencap, kept=True),
)
