"""All packages that are measured side by side, ours first. The dependency group `peers` brings the others."""

from __future__ import annotations

from functools import partial

from benchmarks.our_adapters import answer_at_once, budgeted, decorated, floor
from benchmarks.peer_adapters import (
    agent_budget_guard,
    agentbudget,
    agentguard_spend,
    backstop,
    budget_guard,
    burnmap,
    floe_guard,
    inferrail,
    litellm,
    litellm_send,
    llm_toll,
    shekel,
    shekel_redis,
    token_budget,
    tokencap,
    veronica,
)
from benchmarks.peer_calls import Peer

IN_MEMORY = partial(decorated, ledger="memory://")
PEERS = (
    Peer("budgeted, in memory", "budgeted", partial(budgeted, ledger="memory://")),
    Peer("budgeted, journal", "budgeted", budgeted, kept=True),
    Peer("budgeted, journal, fsync", "budgeted", partial(budgeted, fsync="always"), kept=True),
    Peer("budgeted, SQLite", "budgeted", partial(budgeted, ledger="sqlite:///ledger.db"), kept=True),
    Peer("budgeted, Redis", "budgeted", partial(budgeted, ledger="REDIS_URL"), kept=True),
    Peer("agent-budget-guard", "agent-budget-guard", agent_budget_guard, asynchronous=False),
    Peer("agentbudget", "agentbudget", agentbudget),
    Peer("agentguard-spend", "agentguard-spend", agentguard_spend),
    Peer("backstop-ai", "backstop-ai", backstop, kept=True, met="transport"),
    Peer(
        "backstop-ai, default output 16,384",
        "backstop-ai",
        partial(backstop, default_max_output_tokens=16_384),
        kept=True,
        met="transport",
    ),
    Peer("budget-guard-llm", "budget-guard-llm", budget_guard),
    Peer("burnmap", "burnmap", burnmap),
    Peer("floe-guard, in memory", "floe-guard", floe_guard, estimated_by_caller=True),
    Peer(
        "floe-guard, SQLite",
        "floe-guard",
        partial(floe_guard, kept=True),
        streams=False,
        kept=True,
        estimated_by_caller=True,
    ),
    Peer("inferrail, gateway in process", "inferrail", inferrail, kept=True, met="network"),
    Peer("LiteLLM's BudgetManager", "litellm", litellm, send=litellm_send, kept=True),
    Peer("llm-toll", "llm-toll", llm_toll, kept=True),
    Peer("shekel", "shekel", shekel, shared=False),
    Peer("shekel, Redis", "shekel", shekel_redis, kept=True),
    Peer("token-budget-py", "token-budget-py", token_budget, estimated_by_caller=True),
    Peer("tokencap", "tokencap", tokencap, kept=True),
    Peer("veronica-core", "veronica-core", veronica, estimated_by_caller=True),
    Peer("budgeted, in memory, decorated", "budgeted", IN_MEMORY, send=answer_at_once, timed_only=True),
    Peer("budgeted, journal, decorated", "budgeted", decorated, send=answer_at_once, kept=True, timed_only=True),
    Peer("floor: lock, two additions, twice", "budgeted", floor, send=answer_at_once, timed_only=True),
)
