"""The other packages that limit what LLM calls cost, each used as its own documentation says.

An adapter is a context manager that puts the calls of an OpenAI client under a budget in USD, by the mode of its
package that is best for that. Where a package does not count USD, or wants an estimate, it gets exact ones. What else a
package looks at (loops, rates) is set so that it does not get in the way. Everything is imported where it is used:
nothing but the one package measured is in the process.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.peer_calls import (
    ANY,
    CALL_USD,
    INPUT_TOKENS,
    MODEL,
    OUTPUT_TOKENS,
    Guarded,
    Refused,
    around,
    first_chunk,
    is_async,
    sdk,
    usd,
)


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

    spent = lambda: backend.get_state("peers").get("usd", 0.0)  # noqa: E731
    yield around(client, send, spent, lambda: budget(max_usd=limit, name="peers", backend=backend))


@contextmanager
def token_budget(client: Any, limit: float) -> Iterator[Guarded]:
    from token_budget import BudgetPool

    pool = BudgetPool(usd_cap=limit)
    yield around(
        client,
        sdk(client),
        lambda: pool.snapshot().usd_used,
        lambda: pool.reserve(usd=CALL_USD),
        lambda reservation, answer: reservation.commit(usd=usd(answer)),
    )


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

        yield around(client, sdk(wrap_client(client, session)), lambda: session.spent, room)


@contextmanager
def llm_toll(client: Any, limit: float) -> Iterator[Guarded]:
    from llm_toll import create_store, set_store, track_costs

    store = create_store()
    set_store(store)
    spent = lambda: store.get_total_cost("peers")  # noqa: E731
    create = track_costs(project="peers", max_budget=limit)(around(client, sdk(client), spent, nullcontext).create)
    yield Guarded(create, spent)


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
    if is_async(client):
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

    def record_left(_: None, chunk: Any) -> None:
        received = chunk.choices[0].delta.content or ""
        manager.update_cost(user="alice", model=MODEL, input_text="", output_text=received)

    yield around(
        client,
        litellm_send(client),
        lambda: float(manager.get_current_cost("alice")),
        room,
        lambda _, answer: manager.update_cost(completion_obj=answer, user="alice"),
        record_left,
    )


@contextmanager
def floe_guard(client: Any, limit: float, *, kept: bool = False) -> Iterator[Guarded]:
    """``reserve`` and ``settle`` by hand, with what ``estimate_call`` makes of the request's own cap.

    Its own functions for OpenAI reserve what the last call has cost, which is nothing before the first. A stream is
    fed to its ``StreamGuard``, which its store in SQLite does not go with.
    """
    from floe_guard import BudgetGuard, SqliteStore
    from floe_guard.stream import StreamGuard

    store: Any = {"window": "utc-day", "store": SqliteStore("floe.sqlite3")} if kept else {}
    guard = BudgetGuard(limit_usd=limit, **store)
    send = sdk(client)

    def reserve(request: Any) -> Any:
        return guard.reserve(guard.estimate_call(MODEL, INPUT_TOKENS, request["max_tokens"]))

    def settled(held: Any, answer: Any) -> Any:
        guard.settle(MODEL, answer.usage.prompt_tokens, answer.usage.completion_tokens, reserved=held)
        return answer

    def create(**request: Any) -> Any:
        held = reserve(request)
        try:
            answer = send(**request)
        except BaseException:
            guard.release(held)
            raise
        return settled(held, answer)

    async def create_async(**request: Any) -> Any:
        held = reserve(request)
        try:
            answer = await send(**request)
        except BaseException:
            guard.release(held)
            raise
        return settled(held, answer)

    def leave(**request: Any) -> None:
        with StreamGuard(guard, MODEL, prompt_tokens=INPUT_TOKENS, reserved=reserve(request)) as stream:
            stream.feed_text(first_chunk(send(**request)).choices[0].delta.content or "")

    def known() -> int:
        left = guard.advisory().remaining_usd  # after what is spent, and what calls of the dead hold for ever
        return round((limit - left) / CALL_USD)

    yield Guarded(create_async if is_async(client) else create, lambda: guard.spent_usd, known if kept else None, leave)


@contextmanager
def backstop(client: Any, limit: float, **settings: Any) -> Iterator[Guarded]:
    """The client wrapped, with a budget in dollars and a file of what was spent, which no later process counts in."""
    from backstop import Backstop, BackstopConfig
    from backstop.ledger.export import read_ledger

    file = "backstop.jsonl"
    config = BackstopConfig(ledger_enabled=True, ledger_path=file, **settings)
    wrapped = Backstop.wrap(client, budget=None, budget_usd=Decimal(str(limit)), config=config)

    def spent() -> float:
        return float(wrapped._backstop_state.budget.spent_usd)

    def known() -> int:  # of a process before in its file, of this one in memory, as that is written later
        kept = len(read_ledger(file).events) if Path(file).exists() else 0
        return max(kept, round(spent() / CALL_USD))

    try:
        yield Guarded(sdk(wrapped), spent, known)
    finally:
        Backstop.close(wrapped)


@contextmanager
def agentguard_spend(client: Any, limit: float) -> Iterator[Guarded]:
    """The client wrapped, under a policy that blocks. It counts whole cents, of input and output each."""
    from agentguard_spend import InMemorySpendStore, SpendCap, SpendPolicy, SpendScope, with_spend_guard
    from agentguard_spend.cost_table import compute_call_cents
    from agentguard_spend.spend_guard import SpendGuardConfig

    scope, store = SpendScope(tenantId="peers", userId="alice"), InMemorySpendStore()
    cap = SpendCap(amountCents=round(limit * 100), window="per_month", action="block")
    began = datetime.now(UTC).isoformat()
    policy = SpendPolicy("peers", "peers", scope, [cap], mode="enforce", version=1, effectiveFrom=began)
    config = SpendGuardConfig(policy=policy, spendStore=store)
    each = compute_call_cents(MODEL, INPUT_TOKENS, OUTPUT_TOKENS)

    def cents() -> int:
        return sum(window.cents for window in store._state.values())

    guarded = with_spend_guard(client, policy=policy, scope=scope, config=config)
    yield Guarded(sdk(guarded), lambda: cents() / 100, lambda: round(cents() / each))


@contextmanager
def veronica(client: Any, limit: float) -> Iterator[Guarded]:
    """``wrap_llm_call`` of an ``ExecutionContext``, with what the call costs as its hint: that is what it charges.

    Its patch of OpenAI's SDK checks before a call without knowing what it may cost, and counts afterwards.
    """
    from veronica_core import ExecutionConfig, ExecutionContext, WrapOptions

    config = ExecutionConfig(max_cost_usd=limit, max_steps=ANY, max_retries_total=ANY, timeout_ms=0)
    options = WrapOptions(operation_name="peers", cost_estimate_hint=CALL_USD)
    send = sdk(client)
    with ExecutionContext(config=config) as context:

        def wrapped(work: Callable[..., Any], **request: Any) -> Any:
            answers: list[Any] = []
            context.wrap_llm_call(fn=lambda: answers.append(work(**request)), options=options)
            if not answers:
                raise Refused
            return answers[0]

        yield Guarded(
            partial(wrapped, send),
            lambda: context.get_graph_snapshot()["aggregates"]["total_cost_usd"],
            leave=partial(wrapped, lambda **request: first_chunk(send(**request))),
        )


@contextmanager
def inferrail(client: Any, limit: float) -> Iterator[Guarded]:
    """Its gateway in this process, with a budget for one run that each request names, and its files in SQLite."""
    import inferrail as gateway
    from inferrail.budgets.store import BudgetStore
    from inferrail.config.models import BudgetsConfig, InferrailConfig, ProviderConfig, ReceiptsConfig, TelemetryConfig
    from inferrail.receipts.sqlite_store import ReceiptsStore

    os.environ["OPENAI_API_KEY"] = "none"
    upstream = ProviderConfig(
        type="openai_compatible",
        api_key_env="OPENAI_API_KEY",
        base_url=str(client.base_url).rstrip("/"),
        price_as="openai",
        request_stream_usage=True,
    )
    config = InferrailConfig(
        providers={"openai": upstream},
        routes={},
        default_provider="openai",
        telemetry=TelemetryConfig(sink="none"),
        receipts=ReceiptsConfig(sink="sqlite", path="receipts.db"),
        budgets=BudgetsConfig(enabled=True, path="budgets.db"),
    )
    url = gateway.start(config)
    run = {"X-Inferrail-Attribute-Work-Id": "peers", "X-Inferrail-Budget-Usd": f"{limit:.2f}"}
    receipts, budgets = ReceiptsStore("receipts.db"), BudgetStore("budgets.db")

    def spent() -> float:
        return float(sum(receipt.estimated_cost_usd or 0 for receipt in receipts.read_all()[0]))

    def known() -> int:
        held = sum(hold.amount_usd for hold in budgets.list_reservations())  # by calls of the dead
        return round((spent() + float(held)) / CALL_USD)

    yield Guarded(sdk(client.with_options(base_url=url, default_headers=run)), spent, known)
    gateway.stop()
