"""Refusals inside LangGraph."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langchain_openai import ChatOpenAI
from langgraph.graph import END, START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode
from langgraph.types import RetryPolicy
from refused_case import SWALLOWED, Case, refused_inside

from budgeted import BudgetError

ASK: Any = {"messages": [("user", "Name a city.")]}
ASK_TOOL: Any = {
    "messages": [AIMessage("", tool_calls=[{"name": "research", "args": {"topic": "cities"}, "id": "1"}])],
}


def model() -> ChatOpenAI:
    return ChatOpenAI(model="gpt-5-mini", max_retries=0)


def graph(*nodes: Any, retry: RetryPolicy | None = None) -> Any:
    made = StateGraph(MessagesState)
    for number, node in enumerate(nodes):
        made.add_node(str(number), node, retry_policy=retry)
        made.add_edge(START, str(number))
        made.add_edge(str(number), END)
    return made.compile()


def asking(runnable: Callable[[], Any]) -> Callable[[MessagesState], Any]:
    return lambda state: {"messages": [runnable().invoke(state["messages"])]}


async def ask_async(state: MessagesState) -> Any:
    return {"messages": [await model().ainvoke(state["messages"])]}


def retried(**options: Any) -> Any:
    policy = RetryPolicy(initial_interval=0.01, jitter=False, **options)
    return graph(asking(model), retry=policy).invoke(ASK)


@tool
def research(topic: str) -> str:
    """Look something up."""
    return str(refused_inside(lambda: model().invoke(topic)).content)


def branch(state: MessagesState) -> Any:
    return refused_inside(lambda: asking(model)(state))


CASES = [
    Case("in a node: ", lambda: graph(asking(model)).invoke(ASK)),
    Case("in a node: ", lambda: graph(ask_async).ainvoke(ASK)),
    Case("in a node: ", lambda: list(graph(asking(model)).stream(ASK, stream_mode="messages"))),
    Case("in one of several branches", lambda: graph(asking(model), branch).invoke(ASK), cap=1),
    Case("in a node with `RetryPolicy()`", retried, refused=3),
    Case("in a node with `retry_on`", lambda: retried(retry_on=lambda error: not isinstance(error, BudgetError))),
    Case(
        "in a model `.with_retry()`",
        lambda: graph(asking(lambda: model().with_retry(wait_exponential_jitter=False))).invoke(ASK),
        refused=3,
    ),
    Case(
        "in a model `.with_fallbacks",
        lambda: graph(asking(lambda: model().with_fallbacks([model()]))).invoke(ASK),
        refused=2,
    ),
    Case("in a tool of a `ToolNode`", lambda: graph(ToolNode([research])).invoke(ASK_TOOL), cap=1),
    Case(
        "in a tool of `ToolNode(handle_tool_errors=True)`",
        lambda: graph(ToolNode([research], handle_tool_errors=True)).invoke(ASK_TOOL),
        becomes=SWALLOWED,
        cap=1,
    ),
]
